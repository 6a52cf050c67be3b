"""Compare arms by interquartile means and related statistics, with bootstrap intervals.

Scores have the shape ``(..., seeds, problems)``. Bootstrap samples redraw the seeds of each arm
independently within each problem: rliable's stratified bootstrap, sample for sample, with
statistics computed for all samples at once (2,000 samples, 95% percentile intervals, seeded).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from examples.experiments.arms import ARMS
from examples.experiments.rows import Cell, Rows
from examples.experiments.runs import chosen_strength, home
from examples.experiments.table import Values
from examples.experiments.trial import Arms

RESAMPLES = 2_000


@dataclass(frozen=True)
class Interval:
    """A statistic and its 95% interval.

    Args:
        point: Value for the scores themselves.
        low: Lower end of the interval.
        high: Upper end of the interval.
    """

    point: float
    low: float
    high: float

    def __str__(self) -> str:
        """``0.12 [0.05, 0.20]``."""
        return self.said(2)

    def said(self, digits: int) -> str:
        """Format it with a number of digits after the point."""
        return "{:.{d}f} [{:.{d}f}, {:.{d}f}]".format(self.point, self.low, self.high, d=digits)


def iqm(scores: Values) -> Values:
    """Mean of the middle half of all scores, shape ``(...)``."""
    ordered = np.sort(scores.reshape(*scores.shape[:-2], -1), axis=-1)
    cut = ordered.shape[-1] // 4
    middle: Values = ordered[..., cut : ordered.shape[-1] - cut].mean(axis=-1)
    return middle


def mean(scores: Values) -> Values:
    """Mean of all scores, shape ``(...)``."""
    means: Values = scores.mean(axis=(-2, -1))
    return means


def improvement(scores: Values, others: Values) -> Values:
    """P(score > other's), averaged over problems; ties count half; shape ``(...)``."""
    signs: Values = np.sign(scores[..., :, None, :] - others[..., None, :, :])
    return (1 + signs.mean(axis=(-3, -2, -1))) / 2


def difference(scores: Values, others: Values) -> Values:
    """Difference of the interquartile means, shape ``(...)``."""
    return iqm(scores) - iqm(others)


def headroom_share(scores: Values, control: Values, oracle: Values) -> Values:
    """Share of the oracle's gain over the control that the scores gain; shape ``(...)``.

    Only meaningful if the oracle gains.
    """
    headroom = difference(oracle, control)
    return difference(scores, control) / np.where(headroom == 0, np.nan, headroom)


def interval(statistic: Callable[..., Values], *scores: Values, seed: int = 0) -> Interval:
    """A statistic of the scores of one or several arms, with its interval.

    Args:
        statistic: One of the functions above.
        scores: Its arguments, each of shape ``(seeds, problems)``.
        seed: Seed of the samples: the same scores give the same interval.
    """
    seeds = _redrawn_seeds(tuple(of_arm.shape for of_arm in scores), RESAMPLES, seed)
    drawn = [
        of_arm[of_samples, np.arange(of_arm.shape[1])]
        for of_arm, of_samples in zip(scores, seeds, strict=True)
    ]
    low, high = np.percentile(statistic(*drawn), [2.5, 97.5])
    return Interval(float(statistic(*scores)), float(low), float(high))


@lru_cache(16)
def _redrawn_seeds(
    shapes: Sequence[tuple[int, ...]], resamples: int, seed: int
) -> list[NDArray[np.int64]]:
    """Indices of the redrawn seeds, in rliable's order, each ``(resamples, seeds, problems)``."""
    rng = np.random.RandomState(seed)
    drawn = [[rng.randint(shape[0], size=shape) for shape in shapes] for _ in range(resamples)]
    return [np.stack(of_arm) for of_arm in zip(*drawn, strict=True)]


def scores_of(
    rows: Rows,
    cells: Sequence[Cell],
    arm: str,
    measure: str = "area",
    tuned_on: Sequence[str] = (),
    known: Arms = ARMS,
) -> Values:
    """Scores of an arm at its chosen strengths, shape ``(seeds, problems)``.

    Args:
        rows: The table of runs.
        cells: Cells, one per problem.
        arm: Name of the arm.
        measure: Column of the scores.
        tuned_on: Problems on which strengths are chosen; by default each cell's own.
        known: Arms by name.

    Returns:
        The scores of the seeds that all cells have; none if a strength has not been chosen.
    """
    of_cells = []
    for cell in cells:
        strength = chosen_strength(rows, cell, arm, tuned_on=tuned_on, known=known)
        own = home(cell, arm, known), known[arm].runs_of or arm, strength
        of_cells.append(
            {
                run.seed: row[measure]
                for run, row in rows.items()
                if (run.cell, run.arm, run.strength) == own and run.is_reported
            }
        )
    seeds = sorted(set.intersection(*(set(of_cell) for of_cell in of_cells)))
    return np.array([[of_cell[seed] for of_cell in of_cells] for seed in seeds]).reshape(
        len(seeds), len(cells)
    )
