"""Macros as strips of joystick arrows, one symbol per step."""

from collections.abc import Iterable

AXES = ("UP", "DOWN", "LEFT", "RIGHT")
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
    """Return the character for an ALE action, or an arrow and the buttons of a combination.

    Other primitives keep their names.

    Example:
        >>> symbol("UPLEFT"), symbol("UPLEFTFIRE"), symbol("DOWN+RIGHT+B"), symbol("A+B")
        ('↖', '⇖', '↘B', 'A+B')
    """
    if name in SYMBOLS:
        return SYMBOLS[name]
    parts = name.split("+")
    arrow = SYMBOLS.get("".join(part for part in AXES if part in parts), "")
    return arrow + "+".join(part for part in parts if part not in AXES) if arrow else name


def strip(names: Iterable[str]) -> str:
    """Return the symbol of each step, separated by spaces if any is longer than a character.

    Example:
        >>> strip(["LEFT", "LEFT", "UPLEFTFIRE", "FIRE", "NOOP"]), strip(["Left", "Up"])
        ('←←⇖•·', 'Left Up')
    """
    symbols = [symbol(name) for name in names]
    return ("" if all(len(one) == 1 for one in symbols) else " ").join(symbols)


def presses_button(name: str) -> bool:
    """Return whether an action presses a button: ``LEFTFIRE``, or ``LEFT+B`` and ``B``."""
    if name in SYMBOLS:
        return name.endswith("FIRE")
    return name.isupper() and not set(name.split("+")) <= set(AXES)
