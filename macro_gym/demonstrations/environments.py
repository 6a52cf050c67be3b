"""What recording and replaying need from an environment: names, frameskip, how to remake it."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
from gymnasium import spaces

from macro_gym.buttons import BETWEEN_PLAYERS, joint
from macro_gym.errors import ActionSpaceError, EnvironmentSettingError, MacroGymError
from macro_gym.frames import frames_per_step

UNREGISTERED = (
    " Does a module register it? Then import that first: macro-gym record MODULE:ID, macro-gym "
    "replay --module MODULE"
)
"""Advice for an id that Gymnasium does not know."""


def make(id: str, kwargs: Mapping[str, Any]) -> gym.Env[Any, Any]:
    """Make an environment with ``gym.make``, ale-py's included.

    Raises:
        EnvironmentSettingError: Gymnasium has no such id, or it does not take these arguments.
        MacroGymError: An environment of this package refuses its arguments.
    """
    if id.startswith(("ALE/", "MacroALE/")):
        import ale_py

        gym.register_envs(ale_py)
        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    try:
        return gym.make(id, **kwargs)
    except MacroGymError:
        raise
    except Exception as error:  # modules and environments raise a dozen kinds
        advice = UNREGISTERED if isinstance(error, gym.error.UnregisteredEnv) else ""
        raise EnvironmentSettingError(
            f"{id} cannot be made with {dict(kwargs)}: {type(error).__name__}: {error}{advice}"
        ) from error


def require_discrete(env: gym.Env[Any, Any]) -> spaces.Discrete:
    """Return the environment's action space.

    Raises:
        ActionSpaceError: It is not discrete.
    """
    if isinstance(env.action_space, spaces.Discrete):
        return env.action_space
    raise ActionSpaceError(
        f"the actions of {env} are {env.action_space}, but a demonstration is made of discrete ones"
    )


def action_names(env: gym.Env[Any, Any]) -> tuple[str, ...]:
    """Return the names of an environment's primitives, or their numbers if it has no names."""
    if (macro_set := getattr(env, "macro_set", None)) is not None:
        return tuple(macro_set.primitives)
    if env.has_wrapper_attr("get_action_meanings"):
        return tuple(env.get_wrapper_attr("get_action_meanings")())
    space = require_discrete(env)
    return tuple(str(space.start + index) for index in range(int(space.n)))


def frameskip_of(env: gym.Env[Any, Any]) -> int:
    """Return the frames per primitive; 0 if the environment is not an emulator."""
    own = getattr(env, "frameskip", None)
    return frames_per_step(env) if own is None else int(own)


def settings_of(env: gym.Env[Any, Any]) -> dict[str, Any]:
    """Return settings that make an environment with the same primitives; empty if unknown."""
    from macro_gym.retro import MacroRetroEnv

    if env.spec is None:
        return {}
    kwargs = dict(env.spec.kwargs)
    if hasattr(env, "macro_set"):
        # Includes the defaults, in case they change later, but not the macros, which only group the
        # primitives.
        parameters = inspect.signature(type(env)).parameters.values()
        kwargs = {p.name: p.default for p in parameters if p.default is not p.empty} | kwargs
        kwargs |= {"k": 0} if "k" in kwargs else {}
        # In stable-retro games, primitives come from the macros or a bank unless buttons are given.
        if "buttons" in kwargs and isinstance(env, MacroRetroEnv):
            kwargs["buttons"] = _buttons(action_names(env))
    dropped = ("render_mode", "macros", "record")
    return {
        "id": env.spec.id,
        "kwargs": {name: value for name, value in kwargs.items() if name not in dropped},
    }


def _buttons(primitives: Sequence[str]) -> Sequence[str]:
    """The ``buttons`` that give these primitives, or ``"all"`` if none give just these."""
    players = 1 + primitives[0].count(BETWEEN_PLAYERS)
    first = tuple(dict.fromkeys(name.split(BETWEEN_PLAYERS)[0] for name in primitives))
    return first if joint(first, players) == tuple(primitives) else "all"
