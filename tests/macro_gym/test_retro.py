"""MacroRetro: it is RetroEnv in Gymnasium's own stack with macros (laws 1, 2, 3, 9, 10).

One emulator runs in a process, so what is compared is played one after the other.
"""

import json
from contextlib import closing
from functools import partial
from types import SimpleNamespace

import cv2
import gymnasium as gym
import numpy as np
import pytest
import stable_retro
from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation, StickyAction, TimeLimit

from macro_gym import MacroAction, MacroSet
from macro_gym.retro import MacroRetroEnv
from tests.macro_gym.airstriker import GAME, ID, NAMES, assert_same_play, play, random_macros


class RetroAsAtari(stable_retro.RetroEnv):
    """RetroEnv with what AtariPreprocessing asks of Atari's environments."""

    _frameskip = 1

    @property
    def ale(self):
        return SimpleNamespace(
            lives=lambda: self.data.lookup_value("lives"),
            getScreenGrayscale=lambda out: out.__setitem__(
                ..., cv2.cvtColor(self.get_screen(), cv2.COLOR_RGB2GRAY)
            ),
            getScreenRGB=lambda out: out.__setitem__(..., self.get_screen()),
        )

    def get_action_meanings(self):
        return list(NAMES)


def gymnasium_stack(
    macros,
    *,
    frameskip=4,
    obs_type="grayscale",
    noop_max=0,
    terminal_on_life_loss=False,
    screen_size=84,
    stack_size=4,
    repeat_action_probability=0.25,
    max_num_frames_per_episode=None,
    scenario=None,
):
    """The same environment, out of stable-retro's own and Gymnasium's own wrappers."""
    env = RetroAsAtari(
        GAME,
        use_restricted_actions=stable_retro.Actions.DISCRETE,
        scenario=scenario,
        render_mode="rgb_array",
    )
    if max_num_frames_per_episode:
        env = TimeLimit(env, max_num_frames_per_episode)
    if repeat_action_probability:
        env = StickyAction(env, repeat_action_probability)
    env = AtariPreprocessing(
        env,
        noop_max=noop_max,
        frame_skip=frameskip,
        screen_size=screen_size,
        terminal_on_life_loss=terminal_on_life_loss,
        grayscale_obs=obs_type == "grayscale",
    )
    return MacroAction(FrameStackObservation(env, stack_size), macros)


# Law 2


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"repeat_action_probability": 0.0, "noop_max": 30, "max_num_frames_per_episode": 331},
        {"terminal_on_life_loss": True, "noop_max": 7},
        {"terminal_on_life_loss": True, "stack_size": 2},
        {"obs_type": "rgb", "max_num_frames_per_episode": 123},
        {"stack_size": 1, "max_num_frames_per_episode": 150},
        {"frameskip": 2, "screen_size": (50, 70), "max_num_frames_per_episode": 97},
        {"frameskip": 1, "stack_size": 3, "max_num_frames_per_episode": 53},
        # Games that end while they are waited for, or in their first step.
        {"noop_max": 30, "max_num_frames_per_episode": 20},
        {"max_num_frames_per_episode": 3},
    ],
)
def test_deferred_drawing_is_invisible(settings):
    macros = random_macros()
    expected = play(gymnasium_stack(macros, **settings), 70)
    found = play(gym.make(ID, macros=macros, **settings), 70)
    assert_same_play(expected, found)
    if "max_num_frames_per_episode" in settings:
        assert any(result[3] for result in expected if len(result) == 5)


def test_a_life_lost_anywhere_in_a_macro_ends_the_episode():
    macros = random_macros(lengths=(28, 29, 30, 31))
    settings = {"terminal_on_life_loss": True}
    rng = np.random.default_rng(2)
    actions = len(NAMES) + rng.integers(4, size=14)
    results = []
    for make in (partial(gymnasium_stack, macros), partial(gym.make, ID, macros=macros)):
        with closing(make(**settings)) as env:
            results.append([env.reset(seed=2)])
            for action in actions:
                results[-1].append(env.step(action))
                if results[-1][-1][2]:
                    results[-1].append(env.reset())
    assert_same_play(*results)
    ends = [result[-1]["duration"] for result in results[0] if len(result) == 5 and result[2]]
    assert min(ends) < 24


def test_an_episode_may_end_at_any_primitive_of_a_macro():
    shooting = NAMES.index("B")
    macros = MacroSet(NAMES, ((shooting,) * 12,))
    for limit in range(44, 95, 5):
        settings = {"max_num_frames_per_episode": limit}
        env = gymnasium_stack(macros, **settings)
        with closing(env):
            env.reset(seed=1)
            expected = [env.step(len(NAMES)) for _ in range(2 if limit > 48 else 1)]
        env = gym.make(ID, macros=macros, **settings)
        with closing(env):
            env.reset(seed=1)
            found = [env.step(len(NAMES)) for _ in expected]
        assert expected[-1][3]
        assert_same_play(expected, found)


def test_episodes_that_the_scenario_ends_look_the_same(tmp_path):
    scenario = tmp_path / "brief.json"
    done = {"variables": {"score": {"op": "greater-than", "reference": 0}}}
    reward = {"variables": {"score": {"reward": 2.0}}}
    scenario.write_text(json.dumps({"done": done, "reward": reward}))
    macros = MacroSet(NAMES, tuple((NAMES.index("B"),) * length for length in (9, 10, 11)))
    settings = {"scenario": str(scenario)}
    expected = play(gymnasium_stack(macros, **settings), 110, seed=5)
    found = play(gym.make(ID, macros=macros, **settings), 110, seed=5)
    assert_same_play(expected, found)
    rewards = {result[1] for result in expected if len(result) == 5 and result[2]}
    assert rewards
    assert all(reward % 2 == 0 and reward for reward in rewards)


def test_the_last_observation_shows_what_was_seen_before_a_decision_that_ends_early(tmp_path):
    scenario = tmp_path / "first_points.json"
    done = {"variables": {"score": {"op": "nonzero"}}}
    scenario.write_text(json.dumps({"reward": {"variables": {}}, "done": done}))
    macros = MacroSet(NAMES, tuple((n,) * 5 for n in range(len(NAMES))))
    plays = []
    for can_draw_later in (False, True):
        env = MacroRetroEnv(GAME, macros=macros, scenario=scenario)
        env._can_draw_later = can_draw_later
        plays.append(play(env, 300, seed=1))
    durations = {step[-1]["duration"] for step in plays[0] if len(step) == 5 and step[2]}
    assert durations & {2, 3}
    assert_same_play(*plays, infos=("duration",))


def test_memory_is_what_the_console_holds_after_each_decision():
    macros = random_macros()
    env = gymnasium_stack(macros)
    memories, rng = [], np.random.default_rng(3)
    with closing(env):
        env.reset(seed=3)
        for _ in range(30):
            env.step(rng.integers(env.action_space.n))
            memories.append(env.unwrapped.get_ram())
    found = play(gym.make(ID, macros=macros, obs_type="ram"), 30)
    for expected, result in zip(memories, found[1:], strict=True):
        np.testing.assert_array_equal(expected, result[0], strict=True)


def test_nobody_can_tell_that_memory_is_copied_only_where_a_variable_changed(tmp_path):
    scenario = tmp_path / "losing.json"
    paid = {"score": {"reward": 3.0}, "lives": {"penalty": 50.0}, "gameover": {"reward": 0.5}}
    done = {"variables": {"lives": {"op": "less-than", "reference": 2}}}
    scenario.write_text(json.dumps({"reward": {"variables": paid}, "done": done}))
    rng = np.random.default_rng(1)
    actions = rng.integers(len(NAMES), size=2_400)
    plays, behind = [], 0
    for must_see_all in (True, False):
        settings = {"scenario": str(scenario), "repeat_action_probability": 0.0}
        with closing(MacroRetroEnv(GAME, macros=MacroSet(NAMES), **settings)) as env:
            emulator = env._emulator
            assert not emulator._must_see_all
            emulator._must_see_all = must_see_all
            emulator.reset()
            play = []
            for number, action in enumerate(actions.tolist()):
                reward = emulator.act(action)
                behind += emulator._is_behind  # until somebody asks
                play.append((reward, emulator.over(), emulator.info() if number % 3 else {}))
                if number % 37 == 0:
                    play.append(emulator.env.get_ram().tobytes())
                if emulator.over():
                    emulator.reset()
            plays.append(play)
    assert plays[0] == plays[1]
    assert behind > 2_000
    rewards = {frame[0] for frame in plays[0] if isinstance(frame, tuple)}
    assert min(rewards) < 0 < max(rewards)
    assert any(frame[1] for frame in plays[0] if isinstance(frame, tuple))


# Laws 1, 3, 9, 10


def test_macros_of_length_one_are_the_primitives():
    ones = MacroSet(NAMES, ((5,), (0,), (77,)))
    rng = np.random.default_rng(0)
    actions = rng.integers(len(NAMES) + 3, size=60)
    same = [
        (5, 0, 77)[action - len(NAMES)] if action >= len(NAMES) else action for action in actions
    ]
    results = []
    for macros, played in ((ones, actions), (MacroSet(NAMES), same)):
        with closing(gym.make(ID, macros=macros)) as env:
            results.append([env.reset(seed=1), *(env.step(action) for action in played)])
    assert_same_play(*results)


def test_rewards_add_up_to_the_score_and_frames_to_the_durations():
    with closing(gym.make(ID, macros=random_macros())) as env:
        rng = np.random.default_rng(8)
        _, info = env.reset(seed=8)
        assert info["episode_frame_number"] == 0
        score = frames = 0
        while True:
            _, reward, terminated, truncated, info = env.step(rng.integers(env.action_space.n))
            duration, rewards = info["duration"], info["primitive_rewards"]
            assert rewards.dtype == np.float32
            assert rewards.shape == (env.get_wrapper_attr("macro_set").max_length,)
            assert rewards.sum() == reward
            assert not rewards[duration:].any()
            score += reward
            if terminated or truncated:
                break
            frames += 4 * duration
            assert info["score"] == score
            assert info["episode_frame_number"] == frames
            assert info["frame_number"] == frames
        assert terminated
        assert score > 0
        assert info["gameover"] == 1


def test_savestates_that_lack_something_are_noticed_and_not_relied_on_again(monkeypatch):
    shooting = NAMES.index("B")
    env = MacroRetroEnv(GAME, macros=MacroSet(NAMES, ((shooting,) * 30,)))
    with closing(env):
        env.reset(seed=1)
        emulator = env._emulator
        restore = emulator.restore

        def restore_amiss(state):
            restore(state)
            emulator.act(0)

        monkeypatch.setattr(emulator, "restore", restore_amiss)
        with pytest.warns(UserWarning, match="savestates of Airstriker-Genesis-v0 lack something"):
            any(env.step(len(NAMES))[2] for _ in range(100))
        assert env._unseen_steps(30) == 0
