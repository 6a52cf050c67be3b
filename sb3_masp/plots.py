"""Plots of a run; matplotlib is loaded only here."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from macro_gym.errors import MissingDependencyError
from macro_gym.files import replacing
from sb3_masp.callbacks import Episode
from sb3_masp.similarity_report.pictures import short

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def learning_curve(
    path: str | os.PathLike[str], runs: Mapping[str, Sequence[Episode]], title: str = ""
) -> None:
    """Draw scores of training episodes over emulator frames, one colour per run.

    Dots are episodes; a line is the mean of the last 30 (fewer at first).

    Args:
        path: Image to write.
        runs: Episodes of each run, by its name in the legend.
        title: Title of the plot.
    """
    figure = _figure(8, 4.5)
    axes = figure.add_subplot()
    for name, episodes in runs.items():
        frames = np.array([episode.frames for episode in episodes])
        scores = np.array([episode.score for episode in episodes])
        (line,) = axes.plot(frames, running_mean(scores, 30), linewidth=2, label=name)
        axes.scatter(frames, scores, s=5, alpha=0.2, color=line.get_color(), linewidths=0)
    axes.set(xlabel="emulator frames", ylabel="score of an episode of training", title=title)
    axes.xaxis.set_major_formatter(_thousands)
    axes.legend(frameon=False)
    _write(figure, path)


def action_usage(
    path: str | os.PathLike[str], counts: NDArray[np.int64], names: Sequence[str], most: int = 40
) -> None:
    """Draw how often each of the most used actions was chosen in training.

    Args:
        path: Image to write.
        counts: Decisions per action.
        names: Names of the actions.
        most: Number of actions to show.
    """
    order = np.argsort(-counts, kind="stable")[:most]
    figure = _figure(7, 1.5 + 0.18 * len(order))
    axes = figure.add_subplot()
    share = counts[order] / max(counts.sum(), 1)
    axes.barh(range(len(order)), 100 * share)
    axes.set_yticks(range(len(order)), [short(names[action]) for action in order], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("% of all decisions of training, exploration included")
    axes.set_title(f"The {len(order)} most used of {len(names)} actions", fontsize=10)
    _write(figure, path)


def running_mean(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Mean of each value and up to ``window - 1`` before it, same shape.

    Example:
        >>> running_mean(np.array([1.0, 3.0, 5.0]), 2)
        array([1., 2., 4.])
    """
    totals = np.concatenate(([0.0], np.cumsum(values)))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - window, 0)
    means: NDArray[np.float64] = (totals[ends] - totals[starts]) / (ends - starts)
    return means


def _thousands(value: float, _position: float = 0.0) -> str:
    """Frames as an axis label, such as ``600k`` or ``1.5M``."""
    return f"{value / 1e6:g}M" if value >= 1e6 else f"{value / 1e3:g}k"


def _figure(width: float, height: float) -> "Figure":
    """A figure without a display; sizes in inches."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("plots need: pip install 'macro-gym[plots]'") from error
    return Figure(figsize=(width, height), layout="constrained")


def _write(figure: "Figure", path: str | os.PathLike[str]) -> None:
    """Write the image, atomically."""
    with replacing(path) as file:
        figure.savefig(file, dpi=130, format=Path(path).suffix[1:] or "png")
