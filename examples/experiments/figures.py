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


def draw_curves(
    path: Path,
    panels: Mapping[str, Mapping[str, Mapping[float, Interval]]],
    axis: str,
    label: str,
    log_base: int | None = None,
    same_scale: bool = False,
) -> None:
    """Draw arms as lines over a quantity, with one panel per comparison, if there are any.

    Args:
        path: Image to write.
        panels: Intervals by the quantity's values, by arm, by panel title.
        axis: Label of the x-axis: the quantity.
        label: Label of the y-axis.
        log_base: Base of the x-axis if it is logarithmic.
        same_scale: Whether panels share their axes.
    """
    arms = list(dict.fromkeys(arm for panel in panels.values() for arm in panel))
    if not arms:
        return
    figure = Figure(figsize=(max(1 + 2.6 * len(panels), 6), 4), layout="constrained")
    row = figure.subplots(1, len(panels), sharex=same_scale, sharey=same_scale, squeeze=False)[0]
    styles = {arm: (f"C{n % 10}", "--" if n >= 10 else "-") for n, arm in enumerate(arms)}
    for axes, (title, panel) in zip(row, panels.items(), strict=True):
        for arm, found in panel.items():
            color, line = styles[arm]
            axes.plot(
                found.keys(), [x.point for x in found.values()], line, color=color, marker="."
            )
            ends = [[x.low for x in found.values()], [x.high for x in found.values()]]
            axes.vlines(found.keys(), *ends, color, linewidth=1, alpha=0.4)
        if log_base:
            axes.set_xscale("log", base=log_base)
            axes.xaxis.set_major_formatter("{x:g}")
        axes.set_xlabel(axis)
        axes.set_title(title, fontsize=10)
        axes.grid(alpha=0.3)
    row[0].set_ylabel(label)
    handles = [Line2D([], [], color=c, linestyle=s, label=arm) for arm, (c, s) in styles.items()]
    columns = max(2, len(panels))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=8
    )
    with replacing(path) as file:
        figure.savefig(file, dpi=110, format=path.suffix[1:])
