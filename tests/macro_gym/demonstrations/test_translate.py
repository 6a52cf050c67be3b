"""Translation between action sets: by name, to what a game does not ignore, and counted."""

import numpy as np
import pytest
from ale_py import Action

from macro_gym.demonstrations import Demonstration
from macro_gym.demonstrations.actions import ALE_ACTIONS, atari_actions, known_game
from macro_gym.demonstrations.translate import nearest_action, translate, union
from macro_gym.errors import DemonstrationError, RemapError

BREAKOUT = ("NOOP", "FIRE", "RIGHT", "LEFT")


def test_atari_actions_are_named_as_the_emulator_names_them():
    assert tuple(Action(index).name for index in range(18)) == ALE_ACTIONS
    assert atari_actions("breakout") == BREAKOUT
    assert atari_actions("ALE/Breakout-v5", full=True) == ALE_ACTIONS
    with pytest.raises(DemonstrationError, match="the game is 'Brakeout', which is none"):
        atari_actions("Brakeout")


@pytest.mark.parametrize(
    ("name", "game"),
    [
        ("spaceinvaders", "SpaceInvaders"),
        ("qbert", "Qbert"),
        ("mspacman", "MsPacman"),
        ("pinball", "VideoPinball"),
        ("revenge", "MontezumaRevenge"),
        ("name_this_game", "NameThisGame"),
        ("screens", ""),
    ],
)
def test_games_are_known_by_the_names_that_recorders_use(name, game):
    assert known_game(name) == game


@pytest.mark.parametrize(
    ("name", "names", "nearest"),
    [
        ("LEFT", BREAKOUT, "LEFT"),
        ("UPFIRE", BREAKOUT, "FIRE"),
        ("UPLEFT", BREAKOUT, "LEFT"),
        ("UPRIGHTFIRE", BREAKOUT, "RIGHT"),
        ("UP", BREAKOUT, "NOOP"),
        ("DOWNLEFTFIRE", ("NOOP", "FIRE", "DOWNFIRE", "LEFT"), "DOWNFIRE"),
        ("UPRIGHT", ("NOOP", "UP", "RIGHT"), "RIGHT"),
        ("UPFIRE", ("NOOP", "FIRE", "UP"), "UP"),
        ("DOWN+RIGHT+B", ("NOOP", "RIGHT+B", "DOWN", "A"), "RIGHT+B"),
        ("A+B", ("NOOP", "A+C", "B"), "B"),
    ],
)
def test_what_a_game_ignores_is_dropped_and_nothing_else(name, names, nearest):
    assert nearest_action(name, names) == nearest


@pytest.mark.parametrize("game", ["breakout", "qbert", "ms_pacman", "seaquest", "freeway"])
def test_the_nearest_action_never_presses_more_and_only_rests_if_nothing_is_left(game):
    names = atari_actions(game)

    def pressed(name):
        words = ("UP", "DOWN", "LEFT", "RIGHT", "FIRE")
        return {word for word in words if word in name}

    for name in ALE_ACTIONS:
        near = nearest_action(name, names)
        fitting = [other for other in names if pressed(other) <= pressed(name)]
        assert near in fitting
        assert len(pressed(near)) == max(len(pressed(other)) for other in fitting)


def test_changes_are_counted_and_nothing_else_changes():
    actions = np.array([10, 10, 2, 4, 1, 0, 10], dtype=np.uint8)
    old = Demonstration(ALE_ACTIONS, actions, np.arange(7, dtype=np.float32), "Breakout", 4, "me")
    new, changes = translate(old, BREAKOUT)
    assert [new.primitives[action] for action in new.actions] == [
        *("FIRE", "FIRE", "NOOP", "LEFT", "FIRE", "NOOP", "FIRE")
    ]
    assert changes == {("UPFIRE", "FIRE"): 3, ("UP", "NOOP"): 1}
    assert (new.rewards is old.rewards, new.game, new.frameskip, new.source) == (
        *(True, "Breakout", 4, "me"),
    )


def test_a_set_that_holds_all_names_changes_nothing():
    old = Demonstration(BREAKOUT, np.array([3, 2, 1]))
    new, changes = translate(old, ALE_ACTIONS)
    assert [ALE_ACTIONS[action] for action in new.actions] == ["LEFT", "RIGHT", "FIRE"]
    assert not changes
    assert translate(old, BREAKOUT)[0] is old


@pytest.mark.parametrize("names", [("FIRE", "LEFT"), ("0", "1")])
def test_actions_with_nothing_near_are_refused_rather_than_made_to_rest(names):
    with pytest.raises(RemapError, match="a play uses UP, but the actions wanted are only"):
        translate(Demonstration(ALE_ACTIONS, np.array([2])), names)
    with pytest.raises(RemapError, match="a play uses 7"):
        nearest_action("7", ("NOOP", "LEFT"))


def test_the_union_holds_each_name_once():
    assert union([("A", "B"), ("B", "C"), ("A",)]) == ("A", "B", "C")
