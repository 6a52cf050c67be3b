"""How arms compare: interquartile means, and what follows from them, with bootstrap intervals.

Scores have the shape ``(seeds, problems)``; bootstrap samples redraw seeds within each problem, of
each arm for itself (rliable's stratified bootstrap, 2,000 samples, 95% by percentiles, seeded).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from rliable.library import get_interval_estimates

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


def iqm(scores: Values) -> float:
    """Mean of the middle half of all scores: rliable's, at a sixth of its time."""
    ordered = np.sort(scores, axis=None)
    cut = len(ordered) // 4
    return float(ordered[cut : len(ordered) - cut].mean())


def improvement(scores: Values, others: Values) -> float:
    """P(score > other's), over problems on average; ties count half."""
    return float((1 + np.sign(scores[:, None] - others).mean()) / 2)


def difference(scores: Values, others: Values) -> float:
    """Difference of the interquartile means."""
    return iqm(scores) - iqm(others)


def headroom_share(scores: Values, control: Values, oracle: Values) -> float:
    """Of what the oracle gains over the control, what share the scores gain.

    It means nothing unless the oracle gains.
    """
    headroom = difference(oracle, control)
    return difference(scores, control) / headroom if headroom else float("nan")


def interval(statistic: Callable[..., float], *scores: Values, seed: int = 0) -> Interval:
    """A statistic of one arm's scores or several arms', with its interval.

    Args:
        statistic: One of those above.
        scores: Its arguments.
        seed: Of the samples: the same scores give the same interval.
    """
    with _numpy_seeded(seed):
        points, ends = get_interval_estimates(
            {"": scores}, lambda *drawn: np.array([statistic(*drawn)]), reps=RESAMPLES
        )
    (low,), (high,) = ends[""]
    return Interval(float(points[""][0]), float(low), float(high))


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


@contextmanager
def _numpy_seeded(seed: int) -> Iterator[None]:
    """Seed NumPy's global generator, from which rliable draws, and leave it as it was."""
    before = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(before)
