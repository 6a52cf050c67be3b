"""Describe macro sets as text."""

from collections import Counter
from collections.abc import Mapping

import numpy as np

from macro_gym.errors import InvalidMacroError
from macro_gym.extraction.coverage import Coverage
from macro_gym.macro_set import MacroSet
from macro_gym.report.strips import LEGEND, SYMBOLS, strip

BAR = 40
"""Characters in the longest bar of a text histogram."""


def describe(macro_set: MacroSet, top: int = 20, covered: Coverage | None = None) -> str:
    """Describe a set: its origin, its lengths, its coverage and its first ``top`` macros.

    Args:
        macro_set: The set.
        top: Number of macros to list.
        covered: The macros' coverage of some play; left out if None.

    Raises:
        InvalidMacroError: ``top`` is negative.
    """
    origin = macro_set.provenance
    facts = {
        "game": origin.game,
        "macros": f"{len(macro_set.macros)}, of up to {macro_set.max_length} steps",
        "primitives": ", ".join(macro_set.primitives),
        "hash": macro_set.hash,
        "source": origin.source,
        "method": origin.method,
        "play": f"{origin.steps} steps of {origin.frameskip} frames" if origin.steps else "",
        "scores": ", ".join(f"{score:g}" for score in origin.scores),
        "overlap": _overlap(macro_set),
        "version": origin.version,
    }
    head = [f"{key:<11}{value}" for key, value in facts.items() if value]
    parts = [head, _length_lines(macro_set), _coverage_lines(covered), _macro_lines(macro_set, top)]
    return "\n\n".join("\n".join(lines) for lines in parts if lines)


def list_banks(banks: Mapping[str, MacroSet]) -> str:
    """Return a line per bank: game, macros, the play's mean score and steps, hash."""
    lines = [f"{'game':<20}{'macros':>8}{'mean score':>12}{'steps':>8}  hash"]
    for game, macro_set in banks.items():
        origin = macro_set.provenance
        score = f"{np.mean(origin.scores):.1f}" if origin.scores else ""
        amounts = f"{len(macro_set.macros):>8}{score:>12}{origin.steps:>8}"
        lines.append(f"{game:<20}{amounts}  {macro_set.hash[:12]}")
    return "\n".join(lines)


def first_names(macro_set: MacroSet, top: int) -> tuple[str, ...]:
    """Return the names of the first ``top`` macros.

    Raises:
        InvalidMacroError: ``top`` is negative.
    """
    if top < 0:
        raise InvalidMacroError(f"top is {top}; it is how many macros to show, at least 0")
    return macro_set.names[len(macro_set.primitives) :][:top]


def lengths(macro_set: MacroSet) -> dict[int, int]:
    """Return the number of macros of each length."""
    return dict(sorted(Counter(map(len, macro_set.macros)).items()))


def _overlap(macro_set: MacroSet) -> str:
    """The mean overlap of two macros; empty for fewer than two."""
    k = len(macro_set.macros)
    if k < 2:
        return ""
    between = macro_set.overlap()[-k:, -k:]
    return f"{(between.sum() - k) / (k * (k - 1)):.2f} between two macros, on average"


def _length_lines(macro_set: MacroSet) -> list[str]:
    """The lengths as a histogram."""
    counts = lengths(macro_set)
    longest = max(counts.values(), default=1)
    return ["length  macros"] + [
        f"{length:>6}  {count:>6}  {'█' * round(BAR * count / longest)}".rstrip()
        for length, count in counts.items()
    ]


def _coverage_lines(covered: Coverage | None) -> list[str]:
    """The share of play that 1, 2, 4, ... and all macros cover."""
    if covered is None:
        return []
    rows = zip(covered.sizes, covered.covered, covered.decisions, strict=True)
    return [f"macros  share of {covered.steps} steps covered  decisions per step"] + [
        f"{size:>6}  {share:>{len(str(covered.steps)) + 23}.1%}  {decisions:>18.3f}"
        for size, share, decisions in rows
        if size & (size - 1) == 0 or size == covered.sizes[-1]
    ]


def _macro_lines(macro_set: MacroSet, top: int) -> list[str]:
    """The first macros as a table, with strips if all primitives have symbols."""
    names = first_names(macro_set, top)
    strips = [strip(macro_set.primitives[p] for p in macro) for macro in macro_set.macros[:top]]
    drawn = set(macro_set.primitives) <= set(SYMBOLS)
    width = max([5, *map(len, strips)]) + 2 if drawn else 0
    rows = zip(names, macro_set.counts, strips, strict=False)
    return [
        *([LEGEND, ""] if drawn and names else []),
        f"  rank   count  {'strip' if drawn else '':<{width}}macro",
        *(
            f"{rank:>6}  {count:>6}  {arrows if drawn else '':<{width}}{name}"
            for rank, (name, count, arrows) in enumerate(rows, 1)
        ),
    ]
