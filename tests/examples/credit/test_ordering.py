"""What docs/credit.md says of the paper's order follows from intervals of the tables alone."""

import numpy as np
import pytest

from examples.credit.ordering import Pair, growth, orderings, summary, verdict, widening
from examples.credit.runs import Run
from examples.experiments.comparison import Interval, difference, interval

CHOSEN = {"deep": dict.fromkeys("abc", "x"), "shallow": dict.fromkeys("abc", "x")}


def rows(**scores):
    """Runs of arms by problem and arm, ``deep_a``, a score for each seed; others choose."""
    found = {}
    for name, of_seeds in scores.items():
        problem, arm = name.split("_")
        for seed, score in enumerate(of_seeds):
            found[Run(problem, arm, "x", seed)] = [{"episodes": float(score)}]
        found[Run(problem, arm, "x", 100)] = [{"episodes": 1e6}]
        found[Run(problem, arm, "y", 0)] = [{"episodes": 1e6}]
    return found


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(-3, -1, "holds"), (1, 2, "reversed"), (-1, 1, "open"), (-1, 0, "open"), (0, 1, "open")],
)
def test_an_order_holds_where_the_whole_interval_is_below_zero(low, high, said):
    assert verdict(Interval((low + high) / 2, low, high)) == said


def test_each_pair_is_told_by_its_own_scores_and_the_papers_better_comes_first():
    table = rows(deep_a=(5, 6, 7), deep_b=(50, 60, 71), shallow_a=(5, 6, 7), shallow_b=(1, 6, 13))
    pairs = {"deep": [Pair("a", "b"), Pair("b", "a")], "shallow": [Pair("a", "b")]}
    text = orderings(table, CHOSEN, pairs, "episodes", "There it is so.")
    scores = [np.array(part, float)[:, None] for part in ((5, 6, 7), (50, 60, 71))]
    found = interval(difference, *scores)
    assert (
        f"| a < b | holds: {found.point:.0f} [{found.low:.0f}, {found.high:.0f}] | open: " in text
    )
    assert "| b < a | reversed: " in text
    assert "order? There it is so.\n" in text
    assert "Of 3 comparisons, the order holds in 1, is reversed in 1 and is open in 1:\n" in text
    assert "the paper's order does not hold throughout." in text


def test_nothing_is_said_of_arms_that_were_not_run():
    pairs = {"deep": [Pair("a", "b"), Pair("c", "a")]}
    assert "c < a" not in orderings(
        rows(deep_a=(1, 2), deep_b=(3, 4)), CHOSEN, pairs, "episodes", ""
    )
    assert orderings(rows(deep_a=(1, 2)), CHOSEN, pairs, "episodes", "") == ""
    assert widening(rows(deep_a=(1, 2)), CHOSEN, ["shallow", "deep"], "ab") == ""


def test_a_gap_grows_where_the_share_of_the_controls_episodes_falls():
    table = rows(shallow_a=(10, 11), shallow_b=(5, 6), deep_a=(100, 110), deep_b=(5, 6))
    text = widening(table, CHOSEN, ["shallow", "deep"], ["a", "b"])
    parts = ((5, 6), (100, 110), (5, 6), (10, 11))
    found = interval(growth, *(np.array(part, float)[:, None] for part in parts))
    assert found.point == pytest.approx(5.5 / 105 - 5.5 / 10.5)
    assert f"| b | holds: {found.point:.2f} [" in text
    flat = rows(shallow_a=(10, 11), shallow_b=(5, 6), deep_a=(10, 11), deep_b=(50, 60))
    assert "| b | reversed: " in widening(flat, CHOSEN, ["shallow", "deep"], ["a", "b"])


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ([(-2, -1), (-3, -1)], "the paper's order holds throughout"),
        ([(-2, -1), (-3, 1)], "is neither contradicted nor shown throughout"),
        ([(-2, 1)], "the paper's order is not shown"),
        ([(-2, -1), (1, 2)], "does not hold throughout"),
    ],
)
def test_the_sentence_follows_from_the_verdicts(ends, said):
    assert said in summary([Interval(0, *pair) for pair in ends])
