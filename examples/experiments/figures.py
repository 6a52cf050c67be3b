"""Figures of how arms compare."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from examples.experiments.comparison import Interval
from macro_gym.files import replacing

Panels = Mapping[str, Mapping[str, Interval]]
"""Intervals of arms, by the titles of the panels that they are drawn in."""


def draw_arms(
    path: Path,
    panels: Panels,
    label: str,
    marked: Collection[str] = (),
    at: Sequence[float] = (),
) -> None:
    """Draw arms below each other, a panel for each comparison, if there are any.

    Args:
        path: The image to write.
        panels: What is drawn.
        label: What they are of.
        marked: The arms that stand out.
        at: Where upright lines stand for comparison.
    """
    arms = list(dict.fromkeys(arm for panel in panels.values() for arm in panel))
    if not arms:
        return
    size = 2.5 + 2.5 * len(panels), 1.2 + 0.28 * len(arms)
    figure = Figure(figsize=size, layout="constrained")
    row = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
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
