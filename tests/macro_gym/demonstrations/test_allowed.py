"""What a game of stable-retro makes of human play: as its emulator does, with no ROM needed."""

from contextlib import closing

import gymnasium as gym
import numpy as np
import pytest
import stable_retro

from macro_gym import MacroSet
from macro_gym.buttons import combination
from macro_gym.cli import main
from macro_gym.demonstrations import Demonstration
from macro_gym.demonstrations.allowed import as_allowed, filtered, is_of_pads, known_retro_game
from macro_gym.demonstrations.bk2 import read_bk2
from macro_gym.demonstrations.gather import gather
from macro_gym.errors import DemonstrationError
from macro_gym.retro_games import integration

GAME = "Airstriker-Genesis-v0"
AIRSTRIKER = integration(GAME)
BUTTONS = AIRSTRIKER.buttons


def held(bits):
    return [button for i, button in enumerate(BUTTONS) if bits >> i & 1]


def names(play):
    return [play.primitives[action] for action in play.actions]


def test_every_row_of_buttons_becomes_what_the_emulators_filter_makes_of_it():
    env = stable_retro.make(GAME, render_mode="rgb_array")
    with closing(env):
        theirs = [combination(held(env.data.filter_action(bits))) for bits in range(4096)]
    ours = [filtered(held(bits), AIRSTRIKER.groups(), BUTTONS) for bits in range(4096)]
    assert ours == theirs
    assert {*ours} == {*AIRSTRIKER.combinations()}


@pytest.mark.parametrize(
    ("game", "recorded", "expected"),
    [
        (GAME, ["START", "UP+DOWN+B", "LEFT+B+A+C", "UP+B+C"], ["NOOP", "B", "LEFT", "UP+B+C"]),
        ("PunchOut-Nes", ["START", "UP+A+SELECT", "A+START"], ["START", "UP+A", "NOOP"]),
        ("SonicBlast-Sms-v0", ["UP+LEFT+A", "LEFT+RIGHT+A"], ["UP+LEFT+A", "A"]),
    ],
)
def test_play_is_translated_without_the_rom_by_the_integration(game, recorded, expected):
    known = known_retro_game(game)
    play = Demonstration(tuple(recorded), np.arange(len(recorded)), game=known, frameskip=1)
    assert is_of_pads(play, known)
    translated, changes = as_allowed(play)
    assert names(translated) == expected
    assert translated.primitives[0] == "NOOP"
    assert changes == {
        (old, new): 1 for old, new in zip(recorded, expected, strict=True) if old != new
    }


def test_both_players_are_translated_each_by_themselves():
    play = Demonstration(("START|UP+B", "A+C|NOOP"), np.array([0, 1, 0]), game=GAME)
    translated, _ = as_allowed(play)
    assert names(translated) == ["NOOP|UP+B", "NOOP|NOOP", "NOOP|UP+B"]
    assert translated.primitives[0] == "NOOP|NOOP"


def record(folder, decisions, **kwargs):
    env = gym.make(
        f"MacroRetro/{GAME}",
        record=folder,
        repeat_action_probability=0.0,
        **({"buttons": "all"} | kwargs),
    )
    with closing(env):
        env.reset(seed=1)
        for decision in decisions:
            env.step(env.unwrapped.get_action_meanings().index(decision))


def test_recorded_movies_become_macros_that_an_environment_takes(tmp_path):
    held_actions = ["LEFT", "LEFT", "UP+RIGHT+B", "NOOP", "LEFT", "LEFT", "UP+RIGHT+B"]
    for decisions in (held_actions, held_actions[:3]):
        record(tmp_path / "movies", decisions, k=0)
    output = tmp_path / "mined.json"
    argv = ["extract", str(tmp_path / "movies"), "--output", str(output), "--frameskip", "4"]
    assert main([*argv, "--lengths", "3", "3", "--k", "1"]) == 0
    env = gym.make(f"MacroRetro/{GAME}", macros=str(output))
    with closing(env):
        assert [*env.unwrapped.get_action_meanings()] == [
            *("NOOP", "LEFT", "UP+RIGHT+B"),  # In the order of the game's own.
            "LEFT,LEFT,UP+RIGHT+B",
        ]
        env.reset(seed=1)
        assert env.step(3)[-1]["duration"] == 3


def test_the_macros_of_movies_do_in_the_emulator_what_was_played(tmp_path):
    decisions = ["RIGHT+B", "RIGHT+B", "LEFT", "B", "DOWN", "NOOP", "UP+LEFT"]
    record(tmp_path / "played", decisions, k=0)
    [play] = gather([tmp_path / "played"], frameskip=4).play
    assert names(play) == decisions
    macro_set = MacroSet(play.primitives, (tuple(play.actions.tolist()),))
    record(tmp_path / "macro", [macro_set.names[-1]], macros=macro_set)
    for one, two in zip(read_bk2(tmp_path / "played"), read_bk2(tmp_path / "macro"), strict=True):
        assert names(one) == names(two)


def test_only_movies_have_players(tmp_path):
    Demonstration(("0",), np.zeros(3, np.uint8)).save(tmp_path / "play.npz")
    with pytest.raises(DemonstrationError, match=r"player is 2, but .* format plain, which has no"):
        gather([tmp_path], player=2)


def test_of_very_many_changes_the_rarest_are_only_counted(tmp_path):
    combinations = [combination(held(bits)) for bits in range(300, 340)]
    play = Demonstration(tuple(combinations), np.arange(40), game=GAME, frameskip=1)
    play.save(tmp_path / "play.npz")
    gathered = gather([tmp_path])
    assert len(gathered.changes) > 18
    assert str(gathered).endswith(f", and {len(gathered.changes) - 18} more")
