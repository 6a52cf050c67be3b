"""What recording and replaying need to know of an environment, and how to make it again."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
from gymnasium import spaces

from macro_gym.buttons import BETWEEN_PLAYERS, joint
from macro_gym.errors import ActionSpaceError, EnvironmentSettingError
from macro_gym.frames import frames_per_step


def make(id: str, kwargs: Mapping[str, Any]) -> gym.Env[Any, Any]:
    """Make an environment as ``gym.make`` does, ale-py's among them.

    Raises:
        EnvironmentSettingError: Gymnasium has no such id, or it does not take such arguments.
    """
    if id.startswith(("ALE/", "MacroALE/")):
        import ale_py

        gym.register_envs(ale_py)
        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    try:
        return gym.make(id, **kwargs)
    except (gym.error.Error, TypeError) as error:
        raise EnvironmentSettingError(
            f"{id} cannot be made with {dict(kwargs)}: {error}"
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
    """Return the names of an environment's primitives; their numbers if it names none."""
    if (macro_set := getattr(env, "macro_set", None)) is not None:
        return tuple(macro_set.primitives)
    if env.has_wrapper_attr("get_action_meanings"):
        return tuple(env.get_wrapper_attr("get_action_meanings")())
    space = require_discrete(env)
    return tuple(str(space.start + index) for index in range(int(space.n)))


def frameskip_of(env: gym.Env[Any, Any]) -> int:
    """Return the frames that a primitive runs; 0 if the environment is no emulator."""
    own = getattr(env, "frameskip", None)
    return frames_per_step(env) if own is None else int(own)


def settings_of(env: gym.Env[Any, Any]) -> dict[str, Any]:
    """Return how to make an environment whose primitives do the same; empty if it is unknown."""
    from macro_gym.retro import MacroRetroEnv

    if env.spec is None:
        return {}
    kwargs = dict(env.spec.kwargs)
    if hasattr(env, "macro_set"):
        # With the defaults, so that no later ones change the play; and without macros, which only
        # say in what portions the primitives came.
        parameters = inspect.signature(type(env)).parameters.values()
        kwargs = {p.name: p.default for p in parameters if p.default is not p.empty} | kwargs
        kwargs |= {"k": 0} if "k" in kwargs else {}
        # Those of games of stable-retro follow the macros, or a bank, unless buttons name them.
        if "buttons" in kwargs and isinstance(env, MacroRetroEnv):
            kwargs["buttons"] = _buttons(action_names(env))
    dropped = ("render_mode", "macros", "record")
    return {
        "id": env.spec.id,
        "kwargs": {name: value for name, value in kwargs.items() if name not in dropped},
    }


def _buttons(primitives: Sequence[str]) -> Sequence[str]:
    """What to name as buttons to have primitives, or more than those if two play only some."""
    players = 1 + primitives[0].count(BETWEEN_PLAYERS)
    first = tuple(dict.fromkeys(name.split(BETWEEN_PLAYERS)[0] for name in primitives))
    return first if joint(first, players) == tuple(primitives) else "all"
