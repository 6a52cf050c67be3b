"""The experiment on Atari's memory: budgets in frames, and strengths chosen on other games."""

import itertools
from functools import partial

import pytest

from examples.experiments.arms import ARMS
from examples.experiments.atari_ram import (
    GAMES,
    TUNED_ON,
    Budget,
    Settings,
    cells,
    learn,
    make,
)
from examples.experiments.comparison import scores_of
from examples.experiments.rows import Cell, Results, Run
from examples.experiments.runs import chosen_strength, complete, missing, reported_runs
from examples.experiments.settings import REAL_ARMS

TINY = Budget(
    frames=1_000,
    episode=500,
    learner=Budget().learner | {"learning_starts": 7, "buffer_size": 1_000},
)
CELL = Cell("Freeway", 11, 1.0, "decision")
SOME_ARMS = ("primitives", "uniform", "overlap")


def row(arm, seed=3, updates="decision", game="Breakout", budget=TINY):
    k = 13 if ARMS[arm].has_macros else 0
    return learn(budget, Run(Cell(game, k, 1.0, updates), arm, ARMS[arm].strengths[-1], seed)) | {
        "seconds": 0
    }


def test_a_run_is_what_its_arm_and_seed_say_whatever_ran_before():
    first = row("meta")
    others = [row("meta", seed=4), row("overlap"), row("primitives")]
    assert row("meta") == first
    assert first not in others


def test_all_arms_have_the_same_frames_to_within_one_decision():
    longest = max(map(len, make("Breakout", 13, TINY).get_wrapper_attr("macro_set").macros))
    for arm in REAL_ARMS:
        assert TINY.frames <= row(arm)["frames"] < TINY.frames + 4 * longest
    assert longest > 3


def test_updates_are_one_a_decision_or_one_for_four_steps():
    for updates, arm in itertools.product(("decision", "step"), ("macros", "primitives")):
        found = row(arm, updates=updates)
        if updates == "decision":
            # The run ends at its last decision, before the update for it.
            assert found["updates_taken"] == found["decisions"] - 8
        else:
            # Of 250 steps the first seven ask for none; the last decision's are never taken.
            assert found["updates_taken"] == pytest.approx((250 - 7) / 4, abs=5)


def test_scores_are_those_of_the_game_and_those_between_random_play_and_a_human():
    found = row("macros", game="SpaceInvaders")
    assert found["points"] > 0
    assert found["area"] == pytest.approx((found["points"] - 148) / (1668.7 - 148))
    assert found["final"] == pytest.approx((found["final_points"] - 148) / (1668.7 - 148))


def test_strengths_are_chosen_on_games_and_seeds_that_are_not_reported():
    settings = Settings()
    grid, seeds = cells(settings), (settings.tuning_seeds, settings.seeds)
    planned = missing({}, grid, settings.arms, seeds, TUNED_ON)
    tuning = {run.cell.problem for run in planned if not run.is_reported}
    reported = {run.cell.problem for run in planned if run.is_reported}
    assert (tuning, reported) == ({*TUNED_ON}, {*GAMES})
    assert not tuning & reported
    # Per unit of updates and k, 59 strengths on two games and two seeds, and 13 arms with
    # macros on five games and seeds; primitives on five games and seeds for both k.
    assert len(planned) == 2 * (2 * (59 * 4 + 13 * 25) + 25)


def made_up(run):
    """Results that depend on the run, without a run."""
    digest = sum(map(ord, f"{run.arm}{run.strength}{run.cell.problem}{run.cell.k}")) % 17
    return {"area": digest / 17 + run.seed % 7 / 100, "seconds": 1.0}


def test_a_strength_is_the_best_on_all_the_other_games_together():
    best = {"0.1": (0.2, 0.3), "0.3": (0.9, 0.0), "1": (0.5, 0.6), "3": (0, 0), "annealed": (0, 0)}
    rows = {
        Run(Cell(game, 11, 1.0, "decision"), "uniform", strength, seed): {"area": score}
        for strength, by_game in best.items()
        for game, score in zip(TUNED_ON, by_game, strict=True)
        for seed in (100, 101)
    }
    lures = {
        Run(Cell(game, 11, 1.0, "decision"), "uniform", "0.1", seed): {"area": 9.0}
        for game, seeds in (("Freeway", (0, 1, 100)), (TUNED_ON[0], (0, 1)))
        for seed in seeds
    }
    lures[Run(Cell(TUNED_ON[0], 7, 1.0, "decision"), "uniform", "3", 100)] = {"area": 9.0}
    assert chosen_strength(rows | lures, CELL, "uniform", tuned_on=TUNED_ON) == "1"
    assert chosen_strength(rows, CELL, "uniform") is None
    of_one_game = {run: r for run, r in rows.items() if run.cell.problem == TUNED_ON[0]}
    assert chosen_strength(of_one_game, CELL, "uniform", tuned_on=TUNED_ON) is None
    runs = reported_runs(CELL, ["uniform"], 2, rows, TUNED_ON)
    assert runs == [Run(CELL, "uniform", "1", seed) for seed in (0, 1)]
    scored = {run: {"area": run.seed + 0.5} for run in runs}
    assert scores_of(rows | scored, [CELL], "uniform", tuned_on=TUNED_ON).tolist() == [[0.5], [1.5]]


def test_what_was_stopped_goes_on_and_comes_to_the_same_table(tmp_path):
    grid = [Cell(game, k, 1.0, "step") for k, game in itertools.product((5, 7), GAMES[:3])]
    run = partial(complete, cells=grid, arms=SOME_ARMS, seeds=(2, 3), workers=1, tuned_on=TUNED_ON)
    whole = Results(tmp_path / "whole.csv", {"frames": 1})
    run(whole, work=made_up)
    path, done = tmp_path / "stopped.csv", []

    def work(asked):
        if len(done) % 31 == 30:
            done.append(None)
            raise KeyboardInterrupt
        assert asked not in done
        done.append(asked)
        return made_up(asked)

    stops = 0
    for _ in range(9):
        try:
            run(Results(path, {"frames": 1}), work=work)
        except KeyboardInterrupt:
            stops += 1
    assert stops >= 3
    assert path.read_bytes() == whole.path.read_bytes()
    # Two k: 10 strengths on two games and two seeds, 2 arms on three games and seeds; and
    # primitives on three games and seeds.
    assert len(whole.rows) == 2 * (10 * 4 + 2 * 9) + 9
