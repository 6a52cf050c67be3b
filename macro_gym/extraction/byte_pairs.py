"""Byte-pair merges: macros made by repeatedly joining the most frequent pair of adjacent tokens."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from macro_gym.demonstrations.demonstration import Demonstration
from macro_gym.extraction.indexed import IndexedPlay, separated
from macro_gym.extraction.settings import ExtractionSettings
from macro_gym.macro_set import MacroSet

Macro = tuple[int, ...]
Stream = NDArray[np.int32]
Counts = NDArray[np.int64]
Indices = NDArray[np.intp]

BATCH = 2**18
"""Steps joined at a time, so that they stay in the CPU cache."""


def mine_byte_pairs(
    demonstrations: Sequence[Demonstration], settings: ExtractionSettings
) -> MacroSet:
    """Return the first ``k`` tokens that byte-pair encoding makes from play.

    The primitives are the first tokens. At each step the most frequent pair of adjacent tokens
    becomes a token and replaces the pair everywhere, from left to right. Choices:

    - Pairs are counted with overlap, as byte-pair encoders do: A A A holds (A, A) twice. No pair
      spans two demonstrations.
    - Of equally frequent pairs, the one with the older left token is joined first, then the one
      with the older right token; the primitives are the oldest, in order.
    - Two pairs that spell the same macro become the same token.
    - A pair longer than ``max_length`` is never joined. Tokens shorter than ``min_length`` are
      made, since longer ones consist of them, but are not returned.
    - The first ``k`` tokens are the macros. (The paper makes more and then prunes them.)

    With the same limit on lengths, or none, the tokens and their order equal those of the slower
    ``tokenizers`` library (`tests/macro_gym/test_byte_pairs.py`).

    Args:
        demonstrations: The play.
        settings: What to mine; ``min_count`` is the minimum count of a pair.

    Returns:
        The set in order of creation; a macro's count is that of its pair when it was first joined,
        by weight.

    Raises:
        DemonstrationError: The demonstrations cannot be counted together.
        RemapError: A demonstration uses an action that the primitives lack.
        InvalidMacroError: There are fewer than ``k`` such macros.

    Source: arXiv 2309.04459, section 3; Gage 1994, "A new algorithm for data compression".
    """
    play = IndexedPlay.of(demonstrations, settings)
    found: dict[Macro, int] = {}
    if settings.k:
        for macro, count in _merges(play):
            if len(macro) >= settings.min_length:
                found.setdefault(macro, count)
            if len(found) == settings.k:
                break
    play.require_enough(len(found))
    method = f"byte-pair merges: k={settings.k}, lengths {settings.lengths}, in order of creation"
    return MacroSet(play.primitives, tuple(found), tuple(found.values()), play.provenance(method))


def _merges(play: IndexedPlay) -> Iterator[tuple[Macro, int]]:
    """Each merge's macro and the count of its pair, until no pair is frequent enough."""
    batches = [(separated(batch), weight) for batch, weight in play.batches(BATCH)]
    tokens: list[Macro] = [(primitive,) for primitive in range(len(play.primitives))]
    ids = {macro: token for token, macro in enumerate(tokens)}
    pairs = _Pairs(len(tokens), play.settings.max_length)
    for stream, weight in batches:
        pairs.add(stream, np.arange(len(stream) - 1), weight)
    while True:
        left, right, count = pairs.most_frequent()
        if count < play.settings.min_count:
            return
        macro = tokens[left] + tokens[right]
        if macro not in ids:
            ids[macro] = len(tokens)
            tokens.append(macro)
            pairs.know(ids[macro], len(macro))
        yield macro, count
        for index, (stream, weight) in enumerate(batches):
            batches[index] = _joined(stream, weight, (left, right), ids[macro], pairs), weight


class _Pairs:
    """Counts of adjacent token pairs whose joint length is within ``max_length``."""

    def __init__(self, primitives: int, max_length: int) -> None:
        """Start with the primitives, each of length one."""
        self._lengths: Counts = np.ones(primitives, np.int64)
        self._counts: Counts = np.zeros((primitives, primitives), np.int64)
        self._max_length = max_length

    def know(self, token: int, length: int) -> None:
        """Add a token of this length, making room for it."""
        if token == len(self._lengths):
            self._lengths = np.pad(self._lengths, (0, token))
            self._counts = np.pad(self._counts, (0, token))
        self._lengths[token] = length

    def add(self, stream: Stream, at: Indices, weight: int) -> None:
        """Add ``weight`` to the pairs beginning at these positions; -1 in ``stream`` is none."""
        left, right = stream[at], stream[at + 1]
        fits = (left >= 0) & (right >= 0)
        fits &= self._lengths[left] + self._lengths[right] <= self._max_length
        pairs = left[fits].astype(np.int64) * len(self._lengths) + right[fits]
        np.add.at(self._counts.reshape(-1), pairs, weight)

    def most_frequent(self) -> tuple[int, int, int]:
        """Left token, right token and count of the most frequent pair; ties go to the oldest."""
        left, right = divmod(int(self._counts.argmax()), len(self._lengths))
        return left, right, int(self._counts[left, right])


def _joined(
    stream: Stream, weight: int, pair: tuple[int, int], token: int, pairs: _Pairs
) -> Stream:
    """Replace ``pair`` by ``token`` in ``stream``, and update the counts of pairs."""
    at = np.flatnonzero((stream[:-1] == pair[0]) & (stream[1:] == pair[1]))
    if not len(at):
        return stream
    if pair[0] == pair[1]:
        at = _disjoint(at)
    # at - 1 may be -1: the last entry, which is no token. So is what follows the last pair.
    pairs.add(stream, np.unique(np.concatenate([at - 1, at, at + 1])), -weight)
    keep = np.ones(len(stream), bool)
    keep[at + 1] = False
    stream[at] = token
    stream = stream[keep]
    at -= np.arange(len(at))
    pairs.add(stream, np.unique(np.concatenate([at - 1, at])), weight)
    return stream


def _disjoint(at: Indices) -> Indices:
    """The 1st, 3rd, 5th ... of each run of consecutive positions."""
    starts = np.flatnonzero(np.diff(at, prepend=-2) > 1)
    place = np.arange(len(at)) - np.repeat(starts, np.diff(starts, append=len(at)))
    disjoint: Indices = at[place % 2 == 0]
    return disjoint
