"""Pairwise weights as heat maps; matplotlib is loaded only here."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch as th
from numpy.typing import ArrayLike, NDArray

from macro_gym.errors import ArgumentTypeError
from macro_gym.report.pictures import new_figure
from sb3_masp.pairwise.pairwise_a2c import PairwiseA2C
from sb3_masp.pairwise.trajectory import Trajectory
from sb3_masp.pairwise.weights import (
    ClockWeights,
    CreditWeights,
    FixedTableWeights,
    TableWeights,
)
from sb3_masp.similarity_report.pictures import save

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Axes(NamedTuple):
    """Meaning of a map's rows and columns.

    Args:
        rows: What is credited.
        columns: What credit is for.
    """

    rows: str
    columns: str


OF_STATES = Axes("state that is credited", "state that a reward leads to")
OF_TIME = Axes("decision that is credited", "decision that a reward is of")
OF_CLOCK = Axes("step that is credited", "step that a reward is of")


class WeightMap(NamedTuple):
    """A matrix of weights to draw.

    Args:
        weights: Shape ``(rows, columns)``; NaN where there is no weight.
        axes: Meaning of rows and columns.
    """

    weights: NDArray[np.float64]
    axes: Axes = OF_STATES


def table_map(weights: CreditWeights) -> WeightMap:
    """The map of weights that are a table; in learned ones, pairs that never occurred are NaN.

    Raises:
        ArgumentTypeError: The weights are not a table.
    """
    if isinstance(weights, TableWeights):
        # Adam does not move entries that never had a gradient.
        met = weights.logits.detach() != 0
        return WeightMap(_array(weights.table().where(met, th.nan)))
    if isinstance(weights, (FixedTableWeights, ClockWeights)):
        axes = OF_CLOCK if isinstance(weights, ClockWeights) else OF_STATES
        return WeightMap(_array(weights.values), axes)
    raise ArgumentTypeError(
        f"{type(weights).__name__} are no table; trajectory_map draws weights of any form on a "
        "trajectory"
    )


def trajectory_map(weights: CreditWeights, trajectory: Trajectory, env: int = 0) -> WeightMap:
    """Weights of all pairs of decisions of an environment; NaN for those that do not count.

    Args:
        weights: Weights of any form.
        trajectory: A rollout.
        env: Index of the environment.
    """
    with th.no_grad():
        matrix = weights.matrix(trajectory)[env]
    counts = trajectory.later(slice(0, len(matrix)))[env]
    return WeightMap(_array(matrix.where(counts, th.nan)), OF_TIME)


def maps_of(model: PairwiseA2C) -> dict[str, WeightMap]:
    """Maps of a learner's weights: its table, or else its last rollout; empty without either."""
    name = type(model.weights).__name__
    if isinstance(model.weights, (TableWeights, FixedTableWeights, ClockWeights)):
        return {name: table_map(model.weights)}
    if model.learns_weights and model._window:
        title = f"{name}, one environment of the last rollout"
        return {title: trajectory_map(model.weights, model._window[-1].trajectory)}
    return {}


def weight_maps(maps: Mapping[str, WeightMap | ArrayLike]) -> "Figure":
    """Heat maps side by side, on a scale of 0 to 1: rows are credited, white means no weight.

    Args:
        maps: Maps by title; plain matrices are tables of states, where NaN is no weight.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    drawn = {title: _as_map(part) for title, part in maps.items()}
    side = 4.0
    figure = new_figure(side * len(drawn) + 1.0, side + 0.5)
    from matplotlib.ticker import MaxNLocator

    panels = figure.subplots(1, len(drawn), squeeze=False)[0]
    for axes, (title, (weights, (rows, columns))) in zip(panels, drawn.items(), strict=True):
        image = axes.imshow(weights, cmap="viridis", vmin=0, vmax=1, interpolation="nearest")
        axes.set_title(title, parse_math=False, fontsize=10)
        axes.set(xlabel=columns, ylabel=rows)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(integer=True))
    figure.colorbar(image, ax=list(panels), label="weight", shrink=0.8)
    return figure


def draw_weights(path: str | os.PathLike[str], maps: Mapping[str, WeightMap | ArrayLike]) -> None:
    """Write `weight_maps` to a file, atomically; its suffix sets the format."""
    save(weight_maps(maps), path)


def _as_map(part: WeightMap | Any) -> WeightMap:
    """A plain matrix as a table of states."""
    return part if isinstance(part, WeightMap) else WeightMap(np.asarray(part, np.float64))


def _array(weights: th.Tensor) -> NDArray[np.float64]:
    """A tensor as an array."""
    found: NDArray[np.float64] = weights.detach().double().cpu().numpy()
    return found
