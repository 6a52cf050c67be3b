"""Registration of the environment ids that ``import macro_gym`` adds to Gymnasium."""

import json
from importlib.util import find_spec
from pathlib import Path

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec

from macro_gym.games import game_name
from macro_gym.retro_games import retro_games

# Without a single-player game; ale-py does not register them either.
MULTIPLAYER_ONLY = frozenset({"combat", "joust", "maze_craze", "warlords"})


def register_envs() -> None:
    """Register ``MacroALE/<Game>-v5`` and ``MacroRetro/<Game>-v0``, as far as installed."""
    for game in atari_games():
        gym.register(
            id=f"MacroALE/{game_name(game)}-v5",
            entry_point="macro_gym.atari:MacroAtariEnv",
            vector_entry_point="macro_gym.make_vec:make_atari",
            kwargs={"game": game},
        )
    for game in retro_games():
        # gym.register compares each id with all others, which takes half a second for a thousand.
        spec = EnvSpec(
            id=f"MacroRetro/{game}",
            entry_point="macro_gym.retro:MacroRetroEnv",
            vector_entry_point="macro_gym.make_vec:make_retro",
            kwargs={"game": game},
        )
        gym.registry[spec.id] = spec


def atari_games() -> list[str]:
    """Return ale-py's single-player games in snake_case, without importing it (it is slow)."""
    spec = find_spec("ale_py")
    if spec is None or spec.origin is None:
        return []
    checksums = json.loads((Path(spec.origin).parent / "roms" / "md5.json").read_text())
    return sorted({name.split(".")[0] for name in checksums} - MULTIPLAYER_ONLY)
