"""What a run's settings stand for: its environments and its learner."""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import ale_py
import gymnasium as gym
import numpy as np
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv

from macro_gym import MacroAction, MacroSet
from sb3_masp.features import BytesExtractor
from sb3_masp.macro_learner import MacroLearner
from sb3_masp.run_config import ALGORITHMS, RunError, TrainConfig

gym.register_envs(ale_py)  # for baselines on ALE's own ids


class Parts(NamedTuple):
    """What the run's environment is made of, besides its id.

    Args:
        kwargs: Arguments of ``gym.make``.
        wrapper: What is put around it, if anything.
    """

    kwargs: dict[str, Any]
    wrapper: Callable[[gym.Env[Any, Any]], gym.Env[Any, Any]] | None = None


def parts(config: TrainConfig) -> Parts:
    """How the run's macros come to its environment.

    Raises:
        RunError: The settings of a game were given for another environment.
    """
    if config.env.startswith("Macro"):
        return Parts(config.env_kwargs)
    if config.k is not None or config.obs_type is not None:
        raise RunError(
            f"--k and --obs-type are for MacroALE games, but the environment is {config.env}; "
            "macros for it come from a file: --macros FILE"
        )
    if config.macros is None:
        return Parts({})
    macro_set = MacroSet.load(config.macros)
    return Parts({}, lambda env: MacroAction(env, macro_set))


def make_env(config: TrainConfig, n_envs: int | None = None) -> VecEnv:
    """The run's environments, with SB3's Monitor; raises as `parts` does."""
    n_envs = config.n_envs if n_envs is None else n_envs
    kwargs, wrapper = parts(config)
    # SB3's type asks for a class, and its code for whatever makes one environment of another.
    return make_vec_env(
        config.env, n_envs, config.seed, env_kwargs=kwargs, wrapper_class=cast(Any, wrapper)
    )


def make_film_env(config: TrainConfig) -> gym.Env[Any, Any]:
    """One of the run's environments, whose ``render`` returns a picture of every primitive."""
    kwargs, wrapper = parts(config)
    env: gym.Env[Any, Any] = gym.make(config.env, render_mode="rgb_array_list", **kwargs)
    return env if wrapper is None else wrapper(env)


def make_model(config: TrainConfig, env: VecEnv) -> MacroLearner:
    """The run's learner, untrained.

    Raises:
        RunError: The environment's actions are not Discrete.
    """
    if not isinstance(env.action_space, gym.spaces.Discrete):
        raise RunError(
            f"{config.env} has the action space {env.action_space}, but the learners need Discrete "
            "actions. Can it be wrapped so that each action is one of a few?"
        )
    policy_kwargs: dict[str, Any] = {}
    if config.net_arch is not None:
        policy_kwargs["net_arch"] = list(config.net_arch)
    space = env.observation_space
    policy = "MlpPolicy"
    if isinstance(space, gym.spaces.Dict):
        policy = "MultiInputPolicy"
    elif len(space.shape or ()) == 3:
        policy = "CnnPolicy"
    elif space.dtype == np.uint8:
        policy_kwargs["features_extractor_class"] = BytesExtractor
    return ALGORITHMS[config.algorithm].learner(
        policy,
        env,
        policy_kwargs=policy_kwargs,
        seed=config.seed,
        device=config.device,
        **config.learner_kwargs,
    )
