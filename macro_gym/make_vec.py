"""Entry points of ``gym.make_vec``: several environments of a game, side by side."""

from functools import partial
from typing import Any

import gymnasium as gym

from macro_gym.errors import EnvironmentSettingError
from macro_gym.games import game_name
from macro_gym.vector import MacroVectorEnv

VECTOR_SETTINGS = ("num_workers", "copy", "autoreset_mode", "context")
"""Arguments of `MacroVectorEnv` that ``gym.make_vec`` accepts besides those of a game."""


def make_atari(num_envs: int, *, game: str, **settings: Any) -> MacroVectorEnv:
    """Make a vector of ``num_envs`` environments ``MacroALE/<Game>-v5``, for ``gym.make_vec``.

    Args:
        num_envs: Number of environments.
        game: The game, in snake_case.
        settings: Arguments of `MacroVectorEnv`, and of ``gym.make`` for the game.
    """
    return _made(num_envs, f"MacroALE/{game_name(game)}-v5", settings)


def make_retro(num_envs: int, *, game: str, **settings: Any) -> MacroVectorEnv:
    """Make a vector of ``num_envs`` environments ``MacroRetro/<Game>-v0``, each in its own process.

    Args:
        num_envs: Number of environments.
        game: The game, as in ``Airstriker-Genesis-v0``.
        settings: Arguments of `MacroVectorEnv`, and of ``gym.make`` for the game.

    Raises:
        EnvironmentSettingError: ``num_workers`` would make a process run two games.
    """
    workers = settings.pop("num_workers", None)
    if workers is not None and workers < num_envs:
        raise EnvironmentSettingError(
            f"num_workers is {workers} for {num_envs} environments, but stable-retro can run only "
            "one game in a process; leave num_workers out"
        )
    return _made(num_envs, f"MacroRetro/{game}", settings | {"num_workers": num_envs})


def _made(num_envs: int, id: str, settings: dict[str, Any]) -> MacroVectorEnv:
    """A vector of environments with the same id."""
    of_vector = {name: settings.pop(name) for name in VECTOR_SETTINGS if name in settings}
    return MacroVectorEnv([partial(gym.make, id, **settings)] * num_envs, **of_vector)
