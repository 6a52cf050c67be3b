"""Vectors of short games and of poles, and what it takes for two to do the same."""

from functools import partial

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from macro_gym import MacroAction, MacroSet
from macro_gym.vector import MacroVectorEnv

BREAKOUT = "MacroALE/Breakout-v5"
N_ENVS, N_WORKERS = 3, 2
SEED = 11


def random_macros():
    rng = np.random.default_rng(0)
    lengths = (1, 2, 3, 5, 8, 8, 11)
    macros = tuple(tuple(rng.integers(4, size=length).tolist()) for length in lengths)
    return MacroSet(("NOOP", "FIRE", "RIGHT", "LEFT"), macros)


SHORT = {"macros": random_macros(), "obs_type": "ram", "max_num_frames_per_episode": 160}


def breakout(n_envs=N_ENVS, **settings):
    """A MacroVectorEnv as ``gym.make_vec`` makes it, of short episodes."""
    return gym.make_vec(BREAKOUT, n_envs, **{"num_workers": N_WORKERS} | SHORT | settings)


def one_by_one(n_envs=N_ENVS, autoreset_mode=AutoresetMode.NEXT_STEP, **settings):
    return SyncVectorEnv(
        [partial(gym.make, BREAKOUT, **SHORT | settings)] * n_envs, autoreset_mode=autoreset_mode
    )


def cart_pole(macros=((0, 1, 1), (1, 0), (1,) * 5)):
    return MacroAction(gym.make("CartPole-v1"), MacroSet(("LEFT", "RIGHT"), macros))


def cart_poles(n_envs=5, n_workers=3, **settings):
    return MacroVectorEnv([cart_pole] * n_envs, num_workers=n_workers, **settings)


def assert_same(one, other):
    """The same values of the same types, however nested."""
    assert type(one) is type(other)
    if isinstance(one, (tuple, list)):
        assert len(one) == len(other)
        for mine, theirs in zip(one, other, strict=True):
            assert_same(mine, theirs)
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, np.ndarray) and one.dtype == object:
        assert_same(one.tolist(), other.tolist())
    else:
        np.testing.assert_array_equal(one, other, strict=isinstance(one, np.ndarray))


def assert_same_play(vector, reference, decisions, seed=SEED):
    """Both do the same; return how often episodes terminated and were truncated."""
    rng = np.random.default_rng(7)
    assert_same(vector.reset(seed=seed), reference.reset(seed=seed))
    ends = np.zeros(2, int)
    for _ in range(decisions):
        actions = rng.integers(vector.single_action_space.n, size=vector.num_envs)
        mine = vector.step(actions)
        assert_same(mine, reference.step(actions))
        ends += mine[2].sum(), mine[3].sum()
    vector.close()
    reference.close()
    return ends
