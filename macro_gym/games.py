"""Names of Atari games: ``breakout``, ``Breakout`` and ``ALE/Breakout-v5`` are the same game."""

import difflib
import re
from collections.abc import Iterable


def find_game(name: str, roms: Iterable[str]) -> str | None:
    """Return the id among ``roms`` that ``name`` refers to, or None.

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


def did_you_mean(name: str, roms: Iterable[str]) -> str:
    """Return the games among ``roms`` spelled most like ``name``, as a question.

    Empty if there are none. ``name`` and ``roms`` are as in `find_game`.
    """
    by_key = {_key(rom): rom for rom in roms}
    close = [by_key[key] for key in difflib.get_close_matches(_key(name), by_key)]
    return f" Did you mean {', '.join(close)}?" if close else ""


def _key(name: str) -> str:
    """What all spellings of a game have in common."""
    return bare_name(name).replace("_", "").lower()
