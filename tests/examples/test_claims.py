"""What is said of the goal follows from the rows."""

import re

import numpy as np
import pytest

from examples.experiments.arms import ARMS
from examples.experiments.claims import (
    DIFFERENCES,
    GOAL_AT,
    HEADROOM,
    LEARNED,
    cells_at,
    draw_claims,
    figures,
    goal,
    panels,
)
from examples.experiments.comparison import difference, headroom_share, interval
from examples.experiments.evidence import page
from examples.experiments.rows import Run


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch):
    monkeypatch.setattr("examples.experiments.comparison.RESAMPLES", 200)


LEVELS = {"uniform": 0.3, "overlap": 0.35, "oracle": 0.6} | dict.fromkeys(LEARNED, 0.33)


def table(levels, at=GOAL_AT, unit="decision", seeds=5):
    """Rows in which an arm's scores are around its level, at one k or at each of its own."""
    rng, rows = np.random.default_rng(7), {}
    for k in at:
        for cell in cells_at(k, unit):
            for arm, level in levels.items():
                own = level[k] if isinstance(level, dict) else level
                for strength in ARMS[arm].strengths:
                    rows[Run(cell, arm, strength, 100)] = {"area": float(strength == "0.3")}
                for seed in range(seeds):
                    row = {"area": own + rng.normal(0, 0.01), "final": own}
                    row |= {"decisions": 9, "updates_taken": 4}
                    rows[Run(cell, arm, "0.3", seed)] = row
    return rows


def scores(rows, arm, k):
    own = [
        [
            row["area"]
            for run, row in rows.items()
            if (run.cell, run.arm) == (cell, arm) and run.is_reported
        ]
        for cell in cells_at(k, "decision")
    ]
    return np.array(own).T


def test_the_goal_is_met_where_one_arm_beats_both_controls_at_both_k():
    rows = table(LEVELS | {"auxiliary, prior": 0.45})
    text = goal(rows)
    for k in GOAL_AT:
        own = scores(rows, "auxiliary, prior", k)
        over = [interval(difference, own, scores(rows, arm, k)) for arm in ("uniform", "overlap")]
        said = " and ".join(
            f"{x.point:+.3f} [{x.low:+.3f}, {x.high:+.3f}] over {arm}"
            for x, arm in zip(over, ("uniform", "overlap"), strict=True)
        )
        assert f"- k = {k}: met, by *auxiliary, prior* ({said}); at least 5 seeds. The" in text
        gain = interval(difference, scores(rows, "oracle", k), scores(rows, "uniform", k))
        of_oracle = f"{gain.point:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}] over uniform."
        assert f" The oracle leaves headroom: {of_oracle}\n" in text
    assert text.endswith("The goal is therefore met, by *auxiliary, prior*.\n")


def test_it_is_not_met_where_a_control_is_not_beaten():
    """All learned arms beat uniform; none beats overlap."""
    text = goal(table(LEVELS | {"kernel": 0.34}))
    assert text.count("not met; the closest arm is *") == 2
    assert text.endswith("The goal is therefore not met.\n")
    assert "Not run" not in text
    one = goal(table(LEVELS | {"kernel": {64: 0.5, 256: 0.33}}))
    assert "- k = 64: met, by *kernel* (+0.2" in one
    assert one.endswith("The goal is therefore not met.\n")


def test_it_is_not_met_by_different_arms_at_each_k():
    text = goal(table(LEVELS | {"kernel": {64: 0.5, 256: 0.33}, "meta": {64: 0.33, 256: 0.5}}))
    assert text.endswith("The goal is therefore met at each k, but not by any one arm at both.\n")


def test_what_is_missing_is_said_and_nothing_is_concluded_from_it():
    assert goal({}).count("too little has been run to say") == 2
    without = {arm: level for arm, level in LEVELS.items() if arm not in ("meta", "kernel")}
    text = goal(table(without))
    assert text.count("not met so far; the closest arm") == 2
    assert text.count("over uniform. Not run on all problems: *meta*; *kernel*.\n") == 2
    assert text.endswith("cannot be said until all of these arms have been run.\n")
    # One k at which all arms have been run and none is ahead is enough.
    assert goal(table(LEVELS, at=(64,))).endswith("The goal is therefore not met.\n")
    no_control = {arm: level for arm, level in LEVELS.items() if arm != "overlap"}
    assert goal(table(no_control)).count("too little has been run to say") == 2


def test_the_page_says_it_of_each_unit_of_updates_that_has_been_run():
    rows = table(LEVELS) | table(LEVELS | {"meta": 0.5}, unit="step")
    pattern = r"With updates counted in (\w+)s:.*?\n(The goal is therefore .*?)\n"
    assert re.findall(pattern, page(rows, {}), re.DOTALL) == [
        ("decision", "The goal is therefore not met."),
        ("step", "The goal is therefore met, by *meta*."),
    ]
    assert "The goal" not in page({}, {})


def test_figures_show_the_intervals_of_the_rows(tmp_path):
    rows = table(LEVELS, at=(64,))
    drawn = panels(rows)
    uniform, oracle = scores(rows, "uniform", 64), scores(rows, "oracle", 64)
    own = scores(rows, "meta", 64)
    assert drawn[DIFFERENCES]["k = 64: − uniform"]["meta"] == interval(difference, own, uniform)
    assert drawn[HEADROOM]["k = 64"]["meta"] == interval(headroom_share, own, uniform, oracle)
    assert list(drawn[DIFFERENCES]) == ["k = 64: − uniform", "k = 64: − overlap"]
    assert "overlap" not in drawn[DIFFERENCES]["k = 64: − overlap"]
    assert {*drawn[HEADROOM]["k = 64"]} == {"overlap", *LEARNED}
    (tmp_path / "images").mkdir()
    draw_claims(rows, tmp_path)
    assert {path.name for path in (tmp_path / "images").iterdir()} == {
        path.removeprefix("images/") for path in drawn
    }
    for path in drawn:
        assert (tmp_path / path).read_bytes().startswith(b"\x89PNG")
        assert any(f"]({path})" in line for line in figures(rows))


def test_what_an_oracle_of_each_state_gains_is_said_beside():
    rows = table(LEVELS | {"oracle, by state": 0.7}, at=(64,))
    gain = interval(difference, scores(rows, "oracle, by state", 64), scores(rows, "uniform", 64))
    assert gain.low > 0.3
    said = f"{gain.point:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}] over uniform."
    assert f" over uniform. The per-state oracle gains {said}\n" in goal(rows)


@pytest.mark.parametrize("level", [0.3, 0.29])
def test_without_headroom_no_shares_of_it_are_drawn(level):
    rows = table(LEVELS | {"oracle": level}, at=(64,))
    assert HEADROOM not in panels(rows)
    assert " The oracle leaves no clear headroom: " in goal(rows)
    assert panels({}) == {}
    assert figures({}) == []
