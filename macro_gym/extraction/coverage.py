"""How much of play the first macros of a set cover, and how many decisions they leave."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from macro_gym.demonstrations.demonstration import Demonstration
from macro_gym.errors import InvalidMacroError
from macro_gym.extraction.indexed import Actions, IndexedPlay
from macro_gym.extraction.settings import ExtractionSettings
from macro_gym.macro_set import MacroSet

BATCH = 2**19
"""Approximate number of steps parsed side by side."""


@dataclass(frozen=True, slots=True, eq=False)
class Coverage:
    """How well the first macros of a set cover play.

    Args:
        sizes: Numbers of macros, counted from the first.
        steps: Steps of the play.
        covered: Share of the steps covered by macros, shape ``(sizes,)``, within 0..1.
        decisions: Decisions per step, shape ``(sizes,)``, within 0..1; 1 without macros.
    """

    sizes: tuple[int, ...]
    steps: int
    covered: NDArray[np.float64]
    decisions: NDArray[np.float64]


def play_coverage(
    macro_set: MacroSet,
    play: Iterable[Demonstration],
    sizes: Sequence[int] | None = None,
    *,
    progress_bar: bool = False,
) -> Coverage:
    """Return how much of ``play`` the first n macros cover, for each n in ``sizes``.

    The play is cut into primitives and the first n macros, so that each step is in one piece:

    - ``covered`` is the largest share of steps in macros over all such cuts;
    - ``decisions`` is the smallest number of pieces per step over all such cuts: how often an agent
      that plays the same must decide.

    Both are optima, not the results of some parser, so more macros never make them worse. No macro
    spans two demonstrations. Each demonstration counts by its steps.

    Args:
        macro_set: The macros, in order.
        play: Play to cover, with the set's action names; 20,000 steps, 512 macros and all n take
            about a second.
        sizes: Numbers of macros; 1 to all of them if None.
        progress_bar: Whether to show the steps parsed, if on a terminal and if it takes long.

    Raises:
        DemonstrationError: There is no play, or its frameskips differ or are not the set's.
        RemapError: The play uses an action that the set's primitives lack.
        InvalidMacroError: A size is negative or larger than the number of macros.
    """
    from tqdm import tqdm

    k = len(macro_set.macros)
    sizes = tuple(range(1, k + 1)) if sizes is None else tuple(sizes)
    for size in sizes:
        if not 0 <= size <= k:
            raise InvalidMacroError(f"{size} macros are asked for; the set has 0..{k}")
    settings = ExtractionSettings(
        primitives=macro_set.primitives, frameskip=macro_set.provenance.frameskip or None
    )
    indexed = IndexedPlay.of(list(play), settings)
    children, ranks = _tree(macro_set)
    covered = saved = np.zeros(len(sizes), np.int64)
    steps = indexed.steps
    with tqdm(
        total=steps, desc="cover", unit="step", delay=2, disable=None if progress_bar else True
    ) as bar:
        for sequences, _ in indexed.batches(BATCH):
            found = _ranks(_padded(sequences, len(macro_set.primitives)), children, ranks)
            covered = covered + _most(found, np.array(sizes), 0)
            saved = saved + _most(found, np.array(sizes), 1)
            bar.update(sum(map(len, sequences)))
    return Coverage(sizes, steps, covered / max(steps, 1), 1 - saved / max(steps, 1))


def spread_sizes(k: int) -> tuple[int, ...]:
    """Return numbers of macros from 1 to ``k``, enough for a curve on a log axis.

    They include all powers of two and ``k``.

    Example:
        >>> spread_sizes(9)
        (1, 2, 3, 4, 5, 6, 7, 8, 9)
        >>> len(spread_sizes(512))
        50
    """
    spread = np.geomspace(1, max(k, 1), 64).round().astype(int).tolist()
    powers = (2**exponent for exponent in range(k.bit_length()))
    return tuple(sorted({*spread, *powers})) if k else ()


def _tree(macro_set: MacroSet) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The macros' prefixes as a tree: node 0 is no prefix, node 1 the empty one.

    Returns:
        The child of each node for each primitive, and for padding (0), shape
        ``(nodes, primitives + 1)``; the rank of each node's macro, or the number of macros if it
        has none, shape ``(nodes,)``.
    """
    k, width = len(macro_set.macros), len(macro_set.primitives) + 1
    children, ranks = [[0] * width, [0] * width], [k, k]
    for rank, macro in enumerate(macro_set.macros):
        node = 1
        for primitive in macro:
            if not children[node][primitive]:
                children[node][primitive] = len(children)
                children.append([0] * width)
                ranks.append(k)
            node = children[node][primitive]
        ranks[node] = rank
    return np.array(children, np.int32), np.array(ranks, np.int32)


def _padded(sequences: Sequence[Actions], padding: int) -> NDArray[np.int32]:
    """The sequences as columns, padded, shape ``(longest, sequences)``."""
    padded = np.full((max(map(len, sequences)), len(sequences)), padding, np.int32)
    for column, sequence in enumerate(sequences):
        padded[: len(sequence), column] = sequence
    return padded


def _ranks(
    actions: NDArray[np.int32], children: NDArray[np.int32], ranks: NDArray[np.int32]
) -> list[NDArray[np.int32]]:
    """For each length from 1 on, the rank of the macro of that length that begins at each step."""
    found = []
    node = children[1, actions]
    while node.any():
        found.append(ranks[node])
        following = np.zeros_like(node)
        following[: -len(found)] = children[node[: -len(found)], actions[len(found) :]]
        node = following
    return found


def _most(
    ranks: Sequence[NDArray[np.int32]], sizes: NDArray[np.int64], fee: int
) -> NDArray[np.int64]:
    """Maximum earnings over all cuts of the play, shape ``(sizes,)``.

    A macro earns its length less ``fee``: without a fee, the steps it covers; with a fee of one,
    the decisions it saves. Primitives and padding earn nothing.
    """
    if not ranks:
        return np.zeros(len(sizes), np.int64)
    steps, demonstrations = ranks[0].shape
    # Maximum earnings from each of the next steps on, the nearest first.
    nothing = np.zeros((demonstrations, len(sizes)), np.int32)
    ahead = deque([nothing] * len(ranks), len(ranks))
    for step in reversed(range(steps)):
        best = ahead[0]
        for length, rank in enumerate(ranks, 1):
            fits = rank[step, :, None] < sizes
            if fits.any():
                best = np.maximum(best, np.where(fits, ahead[length - 1] + (length - fee), 0))
        ahead.appendleft(best)
    total: NDArray[np.int64] = ahead[0].sum(axis=0, dtype=np.int64)
    return total
