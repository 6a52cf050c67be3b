"""Σ as pictures; matplotlib is loaded only here."""

import os
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from macro_gym.files import replacing
from macro_gym.report.pictures import draw_strip, new_figure
from macro_gym.report.strips import symbol
from sb3_masp.similarity_report.clusters import Clusters, cluster, neighbours
from sb3_masp.similarity_report.contents import SimilarityReport, drawable
from sb3_masp.similarity_report.history import MEANINGS, Movement

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMED = 160
"""Most actions that are all named on the axes; of more, one in a few is."""
LONGEST = 28
"""Most characters of a name beside an axis."""
ROW = 0.3
"""Height of a strip in inches."""


def draw_report(
    report: SimilarityReport,
    folder: Path,
    most: int = 5,
    formats: Sequence[str] = ("png", "svg"),
    progress_bar: bool = False,
) -> list[Path]:
    """Draw the heat map, each action's nearest neighbours and, if there is one, the history.

    Args:
        report: What to draw.
        folder: Folder to write to.
        most: Neighbours per action.
        formats: Suffixes of the files.
        progress_bar: Whether to show a progress bar.

    Returns:
        The files written.

    Raises:
        MissingDependencyError: matplotlib or SciPy is not installed.
    """
    drawings: dict[str, Callable[[], Figure]] = {
        "similarity": lambda: heat_map(report.similarity, report.names, report.title),
        "neighbours": lambda: neighbour_strips(report, most),
    }
    if report.history:
        drawings["history"] = lambda: curves(report.history)
    paths = []
    report = report.for_pictures()
    for name, draw in tqdm(drawings.items(), unit="picture", disable=not progress_bar):
        figure = draw()
        for suffix in formats:
            paths.append(folder / f"{name}.{suffix}")
            save(figure, paths[-1])
    return paths


def save(figure: "Figure", path: str | os.PathLike[str]) -> None:
    """Write a figure in the format of the file's suffix, atomically."""
    with replacing(path) as file:
        figure.savefig(file, format=Path(path).suffix[1:], dpi=130)


def heat_map(similarity: NDArray[Any], names: Sequence[str], title: str = "") -> "Figure":
    """Heat map of Σ, with actions ordered by cluster, beside the dendrogram.

    Args:
        similarity: Shape ``(actions, actions)``.
        names: Names of the actions.
        title: Title of the picture.

    Raises:
        MissingDependencyError: matplotlib or SciPy is not installed.
    """
    part = drawable(len(names))
    some = "" if len(part) == len(names) else f"; {len(part)} of {len(names):,} actions are shown"
    similarity, names = similarity[np.ix_(part, part)], [names[action] for action in part]
    clusters = cluster(similarity)
    side = min(max(3.5, 0.1 * len(names)), 16.0)
    figure = new_figure(side + 4.6, side + 2.2)
    from matplotlib.ticker import MaxNLocator

    tree, axes, bar = figure.subplots(1, 3, width_ratios=[1.0, side, 0.2])
    _draw_tree(tree, clusters)
    shown = similarity[np.ix_(clusters.order, clusters.order)].astype(np.float64)
    shown[np.eye(len(shown), dtype=np.bool_) & (shown == 0)] = np.nan
    colours, norm = _colours(similarity)
    image = axes.imshow(shown, cmap=colours, norm=norm, interpolation="nearest", aspect="auto")
    every, ticks = _name_ticks(len(names))
    labels = [short(names[clusters.order[tick]]) for tick in ticks]
    size = 5 if len(names) > 40 else 7
    # Names may hold dollar signs, which matplotlib would take for formulas.
    axes.set_xticks(ticks, labels, rotation=90, fontsize=size, parse_math=False)
    axes.set_yticks(ticks, labels, fontsize=size, parse_math=False)
    axes.yaxis.tick_right()
    axes.tick_params(length=2, width=0.4)
    thinned = "" if every == 1 else f"; one in {every} is named"
    axes.set_title(
        f"{title or 'Similarity Σ'}, ordered by cluster{thinned}{some}", parse_math=False
    )
    axes.set(xlabel="… by the values of these", ylabel="values of these are explained …")
    figure.colorbar(image, cax=bar, label="entry of Σ", extend="both", ticks=MaxNLocator(6))
    return figure


def neighbour_strips(report: SimilarityReport, most: int = 5) -> "Figure":
    """Each action as a strip, beside its nearest neighbours, nearest first.

    Args:
        report: What to draw.
        most: Neighbours per action.

    Raises:
        MissingDependencyError: matplotlib or SciPy is not installed.
    """
    nearest = neighbours(report.similarity, most)
    order = cluster(report.similarity).order
    longest = max(map(len, report.steps))
    letters = max(len(symbol(name)) for steps in report.steps for name in steps)
    cell = max(0.24, 0.08 * letters)
    columns = 1 + nearest.shape[1]
    figure = new_figure(columns * (0.7 + cell * longest), 0.9 + ROW * len(order))
    titles = ["action", "nearest", *(f"{rank}." for rank in range(2, columns))]
    panels = figure.subplots(1, columns, squeeze=False)[0]
    for rank, (axes, title) in enumerate(zip(panels, titles, strict=True), -1):
        for row, action in enumerate(order):
            shown = action if rank < 0 else nearest[action, rank]
            draw_strip(axes, report.steps[shown], row, 62 * cell)
            if rank >= 0:
                entry = f"{report.similarity[action, shown]:.3f}"
                axes.text(longest - 0.3, row, entry, size=7, va="center")
        axes.set(xlim=(-0.6, longest + 0.4 / cell), ylim=(len(order) - 0.4, -0.6), title=title)
        axes.set_axis_off()
    return figure


def curves(history: Sequence[Movement]) -> "Figure":
    """Curves of how Σ changed, one panel per figure.

    Args:
        history: Figures of Σ, first to last.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    figure = new_figure(12, 6)
    decisions = [row.decisions for row in history]
    for axes, (name, (title, meaning)) in zip(
        figure.subplots(2, 3, sharex=True).flat, MEANINGS.items(), strict=True
    ):
        values = np.array([getattr(row, name) for row in history])
        axes.plot(decisions, values, marker="." if len(history) < 30 else "")
        axes.set_title(title)
        axes.set_xlabel(meaning, fontsize=7)
        axes.grid(alpha=0.3)
        if np.isnan(values).all():
            axes.text(0.5, 0.5, "not known", ha="center", transform=axes.transAxes)
    figure.supxlabel("decisions of training", fontsize=10)
    return figure


def colour_range(similarity: NDArray[Any]) -> tuple[str, float, float]:
    """A colour map and the limits beyond which its colours stay the same.

    The limits leave out the smallest and the largest half per cent of the off-diagonal entries,
    since a few of these would take the contrast from the rest; they are symmetric about zero if
    entries are negative.

    Args:
        similarity: Shape ``(actions, actions)``.
    """
    others = similarity[~np.eye(len(similarity), dtype=np.bool_)]
    low = float(np.quantile(others, 0.005, method="lower"))
    high = float(np.quantile(others, 0.995, method="higher"))
    if low < 0:
        largest = max(-low, high)
        return "RdBu_r", -largest, largest
    if high - low < 1e-6 * max(high, 1e-9):
        return "viridis", 0.0, high or 1.0
    return "viridis", low, high


def short(name: str) -> str:
    """Shorten a name to fit beside an axis: repeats are counted, and the end is cut.

    Example:
        >>> short("LEFT,LEFT,LEFT,FIRE")
        'LEFT×3,FIRE'
    """
    runs = [(word, len(list(run))) for word, run in groupby(name.split(","))]
    counted = ",".join(word if length == 1 else f"{word}×{length}" for word, length in runs)
    return counted if len(counted) <= LONGEST else counted[: LONGEST - 1] + "…"


def _colours(similarity: NDArray[Any]) -> tuple[str, Any]:
    """A colour map and its scale, by square roots, since a few large entries would darken it."""
    from matplotlib.colors import Normalize, PowerNorm

    colours, low, high = colour_range(similarity)
    if colours == "viridis":
        return colours, PowerNorm(0.5, low, high, clip=True)
    return colours, Normalize(low, high, clip=True)


def _draw_tree(axes: "Axes", clusters: Clusters) -> None:
    """Draw the dendrogram, with its leaves at the right, aligned with the heat map's rows."""
    from matplotlib.collections import LineCollection

    lines = [
        [(low, first), (height, first), (height, second), (high, second)]
        for first, second, low, height, high in clusters.forks
    ]
    axes.add_collection(LineCollection(lines, colors="black", linewidths=0.6))
    tallest = float(clusters.forks[:, 3].max()) or 1.0
    axes.set(xlim=(1.05 * tallest, 0), ylim=(len(clusters.order) - 0.5, -0.5))
    axes.set_axis_off()


def _name_ticks(actions: int) -> tuple[int, range]:
    """Number of actions per name on the axes, and which rows are named."""
    every = -(-actions // NAMED)
    return every, range(0, actions, every)
