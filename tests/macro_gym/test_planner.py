"""The planner, on the real emulator: its play is true, repeatable and better than chance."""

import itertools
from dataclasses import replace

import ale_py
import numpy as np
import pytest
from ale_py import roms

from macro_gym.demonstrations import PlannerSettings, plan_episode
from macro_gym.demonstrations.planner import _rewind, held_actions, plan_value
from macro_gym.errors import DemonstrationError, UnknownGameError

SMALL = PlannerSettings(plans=3, horizon=11, commit=5, steps=37, holds=(1, 2, 5))
GAMES = ["breakout", "qbert"]  # Q*bert's frames are the ones that clones get wrong


def emulator(rom, seed):
    ale = ale_py.ALEInterface()
    ale.setInt("random_seed", seed)
    ale.setFloat("repeat_action_probability", 0.0)
    ale.loadROM(roms.get_rom_path(rom))
    ale.reset_game()
    return ale


def replayed(rom, seed, actions):
    """The emulator after ``actions`` of 4 frames, and what each step paid."""
    ale = emulator(rom, seed)
    codes = ale.getMinimalActionSet()
    return ale, [sum(ale.act(codes[action]) for _ in range(4)) for action in actions]


def assert_same_play(one, other):
    np.testing.assert_array_equal(one.actions, other.actions)
    np.testing.assert_array_equal(one.rewards, other.rewards)
    assert one.primitives == other.primitives
    assert one.source == other.source


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("rom", GAMES)
def test_replaying_the_actions_pays_the_rewards(rom):
    play = plan_episode(rom, replace(SMALL, steps=151), seed=3)
    assert play.score > 0
    assert replayed(rom, 3, play.actions)[1] == play.rewards.tolist()


@pytest.mark.parametrize("rom", GAMES)
@pytest.mark.parametrize("interruptions", [1, 3])
def test_play_that_was_interrupted_equals_play_that_was_not(tmp_path, rom, interruptions):
    path = tmp_path / "checkpoint.json"
    for part in range(interruptions):
        steps: list[int] = []

        def stop(new, steps=steps, part=part):
            steps.append(new)
            if sum(steps) > 10 * (part + 1):
                raise Interrupted

        with pytest.raises(Interrupted):
            plan_episode(rom, SMALL, 5, checkpoint=path, checkpoint_seconds=0, on_steps=stop)
    seen: list[int] = []
    resumed = plan_episode(
        rom, SMALL, 5, checkpoint=path, checkpoint_seconds=0, on_steps=seen.append
    )
    assert seen[0] >= 10 * interruptions  # it did go on, and did not start anew
    assert sum(seen) == SMALL.steps
    assert_same_play(resumed, plan_episode(rom, SMALL, 5))


def test_the_seed_and_nothing_else_decides_the_play():
    first, again, other = (plan_episode("pong", SMALL, seed) for seed in (7, 7, 8))
    assert_same_play(first, again)
    assert (first.actions != other.actions).any()


def test_fewer_steps_are_the_first_of_more():
    longer = plan_episode("seaquest", SMALL, 1)
    shorter = plan_episode("seaquest", replace(SMALL, steps=23), 1)
    np.testing.assert_array_equal(shorter.actions, longer.actions[:23])


def test_the_play_says_what_it_is():
    play = plan_episode("ALE/MsPacman-v5", replace(SMALL, steps=3, frameskip=2), 1)
    assert play.game == "MsPacman"
    assert play.frameskip == 2
    assert play.primitives[:3] == ("NOOP", "UP", "RIGHT")
    assert "plans=3, horizon=11, commit=5, steps=3, holds=(1, 2, 5)" in play.source
    assert (play.actions.dtype, play.rewards.dtype) == (np.uint8, np.float32)


def test_the_game_being_over_ends_the_play():
    careless = PlannerSettings(plans=1, horizon=5, commit=5, steps=3001)
    play = plan_episode("breakout", careless, 2)
    assert len(play.actions) < careless.steps
    assert replayed("breakout", 2, play.actions)[0].game_over()
    assert not replayed("breakout", 2, play.actions[:-1])[0].game_over()


def test_planning_scores_more_than_chance():
    steps = 150
    planned = plan_episode("space_invaders", PlannerSettings(plans=8, horizon=25, steps=steps), 4)
    chance = [
        plan_episode("space_invaders", PlannerSettings(plans=1, horizon=4, steps=steps), seed).score
        for seed in range(5)
    ]
    assert planned.score > max(chance)


def test_a_plan_is_worth_its_discounted_points_up_to_a_lost_life():
    settings = PlannerSettings(life_penalty=13.0, discount=0.9)
    ale = emulator("breakout", 0)
    codes = ale.getMinimalActionSet()
    plan = np.array([1, 1] + [3] * 150)
    rewards, lives = [], []
    for action in plan:
        rewards.append(sum(ale.act(codes[action]) for _ in range(4)))
        lives.append(ale.lives())
    lost = lives.index(4)  # of 5
    expected = sum(0.9**t * rewards[t] for t in range(lost + 1)) - 0.9**lost * 13
    value = plan_value(emulator("breakout", 0), codes, plan, settings)
    assert value == pytest.approx(expected, rel=1e-12)
    safe = plan_value(emulator("breakout", 0), codes, plan[:lost], settings)
    assert safe == pytest.approx(expected + 0.9**lost * 13 - 0.9**lost * rewards[lost], rel=1e-12)


def test_a_rewound_emulator_goes_on_like_one_that_was_never_elsewhere():
    ale, scratch = emulator("qbert", 0), emulator("qbert", 0)
    codes = ale.getMinimalActionSet()
    ale.act(0)
    rng = np.random.default_rng(0)
    for _ in range(17):
        here = ale.cloneState()
        scratch.reset_game()  # leaves a frame half done
        _rewind(scratch, here)
        for code in rng.choice(codes, size=5):
            assert ale.act(code) == scratch.act(code)
            np.testing.assert_array_equal(ale.getRAM(), scratch.getRAM())


def test_held_actions_last_their_holds():
    plan = held_actions(np.random.default_rng(0), 6007, 1000, holds=(3, 7))
    assert plan.shape == (6007,)
    runs = [len(list(run)) for _, run in itertools.groupby(plan)][:-1]
    assert set(runs) <= {3, 6, 7, 10, 14}  # sums where neighbours happen to be equal
    assert 0.4 < np.mean(np.array(runs) == 3) < 0.6
    assert set(np.unique(plan)) <= set(range(1000))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"plans": 0}, "plans is 0; it must be at least 1"),
        ({"steps": -3}, "steps is -3; it must be at least 1"),
        ({"commit": 41}, "commit is 41, but a plan has only 40 steps"),
        ({"holds": ()}, r"holds is \(\); it must list"),
        ({"holds": (2, 0)}, r"holds is \(2, 0\); it must list"),
        ({"discount": 0.0}, r"discount is 0.0; it must be within \(0, 1\]"),
        ({"discount": 1.1}, r"discount is 1.1; it must be within \(0, 1\]"),
    ],
)
def test_settings_that_describe_no_search_are_refused(setting, message):
    with pytest.raises(DemonstrationError, match=message):
        PlannerSettings(**setting)


def test_an_unknown_game_is_refused():
    with pytest.raises(UnknownGameError, match="game is 'Brakeout', but ale-py has no such game"):
        plan_episode("Brakeout")


def test_a_checkpoint_of_other_play_is_refused(tmp_path):
    path = tmp_path / "checkpoint.json"
    plan_episode("pong", SMALL, 1, checkpoint=path, checkpoint_seconds=0)
    for game, settings, seed in [
        ("breakout", SMALL, 1),
        ("pong", replace(SMALL, plans=4), 1),
        ("pong", SMALL, 2),
    ]:
        with pytest.raises(DemonstrationError, match=r"progress of other play \(pong, seed 1"):
            plan_episode(game, settings, seed, checkpoint=path)


@pytest.mark.parametrize("content", ["", '{"identity"', "[]", "{}", "null"])
def test_a_damaged_checkpoint_is_refused(tmp_path, content):
    path = tmp_path / "checkpoint.json"
    path.write_text(content)
    with pytest.raises(DemonstrationError, match="not a whole checkpoint of the planner"):
        plan_episode("pong", SMALL, checkpoint=path)
