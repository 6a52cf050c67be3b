"""Find out which environments can be pickled in the middle of an episode."""

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
from gymnasium.utils import EzPickle


def comes_back_new(env: gym.Env[Any, Any]) -> str | None:
    """Name of the layer that EzPickle recreates on copying and pickling; None if there is none."""
    for layer in _layers(env):
        if isinstance(layer, EzPickle) and type(layer).__getstate__ is EzPickle.__getstate__:
            return type(layer).__name__
    return None


def _layers(env: gym.Env[Any, Any]) -> Iterator[gym.Env[Any, Any]]:
    """An environment's wrappers, outermost first, and the environment itself."""
    while isinstance(env, gym.Wrapper):
        yield env
        env = env.env
    yield env
