"""The learners that every test of what they all promise goes over, and small settings for them."""

import gymnasium as gym
import numpy as np
import torch as th

from macro_gym import MacroAction, MacroSet
from sb3_masp import MASPDQN, MASPQRDQN, MASPRainbow, Rainbow

LEARNERS = [MASPDQN, MASPQRDQN, Rainbow, MASPRainbow]

MACROS = MacroSet(("LEFT", "RIGHT"), ((0, 0), (1, 1), (0, 1, 0)))


def macro_cartpole():
    return MacroAction(gym.make("CartPole-v1"), MACROS)


def is_shown(network, similarity):
    """Whether e_Σ of a conditioned network is that of Σ, by the matrix."""
    embedding, sigma = network.similarity_embedding, similarity().detach()
    if hasattr(embedding, "weight"):
        return th.equal(embedding.shown, sigma)
    expected = ((embedding.left @ sigma) * embedding.right).sum(1)
    return th.allclose(embedding.shown, expected, rtol=1e-4, atol=1e-5)


class DictCartPole(gym.ObservationWrapper):
    """CartPole in two keys."""

    def __init__(self, env):
        super().__init__(env)
        box = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
        self.observation_space = gym.spaces.Dict({"cart": box, "pole": box})

    def observation(self, observation):
        return {"cart": observation[:2], "pole": observation[2:]}


def small(learner, env=None, policy="MlpPolicy", **kwargs):
    """A learner of few weights that learns early."""
    settings = {
        "buffer_size": 199,
        "learning_starts": 23,
        "batch_size": 13,
        "train_freq": 3,
        "target_update_interval": 31,
        "seed": 3,
        "policy_kwargs": {"net_arch": [11]},
    }
    return learner(policy, env or macro_cartpole(), **settings | kwargs)
