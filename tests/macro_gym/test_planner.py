"""The planner, on the real emulator: its play is true, repeatable and better than chance."""

from dataclasses import replace

import ale_py
import numpy as np
import pytest
from ale_py import roms

from macro_gym.demonstrations import PlannerSettings, plan_episode, planner
from macro_gym.demonstrations.replay import replay
from macro_gym.errors import DemonstrationError, UnknownGameError

SMALL = PlannerSettings(trials=2, rescue_trials=5, horizon=15, commit=5, steps=37, holds=(1, 2, 5))
GAMES = ["breakout", "qbert"]  # Q*bert's frames are the ones that clones get wrong


def emulator(rom, seed):
    ale = ale_py.ALEInterface()
    ale.setInt("random_seed", np.random.SeedSequence(seed).generate_state(2)[1].astype(np.int32))
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


@pytest.mark.parametrize("repeat_action_probability", [0.0, 0.25])
def test_play_says_how_gymnasium_plays_it_again(repeat_action_probability):
    settings = replace(SMALL, steps=97, repeat_action_probability=repeat_action_probability)
    play = plan_episode("ms_pacman", settings, seed=3)
    assert play.score > 0
    assert play.settings["kwargs"]["repeat_action_probability"] == repeat_action_probability
    np.testing.assert_array_equal(replay(play), play.rewards)


def test_sticky_actions_change_the_play():
    sure, sticky = (
        plan_episode("pong", replace(SMALL, repeat_action_probability=p), 3) for p in (0.0, 0.5)
    )
    assert (sure.actions != sticky.actions).any()


@pytest.mark.parametrize("rom", GAMES)
@pytest.mark.parametrize("interruptions", [1, 3])
def test_play_that_was_interrupted_equals_play_that_was_not(
    tmp_path, monkeypatch, rom, interruptions
):
    monkeypatch.setattr(planner, "REFRESH", 2)  # saved every 10 steps
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
    assert seen[0] == 10 * interruptions  # it did go on, and did not start anew
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
    assert "trials=2, rescue_trials=5, horizon=15, commit=5, steps=3, holds=(1, 2" in play.source
    assert (play.actions.dtype, play.rewards.dtype) == (np.uint8, np.float32)


def test_the_game_being_over_ends_the_play():
    careless = PlannerSettings(trials=0, rescue_trials=0, horizon=5, commit=5, steps=3001)
    play = plan_episode("breakout", careless, 2)
    assert len(play.actions) < careless.steps
    assert replayed("breakout", 2, play.actions)[0].game_over()
    assert not replayed("breakout", 2, play.actions[:-1])[0].game_over()


def test_an_episode_longer_than_environments_allow_says_that_it_is_to_be_allowed():
    careless = PlannerSettings(trials=0, rescue_trials=0, horizon=5, commit=5)
    for steps, more in ((27_000, {}), (27_001, {"max_num_frames_per_episode": None})):
        play = plan_episode("breakout", replace(careless, steps=steps), 2)
        assert play.settings["kwargs"] == {"frameskip": 4, "repeat_action_probability": 0.0} | more
        np.testing.assert_array_equal(replay(play), play.rewards)


def test_planning_scores_more_than_chance():
    steps = 150
    planned = plan_episode("space_invaders", PlannerSettings(steps=steps), 4)
    chance = [
        plan_episode(
            "space_invaders", PlannerSettings(trials=0, rescue_trials=0, steps=steps), seed
        ).score
        for seed in range(5)
    ]
    assert planned.score > max(chance)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"trials": -1}, "trials is -1; it must be at least 0, and finite"),
        ({"novelty": float("inf")}, "novelty is inf; it must be at least 0, and finite"),
        ({"steps": -3}, "steps is -3; it must be at least 1"),
        ({"commit": 5}, "horizon is 48; it must be a multiple of commit, 5"),
        ({"splice": 1.1}, r"splice is 1.1; it must be within 0\.\.1"),
        (
            {"repeat_action_probability": -0.1},
            r"repeat_action_probability is -0.1; it must be within 0\.\.1",
        ),
        ({"holds": ()}, r"holds is \(\); it must list"),
        ({"holds": (2, 0)}, r"holds is \(2, 0\); it must list"),
        ({"discount": 0.0}, r"discount is 0.0; it must be within \(0, 1\]"),
        ({"discount": 1.1}, r"discount is 1.1; it must be within \(0, 1\]"),
    ],
)
def test_settings_that_describe_no_search_are_refused(setting, message):
    with pytest.raises(DemonstrationError, match=message):
        PlannerSettings(**setting)


def test_an_unknown_game_is_refused_with_those_spelled_like_it():
    message = r"game is 'ALE/Brakeout-v5', but .* no such game .*\. Did you mean breakout\?"
    with pytest.raises(UnknownGameError, match=message):
        plan_episode("ALE/Brakeout-v5")


def test_a_game_that_needs_two_players_is_refused():
    with pytest.raises(UnknownGameError, match=r"game is 'Combat', but .* for one player"):
        plan_episode("Combat")


def test_a_checkpoint_of_other_play_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(planner, "REFRESH", 1)
    path = tmp_path / "checkpoint.json"
    plan_episode("pong", SMALL, 1, checkpoint=path, checkpoint_seconds=0)
    for game, settings, seed in [
        ("breakout", SMALL, 1),
        ("pong", replace(SMALL, trials=4), 1),
        ("pong", SMALL, 2),
    ]:
        with pytest.raises(DemonstrationError, match=r"progress of other play \(pong, seed 1"):
            plan_episode(game, settings, seed, checkpoint=path)


@pytest.mark.parametrize("content", ["", '{"identity"', "[]", "{}", "null"])
def test_a_damaged_checkpoint_is_refused(tmp_path, content):
    path = tmp_path / "checkpoint.json"
    path.write_text(content)
    with pytest.raises(DemonstrationError, match="no complete checkpoint of the planner"):
        plan_episode("pong", SMALL, checkpoint=path)
