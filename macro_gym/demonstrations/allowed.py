"""Which buttons a stable-retro game's integration lets through."""

from collections.abc import Sequence
from functools import cache

from macro_gym.buttons import BETWEEN_PLAYERS, NOOP, Buttons, combination
from macro_gym.demonstrations.demonstration import Demonstration
from macro_gym.demonstrations.translate import Changes, translate
from macro_gym.games import find_game
from macro_gym.retro_games import integration, retro_games


def as_allowed(demonstration: Demonstration) -> tuple[Demonstration, Changes]:
    """Return play in the combinations that its game allows, and how many steps were changed.

    No ROM is needed. The no-op comes first, whether or not it is used.

    Args:
        demonstration: Play of a stable-retro game, its actions named by buttons.
    """
    becomes = {name: _in_game(name, demonstration.game) for name in demonstration.primitives}
    together = 1 + demonstration.primitives[0].count(BETWEEN_PLAYERS)
    rest = BETWEEN_PLAYERS.join([NOOP] * together)
    return translate(demonstration, tuple(dict.fromkeys([rest, *becomes.values()])), becomes)


@cache
def known_retro_game(name: str) -> str:
    """Return the stable-retro game that ``name`` refers to; empty if there is none.

    Example:
        >>> known_retro_game("Airstriker-Genesis"), known_retro_game("ALE/Breakout-v5")
        ('Airstriker-Genesis-v0', '')
    """
    return find_game(name, retro_games()) or ""


def is_of_pads(demonstration: Demonstration, game: str) -> bool:
    """Whether every action is named by buttons of the game's console."""
    buttons = {NOOP, *integration(game).buttons}
    names = (name.replace(BETWEEN_PLAYERS, "+") for name in demonstration.primitives)
    return all(buttons >= {*name.split("+")} for name in names)


def filtered(
    held: Sequence[str], groups: Sequence[Sequence[Sequence[str]]], buttons: Buttons
) -> str:
    """Return the held buttons that the emulator lets through, as ``GameData.filter_action``.

    From each group it keeps the held buttons if the group allows them together, and otherwise none.

    Args:
        held: The buttons held together.
        groups: Groups of mutually exclusive choices of what to hold, such as
            ``[[], ["LEFT"], ["RIGHT"]]``.
        buttons: The console's buttons.

    Example:
        >>> groups = [[[], ["UP"], ["DOWN"]], [[], ["A"], ["B"]]]
        >>> filtered(("UP", "DOWN", "B", "START"), groups, ("B", "START", "UP", "DOWN", "A"))
        'B'
    """
    kept: set[str] = set()
    for group in groups:
        taken = {button for allowed in group for button in allowed} & {*held}
        if taken in [{*allowed} for allowed in group]:
            kept |= taken
    return combination([button for button in buttons if button in kept and button])


@cache
def _in_game(name: str, game: str) -> str:
    """What a game lets through of its players' combinations."""
    known = integration(game)
    parts = (part.split("+") for part in name.split(BETWEEN_PLAYERS))
    return BETWEEN_PLAYERS.join(filtered(held, known.groups(), known.buttons) for held in parts)
