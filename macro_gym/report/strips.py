"""Macros as strips of joystick arrows, one symbol a step."""

from collections.abc import Iterable

DIRECTIONS = ("LEFT", "UP", "RIGHT", "DOWN", "UPLEFT", "UPRIGHT", "DOWNRIGHT", "DOWNLEFT")
SYMBOLS = {
    "NOOP": "·",
    "FIRE": "•",
    **dict(zip(DIRECTIONS, "←↑→↓↖↗↘↙", strict=True)),
    **dict(zip((f"{name}FIRE" for name in DIRECTIONS), "⇐⇑⇒⇓⇖⇗⇘⇙", strict=True)),
}
"""A character for each of the Arcade Learning Environment's actions."""

LEGEND = "← joystick   ⇐ joystick and button   • button   · neither"


def symbol(name: str) -> str:
    """Return the character for an action of the emulator, or another primitive's name as it is.

    Example:
        >>> symbol("UPLEFT"), symbol("UPLEFTFIRE"), symbol("DOWN+B")
        ('↖', '⇖', 'DOWN+B')
    """
    return SYMBOLS.get(name, name)


def strip(names: Iterable[str]) -> str:
    """Return a symbol for each step, with spaces between where there are whole names.

    Example:
        >>> strip(["LEFT", "LEFT", "UPLEFTFIRE", "FIRE", "NOOP"]), strip(["Left", "Up"])
        ('←←⇖•·', 'Left Up')
    """
    symbols = [symbol(name) for name in names]
    return ("" if all(len(one) == 1 for one in symbols) else " ").join(symbols)


def presses_button(name: str) -> bool:
    """Return whether an action of the emulator presses the joystick's button."""
    return name in SYMBOLS and name.endswith("FIRE")
