"""Runs of experiments on credit: what arms choose, and how a table is gone on with."""

import json
import math
from functools import partial

import pytest

from examples.credit.runs import (
    Arm,
    Results,
    Run,
    carry_out,
    choices_made,
    conduct,
    estimate,
    read_rows,
    reported_runs,
    score,
    tuning_runs,
)
from examples.experiments.run_table import ExperimentError
from examples.experiments.settings import GridSettings

ARMS = {
    "fixed": Arm("", {"advantage": "pwr"}),
    "tuned": Arm("", {"gamma": 0.9, "n_steps": 7}, {"gamma": (0.5, 0.7, 0.8), "ent_coef": (0, 1)}),
}
GO = GridSettings(seeds=3, tuning_seeds=2, workers=1, full=True)


def made_up(run):
    """Three rows that depend on the run, without a run."""
    digest = sum(map(ord, f"{run.arm}{run.choice}{run.problem}")) % 17
    return [
        {
            "steps": -5 * look,
            "paid": digest / 17 - look + run.seed % 7 / 100,
            "needed": math.inf,
            "seconds": look / 4,
        }
        for look in (1, 2, 3)
    ]


def test_choices_are_all_combinations_of_values_and_go_before_arguments():
    arm = ARMS["tuned"]
    assert len(arm.choices) == 6
    chosen = arm.learner_arguments("gamma=0.7 ent_coef=1")
    assert chosen == {"gamma": 0.7, "n_steps": 7, "ent_coef": 1}
    more = arm.among(gamma=(0.1,), learning_rate=(1e-3, 2e-3))
    assert list(more.choices)[-1] == "gamma=0.1 ent_coef=1 learning_rate=0.002"
    assert len(more.choices) == 4
    assert ARMS["fixed"].learner_arguments("") == {"advantage": "pwr"}


def test_runs_choose_on_seeds_that_are_not_reported():
    tuning = tuning_runs(ARMS, 2, ["a", "b"])
    assert len(tuning) == 2 * 6 * 2
    assert {run.arm for run in tuning} == {"tuned"}
    assert {run.seed for run in tuning} == {100, 101}
    assert not any(run.is_reported for run in tuning)
    reported = reported_runs(ARMS, {"fixed": "", "tuned": None}, range(3), ["a", "c"])
    assert {(run.arm, run.choice) for run in reported} == {("fixed", ""), ("tuned", "?")}
    assert {run.seed for run in reported} == {0, 1, 2}
    assert all(run.is_reported for run in reported)
    assert len(reported) == 2 * 3 * 2


def test_seeds_that_are_reported_may_begin_later(tmp_path):
    results = Results(tmp_path / "rows.csv", {})
    conduct(GO, results, ARMS, ["a"], ["a"], made_up, "paid", first_seed=3)
    assert {run.seed for run in results.rows if run.is_reported} == {3, 4, 5}
    assert {run.seed for run in results.rows if not run.is_reported} == {100, 101}


def test_a_run_scores_the_mean_of_its_rows():
    assert score([{"paid": 1.0}, {"paid": 2.0}, {"paid": 6.0}], "paid") == 3.0


def test_what_is_chosen_is_best_on_average_over_tuning_runs():
    arm = {"tuned": Arm("", values={"gamma": (0.5, 0.7, 0.8)})}
    scores = {"gamma=0.5": (0.0, 9.0), "gamma=0.7": (5.0, 5.0), "gamma=0.8": (1.0, 2.0)}
    rows = {
        Run(problem, "tuned", choice, seed): [{"paid": paid - 1}, {"paid": paid + spread}]
        for choice, of_choice in scores.items()
        for problem, paid in zip("ab", of_choice, strict=True)
        for seed, spread in ((100, 0.5), (101, 1.5))
    }
    assert choices_made(rows, arm, "ab", "paid") == {"tuned": "gamma=0.7"}
    assert choices_made(rows, arm, "ab", "paid", least=True) == {"tuned": "gamma=0.8"}
    assert choices_made(rows, arm, "b", "paid") == {"tuned": "gamma=0.5"}
    lures = {Run("a", "tuned", "gamma=0.5", seed): [{"paid": 99.0}] for seed in range(9)}
    elsewhere = {Run("c", "tuned", "gamma=0.5", 100): [{"paid": 99.0}]}
    other_arm = {Run("a", "other", "gamma=0.5", 100): [{"paid": 99.0}]}
    assert choices_made(rows | lures | elsewhere | other_arm, arm, "ab", "paid") == {
        "tuned": "gamma=0.7"
    }
    assert choices_made(dict(list(rows.items())[1:]), arm, "ab", "paid") == {"tuned": None}
    assert choices_made(rows, arm, "abd", "paid") == {"tuned": None}
    assert choices_made({}, {"fixed": ARMS["fixed"]}, "ab", "paid") == {"fixed": ""}


def test_what_was_stopped_goes_on_and_comes_to_the_same_table(tmp_path):
    rest = {"arms": ARMS, "problems": ["a", "b"], "tuned_on": ["b"], "measure": "paid"}
    run = partial(conduct, GO, **rest)
    whole = Results(tmp_path / "whole.csv", {"steps": 1})
    run(whole, work=made_up)
    path, done, stops = tmp_path / "stopped.csv", [], 0

    def work(asked):
        if len(done) % 5 == 4:
            done.append(None)
            raise KeyboardInterrupt
        assert asked not in done
        done.append(asked)
        return made_up(asked)

    while len(read_rows(path)) < len(whole.rows):
        try:
            run(Results(path, {"steps": 1}), work=work)
        except KeyboardInterrupt:
            stops += 1
    assert stops >= 4
    assert path.read_bytes() == whole.path.read_bytes()
    assert json.loads((tmp_path / "stopped.json").read_text())["settings"] == {"steps": 1}
    # Six choices on two seeds of b; two arms on three seeds of both.
    assert len(whole.rows) == 6 * 2 + 2 * 3 * 2
    chosen = choices_made(whole.rows, ARMS, ["b"], "paid")["tuned"]
    reported = {run.choice for run in whole.rows if run.is_reported and run.arm == "tuned"}
    assert reported == {chosen}


def test_rows_stand_in_the_order_of_the_runs_whichever_ended_first(tmp_path):
    runs = [Run("a", "fixed", "", seed) for seed in (0, 1, 2, 10, 100)]
    for name, order in (("first", runs), ("second", runs[::-1])):
        results = Results(tmp_path / f"{name}.csv", {})
        for run in order:
            results.add(run, made_up(run))
    assert (tmp_path / "first.csv").read_text() == (tmp_path / "second.csv").read_text()
    assert list(read_rows(tmp_path / "second.csv").items()) == [(r, made_up(r)) for r in runs]


def test_rows_of_other_settings_are_refused(tmp_path):
    path, runs = tmp_path / "rows.csv", [Run("a", "fixed", "", 0)]
    carry_out(Results(path, {"steps": 1, "b": 2}), runs, made_up, 1, go=True)
    with pytest.raises(ExperimentError, match="steps was 1 and is 3"):
        Results(path, {"steps": 3, "b": 2})
    assert list(Results(path, {"steps": 1, "b": 2}).rows) == runs


def test_nothing_is_run_or_written_unless_it_is_to_go(tmp_path, capsys):
    results = Results(tmp_path / "rows.csv", {})
    conduct(
        GridSettings(seeds=3, tuning_seeds=2, workers=1),
        results,
        ARMS,
        ["a"],
        ["a"],
        made_up,
        "paid",
    )
    assert list(tmp_path.iterdir()) == []
    said = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in said] == ["12 of 12 runs to do", "6 of 6 runs to do"]


def test_runs_in_processes_come_to_the_same_rows(tmp_path):
    runs = [Run(problem, "fixed", "", seed) for problem in "ab" for seed in range(3)]
    for workers in (1, 2):
        carry_out(Results(tmp_path / f"{workers}.csv", {}), runs, made_up, workers, go=True)
    assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "2.csv").read_bytes()
    assert list(read_rows(tmp_path / "2.csv")) == runs


def test_the_time_is_told_from_runs_that_are_most_alike():
    def run(problem, arm, seed=0):
        return Run(problem, arm, "", seed)

    spent = {
        run("a", "x"): 2.0,
        run("a", "x", 1): 4.0,
        run("a", "x", 2): 100.0,
        run("a", "y"): 13.0,
        run("b", "x"): 29.0,
    }
    rows = {of: [{"seconds": 0.5}, {"seconds": seconds}] for of, seconds in spent.items()}
    assert estimate([run("a", "x", 7)], rows) == 4.0
    assert estimate([run("a", "z")], rows) == (4.0 + 13.0) / 2
    assert estimate([run("b", "y")], rows) == 29.0
    assert estimate([run("c", "y")], rows) == 13.0
    assert estimate([run("c", "z")], rows) == 13.0
    assert estimate([run("a", "x", 7), run("c", "y")], rows) == 17.0
    assert estimate([run("a", "x")], {}) is None
