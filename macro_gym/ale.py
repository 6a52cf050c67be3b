"""Adapter of the Arcade Learning Environment to `macro_gym.frames.Emulator`."""

from functools import partial
from pathlib import Path
from typing import cast

import ale_py
from ale_py import roms

from macro_gym.errors import EnvironmentSettingError, UnknownGameError
from macro_gym.games import did_you_mean
from macro_gym.registration import atari_games


class AleEmulator:
    """Adapt an ``ALEInterface`` to `macro_gym.frames.Emulator`.

    Its methods are the interface's own, so a frame costs no extra Python call.
    """

    def __init__(self, ale: ale_py.ALEInterface, *, colour: bool) -> None:
        """Bind the methods; ``colour`` selects whether ``draw`` draws in colour."""
        self.act = ale.act
        self.over = ale.game_over
        self.terminated = partial(ale.game_over, with_truncation=False)
        self.truncated = ale.game_truncated
        self.lives = ale.lives
        self.draw = ale.getScreenRGB if colour else ale.getScreenGrayscale
        self.memory = ale.getRAM


def require_game(game: str) -> None:
    """Raise unless ale-py has the game for one player; loading any other ends the process."""
    games = atari_games()
    if game not in games:
        raise UnknownGameError(
            f"game is {game!r}, which ale-py does not have for one player; games are written in "
            f"snake_case, such as 'ms_pacman'.{did_you_mean(game, games)}"
        )


def require_modes(game: str, mode: int | None, difficulty: int | None) -> None:
    """Raise unless the game has this mode and difficulty; None is the game's default."""
    if mode is None and difficulty is None:
        return
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    ale = ale_py.ALEInterface()
    ale.loadROM(cast(Path, roms.get_rom_path(game)))
    for name, value, available in (
        ("mode", mode, ale.getAvailableModes()),
        ("difficulty", difficulty, ale.getAvailableDifficulties()),
    ):
        if value is not None and value not in available:
            raise EnvironmentSettingError(
                f"{name} is {value!r}, but {game} has only {', '.join(map(str, available))}"
            )
