"""Copies and pickles of MacroALE go on as the original does (law 5)."""

import copy
import pickle
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from macro_gym.atari import MacroAtariEnv
from macro_gym.errors import RestoreError
from tests.macro_gym.atari import assert_same, assert_same_play, random_macros


def play(env, actions):
    """Steps, with resets between episodes, as a list of arrays and numbers."""
    steps = []
    for action in actions:
        steps.append(env.step(action))
        if steps[-1][2] or steps[-1][3]:
            steps.append(env.reset())
    return steps


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
@pytest.mark.parametrize(
    ("game", "settings"),
    [
        ("Breakout", {}),
        ("Breakout", {"obs_type": "ram", "noop_max": 30}),
        ("Backgammon", {"noop_max": 30, "repeat_action_probability": 0.9}),
        ("Qbert", {"obs_type": "rgb", "render_mode": "rgb_array_list"}),
        ("Tetris", {"repeat_action_probability": 0.0, "terminal_on_life_loss": True}),
    ],
)
def test_copies_go_on_as_the_original_does(game, settings, duplicate):
    env = gym.make(f"MacroALE/{game}-v5", macros=random_macros(game), **settings)
    untouched = gym.make(f"MacroALE/{game}-v5", macros=random_macros(game), **settings)
    rng = np.random.default_rng(1)
    env.reset(seed=2)
    untouched.reset(seed=2)
    for length in (1, 40, 3, 67):
        actions = rng.integers(env.action_space.n, size=length)
        play(env, actions)
        play(untouched, actions)
        copied = duplicate(env)
        actions = rng.integers(env.action_space.n, size=59)
        for one, two, three in zip(
            *(play(other, actions) for other in (env, copied, untouched)), strict=True
        ):
            assert_same(one, two)
            assert_same(one, three)
        if env.render_mode:
            np.testing.assert_array_equal(env.render(), copied.render())


def test_copies_never_reset_are_like_new():
    env = MacroAtariEnv("breakout", 3)
    copied = copy.deepcopy(env)
    assert_same_play(env, copied, 20)


def test_a_pickle_goes_on_in_another_process_under_sb3s_wrappers(tmp_path):
    def make():
        return Monitor(gym.make("MacroALE/Breakout-v5", macros=random_macros("Breakout")))

    vector = DummyVecEnv([make, make])
    vector.seed(5)
    vector.reset()
    rng = np.random.default_rng(0)
    for _ in range(30):
        vector.step(rng.integers(14, size=2))
    (tmp_path / "envs").write_bytes(pickle.dumps(vector.envs))
    actions = rng.integers(14, size=(80, 2))
    expected = [vector.step(pair)[1].tolist() for pair in actions]
    code = f"""
import pickle
from stable_baselines3.common.vec_env import DummyVecEnv
envs = pickle.load(open({str(tmp_path / "envs")!r}, "rb"))
vector = DummyVecEnv([lambda env=env: env for env in envs])
print([vector.step(pair)[1].tolist() for pair in {actions.tolist()}])
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == str(expected), result.stderr
    assert sum(sum(pair) for pair in expected) > 0


def test_an_emulator_driven_behind_the_environments_back_is_not_copied_silently():
    env = MacroAtariEnv("breakout", 0)
    env.reset(seed=0)
    for _ in range(20):
        env.ale.act(1)
    content = pickle.dumps(env)
    with pytest.raises(RestoreError, match=r"episode of breakout .* driven directly"):
        pickle.loads(content)
