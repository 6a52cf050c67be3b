"""The ids that ``import macro_gym`` adds to Gymnasium's registry."""

import json
from importlib.util import find_spec
from pathlib import Path

import gymnasium as gym

from macro_gym.games import game_name

# They have no single-player game, so ale-py does not register them either.
MULTIPLAYER_ONLY = frozenset({"combat", "joust", "maze_craze", "warlords"})


def register_envs() -> None:
    """Register ``MacroALE/<Game>-v5`` for each ``ALE/<Game>-v5``; nothing without ale-py."""
    for game in atari_games():
        gym.register(
            id=f"MacroALE/{game_name(game)}-v5",
            entry_point="macro_gym.atari:MacroAtariEnv",
            vector_entry_point="macro_gym.vector:make_atari",
            kwargs={"game": game},
        )


def atari_games() -> list[str]:
    """Return ale-py's single-player games in snake_case, without importing it (it is slow)."""
    spec = find_spec("ale_py")
    if spec is None or spec.origin is None:
        return []
    checksums = json.loads((Path(spec.origin).parent / "roms" / "md5.json").read_text())
    return sorted({name.split(".")[0] for name in checksums} - MULTIPLAYER_ONLY)
