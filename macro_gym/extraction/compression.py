"""Macros that compress play, chosen one by one for the decisions that each saves."""

import heapq
from collections.abc import Callable, Hashable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from macro_gym.demonstrations.demonstration import Demonstration
from macro_gym.errors import InvalidMacroError
from macro_gym.extraction.indexed import IndexedPlay, separated
from macro_gym.extraction.ngrams import count_ngrams
from macro_gym.extraction.settings import ExtractionSettings
from macro_gym.macro_set import MacroSet

Macro = tuple[int, ...]
Indices = NDArray[np.intp]
Effect = Callable[[Macro], Hashable]
"""A macro's effect, as a value to compare."""

CANDIDATES = 8
"""Number of candidates for each macro that `mine_compressing` returns."""
NEAR = 1 / 8
"""Maximum edits per step between near-duplicates: one in eight steps, none in seven."""
BATCH = 2**18
"""Steps searched at a time, so that they stay in the CPU cache."""


def mine_compressing(
    demonstrations: Sequence[Demonstration],
    settings: ExtractionSettings,
    effect: Effect | None = None,
) -> MacroSet:
    """Return the ``k`` macros that `compress` chooses among the ``8·k`` most frequent n-grams.

    Args:
        demonstrations: The play to compress.
        settings: What to choose.
        effect: A macro's effect, as in `compress`.

    Raises:
        DemonstrationError: The demonstrations cannot be counted together.
        RemapError: A demonstration uses an action that the primitives lack.
        InvalidMacroError: Fewer than ``k`` macros save anything and differ enough.
    """
    play = IndexedPlay.of(demonstrations, settings)
    macros, counts, _ = count_ngrams(play, CANDIDATES * settings.k)
    bounds = {macro: count * (len(macro) - 1) for macro, count in zip(macros, counts, strict=True)}
    return _chosen(play, bounds, "frequent n-grams", NEAR, effect)


def compress(
    candidates: MacroSet,
    demonstrations: Sequence[Demonstration],
    settings: ExtractionSettings,
    near: float = NEAR,
    effect: Effect | None = None,
) -> MacroSet:
    """Return the ``k`` of ``candidates`` that save the most decisions, without near-duplicates.

    A macro of n steps saves n − 1 decisions wherever it replaces n steps of play. The candidate
    that saves most replaces its steps, from left to right; then the candidate that saves most of
    what is left, and so on. So a macro's gain is what it saves beyond those before it, and the
    gains sum to the steps of play less the decisions then needed. Choices:

    - If nothing saves any more before ``k`` are chosen, often after some tens of macros, the rest
      are chosen in the same way on the original play, as its second-best macros.
    - Of equal gains the longer macro comes first, then the one whose first differing primitive
      comes first.
    - A candidate is a near-duplicate if insertions, deletions and substitutions of at most
      ``near`` times the longer one's steps turn it into a macro chosen before: at 1/8, LEFT×7
      and LEFT×8 are, LEFT×6 and LEFT×7 are not.
    - If an ``effect`` is given (`emulated_effect`, or another function with comparable values), a
      candidate is also a duplicate if its effect equals that of a macro chosen before.
    - Listing the macros costs nothing: ``k`` sets their number.

    Args:
        candidates: Macros of any origin; those outside the range of lengths are left out.
        demonstrations: The play to compress.
        settings: What to choose; ``min_count`` is the minimum number of replacements by a macro.
        near: Share of the longer macro's steps, from 0 (none is a near-duplicate) to 1.
        effect: A function from a macro, as indices into the play's primitives, to its effect.

    Returns:
        The set in order of choice; a macro's count is its number of replacements, by weight.

    Raises:
        DemonstrationError: The demonstrations cannot be counted together.
        RemapError: The candidates or the play use an action that the primitives lack.
        InvalidMacroError: Fewer than ``k`` candidates save anything and differ enough.

    Source: Apostolico & Lonardi 2000, "Off-line compression by greedy textual substitution".
    """
    play = IndexedPlay.of(demonstrations, settings)
    macros = candidates.remap(play.primitives).macros
    at_most = play.steps * max(play.weights)
    fit = [m for m in macros if settings.min_length <= len(m) <= settings.max_length]
    bounds = dict.fromkeys(fit, at_most)
    return _chosen(play, bounds, candidates.provenance.method or "macros given", near, effect)


def _chosen(
    play: IndexedPlay, bounds: Mapping[Macro, int], origin: str, near: float, effect: Effect | None
) -> MacroSet:
    """The set of the macros in ``bounds`` that save most; none saves more than its bound."""
    if not 0 <= near <= 1:
        raise InvalidMacroError(f"near is {near}; it is a share of a macro's steps, from 0 to 1")
    selection = _Selection(play, bounds, near, effect)
    while len(selection.uses) < play.settings.k and selection.go_through():
        pass
    alike = f"near={near:g}" + (", distinct effects" if effect else "")
    return _macro_set(play, bounds, origin, alike, selection.uses)


class _Selection:
    """The macros chosen so far, with the number of uses of each, and the candidates left."""

    def __init__(
        self, play: IndexedPlay, bounds: Mapping[Macro, int], near: float, effect: Effect | None
    ) -> None:
        """Start with nothing chosen."""
        self.uses: dict[Macro, int] = {}
        self._play, self._bounds, self._near, self._effect = play, bounds, near, effect
        self._rest = set(bounds)
        self._effects: set[Hashable] = set()

    def go_through(self) -> bool:
        """Choose macros for the whole play until nothing saves any more; return whether any was.

        A macro's gain only falls as others are chosen. So once the best bound is a gain computed
        since the last choice, it is the best gain, and most candidates need not be evaluated.
        """
        k, min_count, before = self._play.settings.k, self._play.settings.min_count, len(self.uses)
        batches = [(separated(batch), weight) for batch, weight in self._play.batches(BATCH)]
        heap = [(-self._bounds[macro], -len(macro), macro, -1, 0) for macro in self._rest]
        heapq.heapify(heap)
        while heap and len(self.uses) < k:
            _, _, macro, looked, count = heapq.heappop(heap)
            if macro not in self._rest:
                continue
            if looked < len(self.uses):
                count = sum(len(_places(stream, macro)) * weight for stream, weight in batches)
                gain = count * (len(macro) - 1)
                if gain and count >= min_count:
                    heapq.heappush(heap, (-gain, -len(macro), macro, len(self.uses), count))
            elif self._takes(macro, count):
                batches = [(_replaced(stream, macro), weight) for stream, weight in batches]
        return len(self.uses) > before

    def _takes(self, macro: Macro, count: int) -> bool:
        """Choose ``macro`` unless its effect is known, and drop its near-duplicates."""
        effect = macro if self._effect is None else self._effect(macro)
        if effect in self._effects:
            self._rest.remove(macro)
            return False
        self._effects.add(effect)
        self.uses[macro] = count
        self._rest -= _near(macro, self._rest, self._near)
        return True


def _macro_set(
    play: IndexedPlay, bounds: Mapping[Macro, int], origin: str, alike: str, uses: dict[Macro, int]
) -> MacroSet:
    """The chosen macros as a set; raises if they are too few."""
    settings = play.settings
    if len(uses) < settings.k:
        raise InvalidMacroError(
            f"k is {settings.k}, but only {len(uses)} of {len(bounds)} candidates of length "
            f"{settings.lengths} save decisions in {play.steps} steps of play and are no "
            "near-duplicates. Give more play, more candidates, or a smaller share for near."
        )
    method = (
        f"compression gain among {len(bounds)} candidates ({origin}): k={settings.k}, "
        f"lengths {settings.lengths}, {alike}"
    )
    return MacroSet(play.primitives, tuple(uses), tuple(uses.values()), play.provenance(method))


def _places(stream: NDArray[np.int32], macro: Macro) -> Indices:
    """Positions of ``macro`` in ``stream``, from left to right, without overlap."""
    at = np.flatnonzero(stream[: max(len(stream) - len(macro) + 1, 0)] == macro[0])
    for offset, primitive in enumerate(macro[1:], 1):
        at = at[stream[at + offset] == primitive]
    return _disjoint(at, len(macro))


def _disjoint(at: Indices, length: int) -> Indices:
    """Those of the sorted positions ``at`` that are ``length`` or more after the last one taken."""
    begins = np.diff(at, prepend=-length) >= length  # taken, whatever is taken before
    if begins.all():
        return at
    following = np.searchsorted(at, at + length)
    taken = [np.flatnonzero(begins)]
    while len(taken[-1]):
        after = following[taken[-1]]
        after = after[after < len(at)]
        taken.append(after[~begins[after]])
    disjoint: Indices = at[np.sort(np.concatenate(taken))]
    return disjoint


def _replaced(stream: NDArray[np.int32], macro: Macro) -> NDArray[np.int32]:
    """``stream`` with each ``macro`` replaced by -1, which no macro holds."""
    at = _places(stream, macro)
    keep = np.ones(len(stream), bool)
    for offset in range(1, len(macro)):
        keep[at + offset] = False
    stream = stream.copy()
    stream[at] = -1
    return stream[keep]


def _near(macro: Macro, others: set[Macro], near: float) -> set[Macro]:
    """``macro`` and its near-duplicates among ``others``."""
    known = list(others)
    lengths = np.array([len(other) for other in known])
    tokens = np.full((len(known), lengths.max()), -1)
    for row, other in zip(tokens, known, strict=True):
        row[: len(other)] = other
    close = _edit_distances(macro, tokens, lengths) <= near * np.maximum(lengths, len(macro))
    return {other for other, is_close in zip(known, close, strict=True) if is_close}


def _edit_distances(macro: Macro, tokens: Indices, lengths: Indices) -> Indices:
    """Edit distances from ``macro`` to the first ``lengths`` entries of each row of ``tokens``.

    Returns:
        Minimum insertions, deletions and substitutions, shape ``(rows,)``.
    """
    # distances[j]: edits from the steps of `macro` read so far to the row's first j.
    distances = np.repeat(np.arange(tokens.shape[1] + 1)[:, None], len(tokens), axis=1)
    for step, primitive in enumerate(macro, 1):
        before, distances = distances, np.empty_like(distances)
        distances[0] = step
        for j, column in enumerate(tokens.T):
            substituted = before[j] + (column != primitive)
            distances[j + 1] = np.minimum(substituted, np.minimum(before[j + 1], distances[j]) + 1)
    found: Indices = distances[lengths, np.arange(len(tokens))]
    return found
