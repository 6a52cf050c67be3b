"""Frequent n-grams: the action sequences that play repeats most, as macros."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from macro_gym.demonstrations.demonstration import Demonstration
from macro_gym.errors import InvalidMacroError
from macro_gym.extraction.indexed import Actions, IndexedPlay
from macro_gym.extraction.settings import ExtractionSettings
from macro_gym.macro_set import MacroSet

Codes = NDArray[np.int64]
"""N-grams as numbers: the primitives' indices are the digits, most significant first."""

BATCH = 2**22
"""Steps whose windows are sorted at a time; eight bytes each."""


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
    - Every window counts, so occurrences may overlap: a run of n LEFTs holds LEFT×m n − m + 1
      times. No window spans two demonstrations.
    - Lengths compete on equal terms. A prefix occurs at least as often as the sequences that it
      starts, so held actions and short sequences come first. In Breakout's bank, 28 of the first
      32 macros hold one action; of the first 128, 16, 28, 32, 27, 13, 7 and 5 have length 2, 3,
      ..., 8, and of all 512, 16, 29, 42, 55, 94, 125 and 151.
    - Of equally frequent sequences the longer comes first, then the one whose first differing
      primitive comes first in ``primitives``; the demonstrations' order does not matter.

    Args:
        demonstrations: The play; any number of stretches, with the same frameskip.
        k: Number of macros to return.
        max_length: Steps in the longest macro.
        min_length: Steps in the shortest macro.
        primitives: Names that the set indexes; those of the first demonstration if None.

    Returns:
        The set, most frequent first, with counts and provenance.

    Raises:
        DemonstrationError: No demonstration is given, or frameskips differ.
        RemapError: A demonstration uses an action that ``primitives`` lacks.
        InvalidMacroError: There are fewer than ``k`` such sequences, or the lengths are not a
            range that can be counted.

    Source: arXiv 2506.13690, section 4; its choice of lengths and counting is not published.
    """
    names = None if primitives is None else tuple(primitives)
    return mine_ngrams(
        list(demonstrations), ExtractionSettings(k, max_length, min_length, 1, names)
    )


def mine_ngrams(demonstrations: Sequence[Demonstration], settings: ExtractionSettings) -> MacroSet:
    """Return the most frequent action sequences: `frequent_ngrams` with all the settings.

    Only the windows of ``max_length`` are sorted. An n-gram occurs wherever it starts a longer
    one, and once more for each demonstration that ends with it, so the counts of other lengths
    follow from the few distinct windows; of each length only the ``k`` best are kept, without loss.

    Raises:
        DemonstrationError: As in `frequent_ngrams`, or frameskip or weights do not fit the play.
        RemapError: As in `frequent_ngrams`.
        InvalidMacroError: As in `frequent_ngrams`.
    """
    play = IndexedPlay.of(demonstrations, settings)
    macros, counts, total = count_ngrams(play, settings.k)
    play.require_enough(total)
    method = f"frequent n-grams: k={settings.k}, lengths {settings.lengths}, every window counts"
    return MacroSet(play.primitives, macros, counts, play.provenance(method))


def count_ngrams(
    play: IndexedPlay, k: int
) -> tuple[tuple[tuple[int, ...], ...], tuple[int, ...], int]:
    """The ``k`` best n-grams of ``play``, or all; their counts; and the number of n-grams.

    Raises:
        InvalidMacroError: The longest do not fit 64 bits.
    """
    settings, base = play.settings, len(play.primitives)
    _require_countable(settings.max_length, base)
    found, total = [], 0
    for length, codes, counts in _by_falling_length(play, settings.max_length):
        if length >= settings.min_length:
            often = counts >= settings.min_count
            total += int(often.sum())
            best = _most_frequent(codes[often], counts[often], k)
            found.append((np.full(len(best[0]), length), *best))
    lengths, codes, counts = (np.concatenate(parts) for parts in zip(*found, strict=True))
    # By descending count, then descending length, then the digits from the first on.
    order = np.lexsort((codes, -lengths, -counts))[:k]
    macros = tuple(_digits(int(codes[i]), int(lengths[i]), base) for i in order)
    return macros, tuple(counts[order].tolist()), total


def _by_falling_length(play: IndexedPlay, longest: int) -> Iterator[tuple[int, Codes, Codes]]:
    """Each length from ``longest`` to 1, with its distinct n-grams in order and their counts."""
    base = len(play.primitives)
    ends = _endings(play, longest)
    weights = np.array(play.weights)
    batches = [_windows(batch, weight, longest, base) for batch, weight in play.batches(BATCH)]
    codes, counts = _tallied(*(np.concatenate(parts) for parts in zip(*batches, strict=True)))
    yield longest, codes, counts
    for length in range(longest - 1, 0, -1):
        ending = ends[:, length - 1] >= 0
        codes, counts = _tallied(
            np.concatenate([codes // base, ends[ending, length - 1]]),
            np.concatenate([counts, weights[ending]]),
        )
        yield length, codes, counts


def _windows(
    sequences: Sequence[Actions], weight: int, length: int, base: int
) -> tuple[Codes, Codes]:
    """Distinct windows of ``length`` in order, and their counts times ``weight``."""
    sizes = [max(len(sequence) - length + 1, 0) for sequence in sequences]
    codes = np.zeros(sum(sizes), np.int64)
    stop = 0
    for sequence, size in zip(sequences, sizes, strict=True):
        part = codes[stop : stop + size]
        for offset in range(length):
            part *= base
            part += sequence[offset : offset + size]
        stop += size
    codes.sort()
    first = _firsts(codes)
    return codes[first], np.diff(first, append=len(codes)) * weight


def _tallied(codes: Codes, counts: Codes) -> tuple[Codes, Codes]:
    """Distinct ``codes`` in order, and the summed counts of each."""
    order = np.argsort(codes, kind="stable")  # merges runs that are already in order
    codes, counts = codes[order], counts[order]
    first = _firsts(codes)
    return codes[first], np.add.reduceat(counts, first) if len(first) else counts


def _firsts(ordered: Codes) -> NDArray[np.intp]:
    """Where each distinct value of ``ordered`` first occurs."""
    return np.flatnonzero(
        np.concatenate([[True] * (len(ordered) > 0), ordered[1:] != ordered[:-1]])
    )


def _endings(play: IndexedPlay, longest: int) -> Codes:
    """The last n-grams of each demonstration, shape ``(demonstrations, longest)``.

    Column n holds the last n + 1 actions as a code, or −1 if the demonstration is shorter.
    """
    ends = np.full((len(play.sequences), longest), -1, np.int64)
    for row, sequence in zip(ends, play.sequences, strict=True):
        last = sequence[::-1][:longest].astype(np.int64)
        place = np.cumprod([1] + [len(play.primitives)] * (len(last) - 1))[: len(last)]
        row[: len(last)] = np.cumsum(last * place)
    return ends


def _most_frequent(codes: Codes, counts: Codes, k: int) -> tuple[Codes, Codes]:
    """At most ``k`` of the n-grams in the sorted ``codes``: by count, then by code."""
    best = np.argsort(-counts, kind="stable")[:k]
    return codes[best], counts[best]


def _digits(code: int, length: int, base: int) -> tuple[int, ...]:
    """The primitives of an n-gram, first to last."""
    digits = []
    for _ in range(length):
        code, digit = divmod(code, base)
        digits.append(digit)
    return tuple(reversed(digits))


def _require_countable(max_length: int, n_primitives: int) -> None:
    """Raise if the codes of the longest sequences do not fit 64 bits."""
    longest = next((n for n in range(1, 63) if n_primitives ** (n + 1) >= 2**63), max_length)
    if max_length > longest:
        raise InvalidMacroError(
            f"max_length is {max_length}, but with {n_primitives} primitives sequences longer "
            f"than {longest} do not fit 64 bits"
        )
