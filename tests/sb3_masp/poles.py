"""Small environments and settings for tests of learners."""

import gymnasium as gym
import numpy as np
import torch as th

from macro_gym import MacroAction, MacroSet

MACROS = MacroSet(("LEFT", "RIGHT"), ((0, 0), (1, 1), (0, 1, 0), (1, 0, 1, 1), (0, 0, 1)))
BREAKOUT = MacroSet(("NOOP", "FIRE", "RIGHT", "LEFT"), ((3, 3, 3), (2, 2), (1, 0, 2), (2, 3)))
SMALL = {"buffer_size": 199, "learning_starts": 23, "seed": 3, "batch_size": 13}


def cartpole():
    return gym.make("CartPole-v1")


def small_rewards():
    """CartPole with TD errors in the quadratic part of the Huber loss: a linear one is blind."""
    return gym.wrappers.TransformReward(cartpole(), lambda reward: 0.1 * reward)


def macro_cartpole(macros=MACROS):
    return MacroAction(cartpole(), macros)


def macro_breakout(**kwargs):
    return gym.make("MacroALE/Breakout-v5", macros=BREAKOUT, **kwargs)


def macro_lake():
    lake = gym.make("FrozenLake-v1", is_slippery=False, max_episode_steps=30)
    return MacroAction(lake, MacroSet(("LEFT", "DOWN", "RIGHT", "UP"), ((1, 1), (2, 2), (0, 3))))


class DictCartPole(gym.ObservationWrapper):
    """CartPole in two keys."""

    def __init__(self, env):
        super().__init__(env)
        box = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
        self.observation_space = gym.spaces.Dict({"cart": box, "pole": box})

    def observation(self, observation):
        return {"cart": observation[:2], "pole": observation[2:]}


def same_weights(first, second):
    left, right = first.policy.state_dict(), second.policy.state_dict()
    assert list(left) == list(right)
    return all(th.equal(left[name], right[name]) for name in left)
