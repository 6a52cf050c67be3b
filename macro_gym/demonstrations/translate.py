"""Translate play from one action set to another, matching actions by name."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from macro_gym.demonstrations.actions import ALE_ACTIONS
from macro_gym.demonstrations.demonstration import Demonstration
from macro_gym.errors import RemapError

PARTS = ("FIRE", "DOWN", "UP", "LEFT", "RIGHT")
"""Parts of an ALE action's name; where either of two could be dropped, the earlier one is."""

Changes = Counter[tuple[str, str]]
"""Number of steps whose action was changed, by old and new name."""


def translate(
    demonstration: Demonstration, names: Sequence[str], effects: Mapping[str, str] | None = None
) -> tuple[Demonstration, Changes]:
    """Return the play in terms of ``names``, and what had to be changed.

    Args:
        demonstration: Play in any action set.
        names: The target action set.
        effects: Which of ``names`` replaces each old action; `nearest_action` if None.

    Returns:
        The play, and counts of the steps whose action was changed.

    Raises:
        RemapError: ``names`` has nothing near an action that the play uses.
    """
    wanted = tuple(names)
    if demonstration.primitives == wanted:
        return demonstration, Counter()
    actions = np.asarray(demonstration.actions)
    used, counts = np.unique(actions, return_counts=True)
    table = np.zeros(len(demonstration.primitives), dtype=np.min_scalar_type(len(wanted)))
    changes: Changes = Counter()
    for action, count in zip(used.tolist(), counts.tolist(), strict=True):
        old = demonstration.primitives[action]
        new = nearest_action(old, wanted) if effects is None else effects[old]
        table[action] = wanted.index(new)
        if new != old:
            changes[old, new] += count
    return replace(demonstration, primitives=wanted, actions=table[actions]), changes


@cache
def nearest_action(name: str, names: tuple[str, ...]) -> str:
    """Return what is left of the action ``name`` when the parts that a game ignores are dropped.

    It has no part that ``name`` lacks, and as many of its parts as possible; ties prefer keeping
    LEFT or RIGHT to UP or DOWN, and both to FIRE. ``NOOP`` is left if the game ignores every part.

    Args:
        name: An Atari action, ``UPFIRE``, or a combination of buttons, ``UP+B``.
        names: The game's actions.

    Raises:
        RemapError: No action in ``names`` is a part of ``name``, not even NOOP.

    Example:
        >>> nearest_action("UPFIRE", ("NOOP", "FIRE", "RIGHT", "LEFT"))
        'FIRE'
    """
    if name in names:
        return name
    within = parts_of(name, names)
    if not within:
        raise RemapError(
            f"a play uses {name}, but the actions wanted are only {', '.join(names)}, and none is "
            f"a part of {name}. Is it of another game?"
        )
    return max(within, key=lambda other: (len(_parts(other)), _weight(_parts(other))))


def parts_of(name: str, names: Sequence[str]) -> list[str]:
    """Return those of ``names`` that press only what ``name`` presses.

    Example:
        >>> parts_of("UPFIRE", ("NOOP", "FIRE", "UPRIGHT", "0"))
        ['NOOP', 'FIRE']
    """
    if name.isdecimal():
        return []
    parts = _parts(name)
    return [other for other in names if _parts(other) <= parts]


def union(sets: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """Return the names in several action sets, without duplicates, in order of appearance."""
    return tuple(dict.fromkeys(name for names in sets for name in names))


def _parts(name: str) -> frozenset[str]:
    """The buttons that an action presses."""
    if name == "NOOP":
        return frozenset()
    if name in ALE_ACTIONS:
        return frozenset(part for part in PARTS if part in name)
    return frozenset(name.split("+"))


def _weight(parts: frozenset[str]) -> int:
    """A weight that is higher for parts later in `PARTS`."""
    return sum(2 ** PARTS.index(part) for part in parts if part in PARTS)
