"""How arms compare: figures against values by hand, and which rows they are of."""

import numpy as np
import pytest
from rliable import library, metrics

from examples.experiments.comparison import (
    difference,
    headroom_share,
    improvement,
    interval,
    iqm,
    mean,
    scores_of,
)
from examples.experiments.rows import Cell, Run

CELLS = [Cell(problem, 5, 0.5, "decision") for problem in ("chain", "key and door")]


def test_figures_are_those_by_hand():
    scores = np.array([[0.0, 9.0], [1.0, 2.0], [3.0, 4.0], [-50.0, 5.0]])
    assert iqm(scores) == pytest.approx((1 + 2 + 3 + 4) / 4)
    assert mean(scores) == pytest.approx((9 + 1 + 2 + 3 + 4 - 50 + 5) / 8)
    assert difference(scores, np.zeros((3, 2))) == pytest.approx(2.5)
    assert headroom_share(scores, np.ones((3, 2)), np.full((5, 2), 4.0)) == pytest.approx(0.5)
    assert np.isnan(headroom_share(scores, np.ones((3, 2)), np.ones((3, 2))))
    # Of 2·3 pairs of the first problem 4 are won and one is even; of the second, 6.
    first, second = [[2.0, 5.0], [3.0, 6.0]], [[1.0, 0.0], [2.0, 1.0], [3.5, 2.0]]
    assert improvement(np.array(first), np.array(second)) == pytest.approx(((3 + 0.5) / 6 + 1) / 2)


def test_figures_are_rliables():
    rng = np.random.default_rng(6)
    for shape in ((7, 3), (11, 2), (1, 5)):
        ours, theirs = rng.integers(5, size=(2, *shape)).astype(float)
        assert iqm(ours) == pytest.approx(metrics.aggregate_iqm(ours))
        assert mean(ours) == pytest.approx(metrics.aggregate_mean(ours))
        expected = metrics.probability_of_improvement(ours, theirs)
        assert improvement(ours, theirs) == pytest.approx(expected)


def test_intervals_are_percentiles_of_samples_that_redraw_seeds_within_problems():
    rng = np.random.default_rng(0)
    ours, theirs = rng.normal([0.5, 5.5, 10.5], 1, (40, 3)), rng.normal([0, 5, 10], 1, (30, 3))
    found = interval(difference, ours, theirs)
    samples = []
    for _ in range(2_000):
        drawn = [
            np.stack([rng.choice(column, len(column)) for column in scores.T], axis=1)
            for scores in (ours, theirs)
        ]
        samples.append(iqm(drawn[0]) - iqm(drawn[1]))
    low, high = np.quantile(samples, [0.025, 0.975])
    assert found.point == pytest.approx(difference(ours, theirs))
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.1 * (high - low))
    assert str(found) == f"{found.point:.2f} [{found.low:.2f}, {found.high:.2f}]"


@pytest.mark.parametrize("statistic", [iqm, mean, difference, improvement, headroom_share])
def test_intervals_are_rliables_of_the_same_seed(statistic, monkeypatch):
    monkeypatch.setattr("examples.experiments.comparison.RESAMPLES", 60)
    rng = np.random.default_rng(2)
    arms = [rng.normal(3 * index, 1, (7 - index, 3)) for index in range(3)]
    scores = arms[: {iqm: 1, mean: 1, headroom_share: 3}.get(statistic, 2)]
    np.random.seed(5)
    points, ends = library.get_interval_estimates(
        {"": scores}, lambda *drawn: np.array([statistic(*drawn)]), reps=60
    )
    found = interval(statistic, *scores, seed=5)
    expected = [*points[""], *ends[""].ravel()]
    assert [found.point, found.low, found.high] == pytest.approx(expected, rel=1e-12)


def test_intervals_are_the_same_each_time_and_leave_numpys_generator_alone():
    scores = np.random.default_rng(1).normal(size=(7, 2))
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    first = interval(iqm, scores)
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    np.random.seed(4)
    assert interval(iqm, scores) == first


def test_scores_are_of_reported_seeds_at_the_chosen_strength_and_there_in_all_problems():
    rows = {}
    for number, cell in enumerate(CELLS):
        best = ("0.3", "3")[number]
        for strength in ("0.1", "0.3", "1", "3", "annealed"):
            rows[Run(cell, "uniform", strength, 100)] = {"area": float(strength == best)}
            for seed in range(4 - number):
                rows[Run(cell, "uniform", strength, seed)] = {
                    "area": 10 * number + seed + 0.5 * (strength == best)
                }
    expected = [[0.5, 10.5], [1.5, 11.5], [2.5, 12.5]]
    np.testing.assert_array_equal(scores_of(rows, CELLS, "uniform"), expected)
    assert scores_of(rows, CELLS, "overlap").shape == (0, 2)


def test_primitives_are_read_where_they_have_no_macros():
    rows = {
        Run(Cell(cell.problem, 0, 0.0, "decision"), "primitives", "", seed): {"area": seed}
        for cell in CELLS
        for seed in (0, 1, 100)
    }
    np.testing.assert_array_equal(scores_of(rows, CELLS, "primitives"), [[0, 0], [1, 1]])
