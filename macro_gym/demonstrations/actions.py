"""Names of Atari actions, and of games as datasets spell them."""

from functools import cache
from pathlib import Path
from typing import cast

from macro_gym.errors import DemonstrationError
from macro_gym.games import find_game, game_name

ALE_ACTIONS = (
    *("NOOP", "FIRE", "UP", "RIGHT", "LEFT", "DOWN"),
    *("UPRIGHT", "UPLEFT", "DOWNRIGHT", "DOWNLEFT"),
    *("UPFIRE", "RIGHTFIRE", "LEFTFIRE", "DOWNFIRE"),
    *("UPRIGHTFIRE", "UPLEFTFIRE", "DOWNRIGHTFIRE", "DOWNLEFTFIRE"),
)
"""The Arcade Learning Environment's actions; positions are its indices."""

ALIASES = {"pinball": "video_pinball", "revenge": "montezuma_revenge"}
"""Games that have other names in Atari Grand Challenge than in ale-py."""


@cache
def known_game(name: str) -> str:
    """Return the game that ``name`` refers to, as in ``ALE/<game>-v5``; empty if there is none.

    Example:
        >>> known_game("revenge"), known_game("ms_pacman"), known_game("trajectories")
        ('MontezumaRevenge', 'MsPacman', '')
    """
    from ale_py import roms

    rom = find_game(ALIASES.get(name.lower(), name), roms.get_all_rom_ids())
    return "" if rom is None else game_name(rom)


def may_be_of(game: str, named: str) -> bool:
    """Return whether play in a place called ``named`` may be of ``game``; empty stands for any.

    Example:
        >>> may_be_of("ALE/Pong-v5", "pong"), may_be_of("pong", "1"), may_be_of("pong", "hero")
        (True, True, False)
    """
    return not game or known_game(named) in ("", known_game(game))


def atari_actions(game: str, *, full: bool = False) -> tuple[str, ...]:
    """Return the names of a game's actions: its minimal set, or all 18.

    Raises:
        DemonstrationError: ale-py has no such game.
    """
    known = known_game(game)
    if not known:
        raise DemonstrationError(
            f"the game is {game or 'not named'!r}, which is none of ale-py's, so what its action "
            "indices mean is unknown; name the game, as in breakout or ALE/Breakout-v5"
        )
    return ALE_ACTIONS if full else _minimal_actions(known)


@cache
def _minimal_actions(game: str) -> tuple[str, ...]:
    """The emulator's minimal action set for a game."""
    import ale_py
    from ale_py import roms

    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    ale = ale_py.ALEInterface()
    rom = find_game(game, roms.get_all_rom_ids()) or ""
    ale.loadROM(cast(Path, roms.get_rom_path(rom)))
    return tuple(action.name for action in ale.getMinimalActionSet())
