"""Environments of Atari's games with random macros, and what it takes for two to be the same."""

import ale_py
import gymnasium as gym
import numpy as np

from macro_gym import MacroSet

gym.register_envs(ale_py)

BREAKOUT = ("NOOP", "FIRE", "RIGHT", "LEFT")
LENGTHS = (1, 2, 3, 4, 5, 6, 7, 8, 8, 11)


def random_macros(game, lengths=LENGTHS, seed=0):
    names = tuple(gym.make(f"ALE/{game}-v5").unwrapped.get_action_meanings())
    rng = np.random.default_rng(seed)
    macros = {tuple(rng.integers(len(names), size=length).tolist()) for length in lengths}
    return MacroSet(names, tuple(sorted(macros)))


def assert_same(one, other):
    """All of what reset or step returned."""
    assert one[0].dtype == other[0].dtype
    np.testing.assert_array_equal(one[0], other[0], strict=True)
    assert one[1:-1] == other[1:-1]
    assert one[-1].keys() == other[-1].keys()
    for key, value in one[-1].items():
        np.testing.assert_array_equal(value, other[-1][key], err_msg=key)


def assert_same_play(one, other, decisions, seed=3):
    """Play both the same way; return how far into a macro episodes ended, and how often each."""
    assert one.action_space == other.action_space
    assert one.observation_space == other.observation_space
    rng = np.random.default_rng(seed)
    assert_same(one.reset(seed=seed), other.reset(seed=seed))
    ends = []
    for _ in range(decisions):
        action = rng.integers(one.action_space.n)
        step = one.step(action)
        assert_same(step, other.step(action))
        if step[2] or step[3]:
            length = len(one.get_wrapper_attr("macro_set").expand(action))
            ends.append((step[-1]["duration"], length))
            assert_same(one.reset(), other.reset())
    return ends
