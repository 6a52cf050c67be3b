"""Frequent n-grams: the action sequences that play repeats most, as macros."""

from collections.abc import Iterable, Sequence
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from macro_gym.demonstrations.demonstration import Demonstration
from macro_gym.errors import DemonstrationError, InvalidMacroError, RemapError
from macro_gym.macro_set import MacroSet, Provenance

Codes = NDArray[np.int64]
"""N-grams as numbers: the indices of the primitives are the digits, first the highest."""


def frequent_ngrams(
    demonstrations: Iterable[Demonstration],
    k: int,
    max_length: int = 8,
    min_length: int = 2,
    primitives: Sequence[str] | None = None,
) -> MacroSet:
    """Return the ``k`` most frequent action sequences of ``min_length`` to ``max_length`` steps.

    The paper's heuristic, read literally:

    - Two sequences are the same if their primitives have the same names in the same order.
    - Every window counts, so occurrences may overlap: a run of n LEFTs holds n − m + 1 times
      LEFT×m. No window spans two demonstrations.
    - Lengths compete on equal terms. A prefix occurs at least as often as what it begins, so held
      actions and short sequences come first. In Breakout's bank 28 of the first 32 macros hold
      one action; 15, 26, 27, 25, 16, 13 and 6 of the first 128 have length 2, 3, ..., 8, and of
      all 512 it is 16, 31, 47, 75, 99, 118 and 126.
    - Of equally frequent sequences the longer comes first, then the one whose first differing
      primitive comes first in ``primitives``; the demonstrations' order does not matter.

    Args:
        demonstrations: The play; any number of stretches, of the same frame skip.
        k: How many macros to return.
        max_length: Steps in the longest macro.
        min_length: Steps in the shortest macro.
        primitives: Names that the set indexes; those of the first demonstration if None.

    Returns:
        The set, most frequent first, with counts and provenance.

    Raises:
        DemonstrationError: No demonstration is given, or frame skips differ.
        RemapError: A demonstration uses an action that ``primitives`` lacks.
        InvalidMacroError: There are fewer than ``k`` such sequences, or the lengths are not a
            range that can be counted.

    Source: arXiv 2506.13690, section 4; its choice of lengths and counting is not published.
    """
    play = list(demonstrations)
    _require_comparable(play)
    names = tuple(play[0].primitives if primitives is None else primitives)
    _require_countable(k, min_length, max_length, len(names))
    sequences = [_indexed(demonstration, names) for demonstration in play]
    stream = np.concatenate([np.append(sequence, -1) for sequence in sequences])
    lengths, codes, counts = _count(stream, len(names), min_length, max_length)
    if k > len(codes):
        raise InvalidMacroError(
            f"k is {k}, but the {sum(map(len, sequences))} steps of play given hold only "
            f"{len(codes)} distinct sequences of length {min_length}..{max_length}. "
            "Give more play, or a larger max_length."
        )
    # By falling count, then falling length, then the digits from the first on.
    best = np.lexsort((codes, -lengths, -counts))[:k]
    return MacroSet(
        names,
        tuple(_digits(int(codes[i]), int(lengths[i]), len(names)) for i in best),
        tuple(counts[best].tolist()),
        _provenance(play, k, min_length, max_length),
    )


def _count(
    stream: Codes, base: int, min_length: int, max_length: int
) -> tuple[Codes, Codes, Codes]:
    """Lengths, codes and counts of the distinct windows of ``stream``, each shape ``(ngrams,)``.

    Negative entries of ``stream`` separate the demonstrations; no window may hold one.
    """
    found = []
    codes = np.zeros(len(stream) + 1, dtype=np.int64)
    inside = np.ones(len(stream) + 1, dtype=bool)
    for length in range(1, max_length + 1):
        # The window of `length` at i is that of `length - 1` at i and one more action.
        last = stream[length - 1 :]
        codes = codes[: len(last)] * base + last
        inside = inside[: len(last)] & (last >= 0)
        if length >= min_length:
            distinct, counts = np.unique(codes[inside], return_counts=True)
            found.append((np.full_like(distinct, length), distinct, counts))
    lengths, distinct, counts = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return lengths, distinct, counts


def _digits(code: int, length: int, base: int) -> tuple[int, ...]:
    """The primitives of an n-gram, first to last."""
    digits = []
    for _ in range(length):
        code, digit = divmod(code, base)
        digits.append(digit)
    return tuple(reversed(digits))


def _indexed(demonstration: Demonstration, names: tuple[str, ...]) -> Codes:
    """The demonstration's actions as indices into ``names``."""
    index = {name: position for position, name in enumerate(names)}
    actions = np.asarray(demonstration.actions)
    table = np.array([index.get(name, -1) for name in demonstration.primitives], dtype=np.int64)
    lost = [demonstration.primitives[action] for action in np.unique(actions) if table[action] < 0]
    if lost:
        raise RemapError(
            f"a demonstration ({demonstration.source or 'of unknown source'}) uses "
            f"{', '.join(lost)}, but the primitives are {', '.join(names)}. "
            "Name the action set to index with primitives=..."
        )
    return table[actions]


def _require_comparable(play: Sequence[Demonstration]) -> None:
    """Refuse no play at all, and steps of different durations."""
    if not play:
        raise DemonstrationError("there are no demonstrations to mine")
    frameskips = sorted({demonstration.frameskip for demonstration in play})
    if len(frameskips) > 1:
        raise DemonstrationError(
            f"the demonstrations' frameskips differ: {', '.join(map(str, frameskips))}. The same "
            "sequence then lasts different times; mine each frameskip by itself"
        )


def _require_countable(k: int, min_length: int, max_length: int, n_primitives: int) -> None:
    """Refuse a count or lengths that make no sense, or codes beyond 64 bits."""
    if k < 0:
        raise InvalidMacroError(f"k is {k}; it must be at least 0")
    if not 1 <= min_length <= max_length:
        raise InvalidMacroError(
            f"lengths {min_length}..{max_length} are no range; 1 <= min_length <= max_length"
        )
    longest = next((n for n in range(1, 63) if n_primitives ** (n + 1) >= 2**63), max_length)
    if max_length > longest:
        raise InvalidMacroError(
            f"max_length is {max_length}, but with {n_primitives} primitives sequences longer "
            f"than {longest} do not fit 64 bits"
        )


def _provenance(play: Sequence[Demonstration], k: int, shortest: int, longest: int) -> Provenance:
    """What was mined and how."""
    return Provenance(
        source="; ".join(sorted({demonstration.source for demonstration in play} - {""})),
        method=f"frequent n-grams: k={k}, lengths {shortest}..{longest}, every window counts",
        game=", ".join(sorted({demonstration.game for demonstration in play} - {""})),
        frameskip=play[0].frameskip,
        steps=sum(len(demonstration.actions) for demonstration in play),
        scores=tuple(
            demonstration.score for demonstration in play if demonstration.rewards is not None
        ),
        version=version("macro-gym"),
    )
