"""A macro set for people: as text and as a picture."""

import os
from collections import Counter
from pathlib import Path

from macro_gym.errors import MacroGymError, MissingDependencyError
from macro_gym.files import replacing
from macro_gym.macro_set import MacroSet

BAR = 40
"""Characters in the longest bar of a text histogram."""


def describe(macro_set: MacroSet, top: int = 20) -> str:
    """Return what a set is, where it comes from, its lengths and its first ``top`` macros."""
    origin = macro_set.provenance
    scores = ", ".join(f"{score:g}" for score in origin.scores)
    facts = {
        "game": origin.game,
        "macros": f"{len(macro_set.macros)}, of up to {macro_set.max_length} steps",
        "primitives": ", ".join(macro_set.primitives),
        "hash": macro_set.hash,
        "source": origin.source,
        "method": origin.method,
        "play": f"{origin.steps} steps of {origin.frameskip} frames" if origin.steps else "",
        "scores": scores,
        "version": origin.version,
    }
    head = [f"{key:<11}{value}" for key, value in facts.items() if value]
    return "\n".join([*head, "", *_length_lines(macro_set), "", *_macro_lines(macro_set, top)])


def plot(macro_set: MacroSet, path: str | os.PathLike[str], top: int = 20) -> None:
    """Draw the first ``top`` macros by count, and how many macros have which length.

    Args:
        macro_set: The set.
        path: The picture to write; its suffix says the format.
        top: How many macros to draw.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        MacroGymError: It does not write such files.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError(
            "plots need matplotlib; install it with: pip install 'macro-gym[plots]'"
        ) from error
    figure = Figure(figsize=(11, 5.5), layout="constrained")
    known = figure.canvas.get_supported_filetypes()
    suffix = Path(path).suffix.removeprefix(".").lower()
    if suffix not in known:
        raise MacroGymError(f"{path} is no picture to write; it must end in .{', .'.join(known)}")
    figure.suptitle(f"{macro_set.provenance.game or 'Macro set'}: {len(macro_set.macros)} macros")
    left, right = figure.subplots(1, 2)
    names = macro_set.names[len(macro_set.primitives) :][:top]
    left.barh(range(len(names)), macro_set.counts[:top])
    left.set_yticks(range(len(names)), names, fontsize="small")
    left.invert_yaxis()
    left.set(xlabel="times played", title=f"The {len(names)} most frequent")
    lengths = _lengths(macro_set)
    right.bar(list(lengths), list(lengths.values()))
    right.set_xticks(list(lengths))
    right.set(xlabel="length in steps", ylabel="macros", title="Lengths")
    with replacing(path) as file:
        figure.savefig(file, format=suffix, dpi=120)


def _lengths(macro_set: MacroSet) -> dict[int, int]:
    """How many macros have each length, by length."""
    return dict(sorted(Counter(map(len, macro_set.macros)).items()))


def _length_lines(macro_set: MacroSet) -> list[str]:
    """The lengths as a histogram."""
    lengths = _lengths(macro_set)
    longest = max(lengths.values(), default=1)
    return ["length  macros"] + [
        f"{length:>6}  {count:>6}  {'█' * round(BAR * count / longest)}".rstrip()
        for length, count in lengths.items()
    ]


def _macro_lines(macro_set: MacroSet, top: int) -> list[str]:
    """The first macros as a table."""
    names = macro_set.names[len(macro_set.primitives) :][:top]
    return ["  rank   count  macro"] + [
        f"{rank:>6}  {count:>6}  {name}"
        for rank, (name, count) in enumerate(zip(names, macro_set.counts, strict=False), 1)
    ]
