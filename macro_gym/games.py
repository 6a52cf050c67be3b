"""Names of Atari games: ``breakout``, ``Breakout`` and ``ALE/Breakout-v5`` are the same game."""

import re
from collections.abc import Iterable


def find_game(name: str, roms: Iterable[str]) -> str | None:
    """Return the id among ``roms`` that ``name`` stands for, or None.

    Args:
        name: An id as in ale-py (``ms_pacman``), a name as in Gymnasium's ids (``MsPacman``), or
            a whole id (``ALE/MsPacman-v5``, ``MacroALE/MsPacman-v5``).
        roms: The ids to choose from.

    Example:
        >>> find_game("ALE/MsPacman-v5", ["pong", "ms_pacman"])
        'ms_pacman'
    """
    key = _key(name)
    return next((rom for rom in roms if _key(rom) == key), None)


def game_name(rom: str) -> str:
    """Return a game's name as Gymnasium's ids spell it: ``MsPacman`` for ``ms_pacman``."""
    return rom.title().replace("_", "")


def bare_name(name: str) -> str:
    """Return the game in a whole id: ``MsPacman`` for ``ALE/MsPacman-v5``."""
    return re.sub(r"^.*/|-v\d+$", "", name)


def _key(name: str) -> str:
    """What all spellings of one game have in common."""
    return bare_name(name).replace("_", "").lower()
