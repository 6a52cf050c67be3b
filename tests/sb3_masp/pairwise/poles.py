"""Learners on poles for tests of PairwiseA2C."""

from stable_baselines3.common.env_util import make_vec_env
from torch.nn.utils import parameters_to_vector

import macro_gym  # noqa: F401
from sb3_masp.pairwise import PairwiseA2C


def pole(n_envs=3, seed=1):
    return make_vec_env("CartPole-v1", n_envs, seed=seed)


def learner(env=None, policy="MlpPolicy", **kwargs):
    settings = {"n_steps": 7, "seed": 1, "device": "cpu"} | kwargs
    return PairwiseA2C(policy, env or pole(), **settings)


def flat(model):
    return parameters_to_vector(model.policy.parameters()).detach().clone()


def of_weights(model):
    return parameters_to_vector(model.weights.parameters()).detach().clone()
