"""Figures that compare arms."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from examples.experiments.comparison import Interval
from macro_gym.files import replacing

Panels = Mapping[str, Mapping[str, Interval]]
"""Intervals by arm, by panel title."""


def draw_arms(
    path: Path,
    panels: Panels,
    label: str,
    marked: Collection[str] = (),
    at: Sequence[float] = (),
) -> None:
    """Draw the intervals of arms, with one panel per comparison, if there are any.

    Args:
        path: Image to write.
        panels: Intervals to draw.
        label: Label of the x-axis.
        marked: Arms to highlight.
        at: Positions of vertical reference lines.
    """
    arms = list(dict.fromkeys(arm for panel in panels.values() for arm in panel))
    if not arms:
        return
    size = 2.5 + 2.5 * len(panels), 1.2 + 0.28 * len(arms)
    figure = Figure(figsize=size, layout="constrained")
    row = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (title, panel) in zip(row, panels.items(), strict=True):
        for arm, found in panel.items():
            line, color = arms.index(arm), "C0" if arm in marked else "0.5"
            axes.hlines(line, found.low, found.high, color, linewidth=5, alpha=0.4)
            axes.plot(found.point, line, "o", color=color, markersize=4)
        for value in at:
            axes.axvline(value, color="0.2", linewidth=0.8)
        axes.set_title(title, fontsize=10)
        axes.grid(axis="x", alpha=0.3)
    row[0].set_yticks(range(len(arms)), arms)
    row[0].set_ylim(len(arms) - 0.5, -0.5)
    figure.supxlabel(label, fontsize=9)
    with replacing(path) as file:
        figure.savefig(file, dpi=110, format=path.suffix[1:])


def draw_over_k(
    path: Path, panels: Mapping[str, Mapping[str, Mapping[int, Interval]]], label: str
) -> None:
    """Draw arms as lines over the number of macros, with one panel per game, if there are any.

    Args:
        path: Image to write.
        panels: Intervals by k, by arm, by panel title.
        label: Label of the y-axis.
    """
    arms = list(dict.fromkeys(arm for panel in panels.values() for arm in panel))
    if not arms:
        return
    figure = Figure(figsize=(1 + 2.6 * len(panels), 4), layout="constrained")
    row = figure.subplots(1, len(panels), squeeze=False)[0]
    styles = {arm: (f"C{n % 10}", "--" if n >= 10 else "-") for n, arm in enumerate(arms)}
    for axes, (title, panel) in zip(row, panels.items(), strict=True):
        for arm, by_k in panel.items():
            color, line = styles[arm]
            axes.plot(by_k.keys(), [x.point for x in by_k.values()], line, color=color, marker=".")
            ends = [[x.low for x in by_k.values()], [x.high for x in by_k.values()]]
            axes.vlines(by_k.keys(), *ends, color, linewidth=1, alpha=0.4)
        axes.set_xscale("log", base=2)
        axes.set_xlabel("macros")
        axes.set_title(title, fontsize=10)
        axes.grid(alpha=0.3)
    row[0].set_ylabel(label)
    handles = [Line2D([], [], color=c, linestyle=s, label=arm) for arm, (c, s) in styles.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False, fontsize=8)
    with replacing(path) as file:
        figure.savefig(file, dpi=110, format=path.suffix[1:])
