"""How arms compare: interquartile means, and what follows from them, with bootstrap intervals.

Scores have the shape ``(..., seeds, problems)``; bootstrap samples redraw seeds within each
problem, of each arm for itself: rliable's stratified bootstrap, sample for sample, with statistics
computed for all samples at once (2,000 samples, 95% by percentiles, seeded).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from examples.experiments.arms import ARMS
from examples.experiments.rows import Cell, Rows
from examples.experiments.runs import Arms, chosen_strength, home
from examples.experiments.table import Values

RESAMPLES = 2_000


@dataclass(frozen=True)
class Interval:
    """A figure and its interval.

    Args:
        point: Of the scores themselves.
        low: Where 95% begin.
        high: Where they end.
    """

    point: float
    low: float
    high: float

    def __str__(self) -> str:
        """``0.12 [0.05, 0.20]``."""
        return f"{self.point:.2f} [{self.low:.2f}, {self.high:.2f}]"


def iqm(scores: Values) -> Values:
    """Mean of the middle half of all scores, shape ``(...)``."""
    ordered = np.sort(scores.reshape(*scores.shape[:-2], -1), axis=-1)
    cut = ordered.shape[-1] // 4
    middle: Values = ordered[..., cut : ordered.shape[-1] - cut].mean(axis=-1)
    return middle


def improvement(scores: Values, others: Values) -> Values:
    """P(score > other's), over problems on average; ties count half; shape ``(...)``."""
    signs: Values = np.sign(scores[..., :, None, :] - others[..., None, :, :])
    return (1 + signs.mean(axis=(-3, -2, -1))) / 2


def difference(scores: Values, others: Values) -> Values:
    """Difference of the interquartile means, shape ``(...)``."""
    return iqm(scores) - iqm(others)


def headroom_share(scores: Values, control: Values, oracle: Values) -> Values:
    """Of what the oracle gains over the control, what share the scores gain; shape ``(...)``.

    It means nothing unless the oracle gains.
    """
    headroom = difference(oracle, control)
    return difference(scores, control) / np.where(headroom == 0, np.nan, headroom)


def interval(statistic: Callable[..., Values], *scores: Values, seed: int = 0) -> Interval:
    """A statistic of one arm's scores or several arms', with its interval.

    Args:
        statistic: One of those above.
        scores: Its arguments, each of shape ``(seeds, problems)``.
        seed: Of the samples: the same scores give the same interval.
    """
    drawn = statistic(*_redrawn(scores, np.random.RandomState(seed)))
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(float(statistic(*scores)), float(low), float(high))


def _redrawn(scores: Sequence[Values], rng: np.random.RandomState) -> list[Values]:
    """The samples of each arm, shape ``(RESAMPLES, seeds, problems)``, in rliable's order."""
    seeds = [
        [rng.randint(len(of_arm), size=of_arm.shape) for of_arm in scores] for _ in range(RESAMPLES)
    ]
    return [
        of_arm[np.stack(drawn), np.arange(of_arm.shape[1])]
        for of_arm, drawn in zip(scores, zip(*seeds, strict=True), strict=True)
    ]


def scores_of(
    rows: Rows,
    cells: Sequence[Cell],
    arm: str,
    measure: str = "area",
    tuned_on: Sequence[str] = (),
    known: Arms = ARMS,
) -> Values:
    """Scores of an arm at the strengths that it has chosen, ``(seeds, problems)``.

    Args:
        rows: The table.
        cells: One for each problem.
        arm: Its name.
        measure: A column.
        tuned_on: The problems on which strengths are chosen; each cell's own if none are named.
        known: What the names of arms stand for.

    Returns:
        The scores of the seeds that are there in all cells; none where a strength is not chosen.
    """
    of_cells = []
    for cell in cells:
        strength = chosen_strength(rows, cell, arm, tuned_on=tuned_on, known=known)
        own = home(cell, arm, known)
        of_cells.append(
            {
                run.seed: row[measure]
                for run, row in rows.items()
                if (run.cell, run.arm, run.strength) == (own, arm, strength) and run.is_reported
            }
        )
    seeds = sorted(set.intersection(*(set(of_cell) for of_cell in of_cells)))
    return np.array([[of_cell[seed] for of_cell in of_cells] for seed in seeds]).reshape(
        len(seeds), len(cells)
    )
