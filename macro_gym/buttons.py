"""Combinations of buttons: their names, such as ``DOWN+RIGHT+B``, and which are possible."""

from collections.abc import Iterable, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from macro_gym.errors import EnvironmentSettingError

NOOP = "NOOP"
"""No button at all."""

DIRECTIONS = ("UP", "DOWN", "LEFT", "RIGHT")

BETWEEN_PLAYERS = "|"
"""Separator of two players' combinations: ``LEFT|RIGHT+B``."""

Buttons = Sequence[str | None]
"""A console's buttons, in order; None for a slot to which the emulator assigns no button."""

ButtonRow = NDArray[np.uint8]
"""Which buttons are held: 1 or 0 for each, shape ``(buttons,)``."""

Held = tuple[ButtonRow, ...]
"""What each player holds."""


def combination(held: Iterable[str]) -> str:
    """Return the name of buttons held together: directions first, the rest in the given order.

    Example:
        >>> combination(["B", "DOWN", "RIGHT"]), combination([])
        ('DOWN+RIGHT+B', 'NOOP')
    """
    held = list(held)
    directions = [button for button in DIRECTIONS if button in held]
    return "+".join(directions + [button for button in held if button not in DIRECTIONS]) or NOOP


def held_together(name: str, buttons: Buttons) -> frozenset[str]:
    """Return the buttons in a combination's name, whatever their order.

    Args:
        name: The combination; ``NOOP`` for none.
        buttons: The console's buttons.

    Raises:
        EnvironmentSettingError: The console lacks one of them, or they cannot be held together.

    Example:
        >>> sorted(held_together("B+DOWN", ("B", None, "UP", "DOWN")))
        ['B', 'DOWN']
    """
    held = [] if name == NOOP else name.split("+")
    for button in held:
        if button not in buttons:
            there = ", ".join(filter(None, buttons))
            raise EnvironmentSettingError(
                f"{name!r} holds {button!r}, but the console's buttons are {there}; no button at "
                f"all is {NOOP!r}"
            )
    if not _can_be_held(held):
        raise EnvironmentSettingError(
            f"{name!r} holds opposite directions, which a pad does not allow and games do not "
            "expect"
        )
    return frozenset(held)


def normal_name(name: str, buttons: Buttons) -> str:
    """Return a combination's canonical name, as in `combination`; raises as `held_together` does.

    Example:
        >>> normal_name("B+A+DOWN", ("A", "B", "UP", "DOWN"))
        'DOWN+A+B'
    """
    held = held_together(name, buttons)
    return combination(button for button in buttons if button in held and button is not None)


def button_row(name: str, buttons: Buttons) -> ButtonRow:
    """Return which of ``buttons`` a combination holds; raises as `held_together` does."""
    held = held_together(name, buttons)
    return np.array([button in held for button in buttons], np.uint8)


def allowed_combinations(
    groups: Sequence[Sequence[Sequence[str]]], buttons: Buttons
) -> tuple[str, ...]:
    """Return the combinations of one choice per group, ordered as RetroEnv's ``Actions.DISCRETE``.

    Args:
        groups: Groups of mutually exclusive choices of what to hold, such as
            ``[[], ["LEFT"], ["RIGHT"]]``; one choice from every group is held, often the empty one.
        buttons: The console's buttons.

    Returns:
        Their names, without duplicates or opposite directions.

    Example:
        >>> buttons = ("B", None, "UP", "DOWN")
        >>> allowed_combinations([[[], ["UP"], ["DOWN"]], [[], ["B"]]], buttons)
        ('NOOP', 'UP', 'DOWN', 'B', 'UP+B', 'DOWN+B')
    """
    # The emulator sorts each group by its buttons' bits, and the first group varies fastest.
    ordered = [sorted({_bits(held, buttons) for held in group}) for group in groups]
    chosen = (sum(bits) for bits in product(*reversed(ordered)))
    held = ([b for i, b in enumerate(buttons) if b and bits >> i & 1] for bits in chosen)
    return tuple(dict.fromkeys(combination(names) for names in held if _can_be_held(names)))


def joint(combinations: Sequence[str], players: int) -> tuple[str, ...]:
    """Return the joint combinations of several players; the first player's vary fastest.

    Example:
        >>> joint(("NOOP", "B"), players=2)
        ('NOOP|NOOP', 'B|NOOP', 'NOOP|B', 'B|B')
    """
    together = product(combinations, repeat=players)
    return tuple(BETWEEN_PLAYERS.join(reversed(names)) for names in together)


def _bits(held: Sequence[str], buttons: Buttons) -> int:
    """The emulator's bit mask of buttons held together."""
    return sum(1 << buttons.index(button) for button in held)


def _can_be_held(held: Iterable[str]) -> bool:
    """Whether no two directions are opposite."""
    held = set(held)
    return not ({"UP", "DOWN"} <= held or {"LEFT", "RIGHT"} <= held)
