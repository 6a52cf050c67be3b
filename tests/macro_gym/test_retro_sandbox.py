"""The planner in stable-retro's emulator: one for the play and the search, rewound by savestates.

Random play of Airstriker loses its first life after some 80 steps of 4 frames.
"""

import hashlib
import itertools
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from macro_gym.demonstrations import PlannerSettings, plan_episode, planner
from macro_gym.demonstrations.planner import _Play, planned_game
from macro_gym.demonstrations.replay import replay
from macro_gym.demonstrations.retro_sandbox import WATCHED, RetroGame
from macro_gym.demonstrations.search import Search, held_actions
from macro_gym.errors import EnvironmentSettingError, MissingRomError, UnknownGameError

AIRSTRIKER = "Airstriker-Genesis-v0"
BUTTONS = ("NOOP", "B", "LEFT", "RIGHT", "LEFT+B")
GAME = RetroGame(AIRSTRIKER, buttons=BUTTONS)
SMALL = PlannerSettings(trials=2, rescue_trials=5, horizon=15, commit=5, steps=37, holds=(1, 2, 5))

FRESH = """
import hashlib, json, sys
import numpy as np, stable_retro
rows, frameskip = json.load(sys.stdin)
env = stable_retro.RetroEnv(
    "Airstriker-Genesis-v0",
    use_restricted_actions=stable_retro.Actions.ALL,
    render_mode="rgb_array",
)
env.reset()
paid = [sum(env.step(np.array(row, np.uint8))[1] for _ in range(frameskip)) for row in rows]
print(json.dumps([paid, hashlib.sha256(env.get_ram().tobytes()).hexdigest()]))
"""
"""A process of its own that plays rows of buttons in RetroEnv: the naive reference."""


def in_a_fresh_process(actions, frameskip=4):
    """What each action pays, and a hash of the memory in the end."""
    console = ["B", "A", "MODE", "START", "UP", "DOWN", "LEFT", "RIGHT", "C", "Y", "X", "Z"]
    rows = [[int(b in BUTTONS[action].split("+")) for b in console] for action in actions]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FRESH],
        input=json.dumps([rows, frameskip]),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return json.loads(done.stdout.splitlines()[-1])


def hashed(sandbox):
    return hashlib.sha256(sandbox.save().memory.tobytes()).hexdigest()


def random_actions(steps, seed=0):
    return held_actions(np.random.default_rng(seed), steps, len(BUTTONS), (1, 5, 13)).tolist()


def test_playing_the_planned_actions_in_a_fresh_process_gives_the_rewards_and_the_memory():
    """So savestates lack nothing: the search rewound the same emulator all the time."""
    settings = replace(SMALL, steps=113)
    with GAME.begun(settings, 3) as (sandbox, scratch):
        play = _Play(sandbox, scratch, settings, 3)
        while not play.is_over():
            play.advance()
        memory = hashed(sandbox)
    assert sum(play.rewards) > 0
    assert in_a_fresh_process(play.actions) == [play.rewards, memory]


def test_games_that_take_turns_in_an_emulator_each_go_on_as_if_alone():
    plays = [random_actions(127, seed=1), random_actions(127, seed=2)]
    turns = np.random.default_rng(0).permutation([0, 1] * 127).tolist()
    paid = [[], []]
    with GAME.begun(SMALL, 0) as games:
        for turn in turns:
            paid[turn].append(games[turn].act(plays[turn][len(paid[turn])]))
        memories = [hashed(game) for game in games]
    assert max(map(sum, paid)) > 0
    assert [in_a_fresh_process(actions) for actions in plays] == [
        [paid[0], memories[0]],
        [paid[1], memories[1]],
    ]


def test_a_rewound_game_goes_on_as_it_did_points_and_lives_too():
    rng = np.random.default_rng(0)
    actions = random_actions(251)
    with GAME.begun(SMALL, 0) as (game, _):
        moments, seen = [], []
        for action in actions:
            moments.append(game.save())
            seen.append((game.act(action), game.lives(), game.over(), game.memory().tolist()))
        assert len({lives for _, lives, _, _ in seen}) == 3
        for start in rng.integers(len(actions) - 7, size=29).tolist():
            game.restore(moments[start])
            for step in range(start, start + 7):
                again = game.act(actions[step]), game.lives(), game.over(), game.memory().tolist()
                assert again == seen[step]
                assert game.same(game.save(), moments[step + 1])
                assert not game.same(game.save(), moments[step])


def outlook(rollout):
    memories = [memory.tolist() for memory in rollout.memories]
    return list(rollout.rewards), rollout.lost, memories


def test_the_kept_plan_is_what_running_it_whole_gives_at_every_point():
    lost = []
    with GAME.begun(SMALL, 0) as (game, scratch):
        for action in random_actions(67):
            game.act(action)
        search = Search(scratch, replace(SMALL, rescue_trials=0), np.random.default_rng(5))
        search.begin(game.save(), search.draw(SMALL.horizon))
        for _ in range(7):
            search.improve()
            best = search.best
            assert outlook(best) == outlook(search._run(replace(best, states=best.states[:1]), 0))
            lost.append(best.lost)
            for action in best.plan[: SMALL.commit].tolist():
                game.act(action)
                search.see(game.memory())
            search.go_on(game.save(), game.memory())
    assert set(lost) == {True, False}


def test_cells_that_are_watched_change_in_play_and_are_the_same_for_every_seed():
    with GAME.begun(SMALL, 1) as (game, _):
        cells = game._shared.cells
        start, distinct = game.memory(), np.zeros(len(cells), bool)
        for action in random_actions(251):
            game.act(action)
            distinct |= game.memory() != start
            whole = game.save().memory
            np.testing.assert_array_equal(game.memory(), whole[cells])
    assert len(np.unique(cells)) == len(cells) == WATCHED
    assert distinct.mean() > 0.7
    with GAME.begun(SMALL, 2) as (game, _):
        np.testing.assert_array_equal(game._shared.cells, cells)
        np.testing.assert_array_equal(game.memory(), start)


@pytest.mark.parametrize("repeat_action_probability", [0.0, 0.25])
def test_play_says_how_its_environment_plays_it_again(repeat_action_probability):
    settings = replace(SMALL, steps=97, repeat_action_probability=repeat_action_probability)
    play = plan_episode(GAME, settings, seed=3)
    assert play.score > 0
    np.testing.assert_array_equal(replay(play), play.rewards)


def test_sticky_actions_change_the_play():
    sure, sticky = (
        plan_episode(GAME, replace(SMALL, repeat_action_probability=p), 3) for p in (0.0, 0.5)
    )
    assert (sure.actions != sticky.actions).any()


def test_a_plan_that_loses_a_life_is_changed_until_it_does_not():
    settings = replace(SMALL, trials=1, rescue_trials=97, horizon=50, novelty=0.0)
    with GAME.begun(settings, 0) as (game, scratch):
        for _ in range(40):
            game.act(0)
        search = Search(scratch, settings, np.random.default_rng(1))
        search.begin(game.save(), np.zeros(50, dtype=np.int64))
        assert search.best.lost
        search.improve()
        assert not search.best.lost


def test_the_game_being_over_ends_the_play():
    careless = PlannerSettings(trials=0, rescue_trials=0, horizon=5, commit=5, steps=3001)
    play = plan_episode(RetroGame(AIRSTRIKER, buttons=("NOOP",)), careless)
    assert len(play.actions) < careless.steps
    with GAME.begun(SMALL, 0) as (game, _):
        for _ in play.actions[:-1]:
            game.act(0)
        assert not game.over()
        game.act(0)
        assert game.over()


class Interrupted(Exception):
    pass


def test_play_that_was_interrupted_equals_play_that_was_not(tmp_path, monkeypatch):
    monkeypatch.setattr(planner, "REFRESH", 2)  # saved every 10 steps
    path, steps = tmp_path / "checkpoint.json", []

    def stop(new):
        steps.append(new)
        if sum(steps) > 20:
            raise Interrupted

    with pytest.raises(Interrupted):
        plan_episode(GAME, SMALL, 5, checkpoint=path, checkpoint_seconds=0, on_steps=stop)
    seen = []
    resumed = plan_episode(
        GAME, SMALL, 5, checkpoint=path, checkpoint_seconds=0, on_steps=seen.append
    )
    assert (seen[0], sum(seen)) == (20, SMALL.steps)
    whole = plan_episode(GAME, SMALL, 5)
    np.testing.assert_array_equal(resumed.actions, whole.actions)
    np.testing.assert_array_equal(resumed.rewards, whole.rewards)


def test_the_play_says_what_it_is():
    game = RetroGame("airstriker-genesis", state="Level1", scenario="scenario", buttons=("B+LEFT",))
    play = plan_episode(game, replace(SMALL, steps=3, frameskip=2), 1)
    assert (play.game, play.frameskip, play.primitives) == (AIRSTRIKER, 2, ("LEFT+B",))
    assert play.source.startswith(
        "clone-and-restore planner: trials=2, rescue_trials=5, horizon=15"
    )
    assert play.source.endswith("frameskip=2, state=Level1, scenario=scenario, buttons=LEFT+B")
    assert play.settings["id"] == f"MacroRetro/{AIRSTRIKER}"


def test_without_buttons_named_the_actions_are_all_that_the_integration_allows():
    assert len(RetroGame(AIRSTRIKER).primitives) == 126
    assert plan_episode(RetroGame(AIRSTRIKER), replace(SMALL, steps=2)).primitives[0] == "NOOP"


def test_hundreds_of_combinations_as_a_super_nintendo_has_are_told_apart():
    together = [c for n in range(6) for c in itertools.combinations("ABCXYZ", n)]
    names = (
        "+".join([*d, *b])
        for d in ((), ("UP",), ("LEFT",), ("DOWN",), ("RIGHT",))
        for b in together
    )
    game = RetroGame(AIRSTRIKER, buttons=tuple(name or "NOOP" for name in names))
    assert len(game.primitives) == 315
    careless = replace(SMALL, trials=0, rescue_trials=0)
    play = plan_episode(game, careless)
    with game.begun(careless, 0) as (_, scratch):
        search = Search(scratch, careless, np.random.default_rng(0))
        first = search.draw(careless.horizon)
    assert max(first) > 255
    assert play.actions[: careless.horizon].tolist() == first.tolist()


def test_rewards_that_savestates_spoilt_are_those_of_play_in_one_go():
    actions = random_actions(97)
    right = in_a_fresh_process(actions)[0]
    wrong = [0.0] * 96 + [7.0]
    assert GAME.paid(SMALL, 0, actions, right) == right
    with pytest.warns(UserWarning, match=rf"seed 0, paid 7 while .*, {sum(right):g}, when played"):
        assert GAME.paid(SMALL, 0, actions, wrong) == right


@pytest.mark.parametrize(
    "name", [AIRSTRIKER, "MacroRetro/Airstriker-Genesis-v0", "airstriker-genesis"]
)
def test_a_game_may_be_spelled_as_any_id(name):
    assert planned_game(name) == RetroGame(AIRSTRIKER)


def test_a_game_that_stable_retro_lacks_is_refused_with_those_spelled_like_it():
    with pytest.raises(UnknownGameError, match=r"'Airstryker-Genesis'.* Did you mean Airstriker"):
        planned_game("Airstryker-Genesis")


def test_a_game_whose_rom_is_not_there_is_refused_before_anything_is_played():
    with pytest.raises(MissingRomError, match="its ROM is not there"):
        planned_game("SonicTheHedgehog-Genesis-v0")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"state": "Level9"}, "state is 'Level9'"),
        ({"scenario": "race"}, "scenario is 'race'"),
        ({"buttons": ("NOOP", "B+TURBO")}, "holds 'TURBO'"),
        ({"buttons": ("LEFT+RIGHT",)}, "holds opposite directions"),
        ({"buttons": ("B+LEFT", "NOOP", "LEFT+B")}, r"buttons names LEFT\+B more than once"),
    ],
)
def test_options_that_the_game_lacks_are_refused(option, message):
    with pytest.raises(EnvironmentSettingError, match=message):
        RetroGame(AIRSTRIKER, **option)
