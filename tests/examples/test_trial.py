"""How long runs take is told before any has been run."""

from functools import partial

import pytest

from examples.experiments import ablations, atari_ram, game_transfer, minatar_games, small_problems
from examples.experiments.arms import ARMS
from examples.experiments.game_homes import HOMES
from examples.experiments.rows import Cell, Results, Run
from examples.experiments.runs import carry_out
from examples.experiments.trial import Trial
from examples.experiments.variants import VARIANTS


def test_time_is_once_what_comes_before_and_so_much_for_each_step():
    asked = []

    def work(run, steps):
        # The first run takes longer, since what it needs is made once.
        asked.append(steps)
        return {"seconds": 2.0 * (len(asked) == 1) + 0.5 + 0.01 * steps}

    trial = Trial(work, 12_000, short=100)
    assert trial.seconds(None) == pytest.approx(2.0 + 0.5 + 0.01 * 12_000)
    assert asked == [100, 100, 200]


def test_each_arm_is_tried_once_for_each_number_of_macros_at_a_strength_that_it_has():
    todo = [
        Run(Cell("chain", k, 0.5, "decision"), arm, strength, seed)
        for arm, strength in (("uniform", "?"), ("macros", ""))
        for k in (64, 256, 7)
        for seed in (0, 1)
    ]
    rows = Trial(lambda run, steps: {"seconds": 1.0}, 7).rows(todo, ARMS)
    assert [(r.arm, r.cell.k, r.strength) for r in rows] == [
        (arm, k, strength)
        for arm, strength in (("uniform", "annealed"), ("macros", ""))
        for k in (64, 256, 7)
    ]


HOME = HOMES["minatar"](None, minatar_games.Budget())
PAIR = game_transfer.cell_of(HOME, HOME.pairs[0]).problem


@pytest.mark.parametrize(
    ("work", "problem", "arm", "unit"),
    [
        (partial(small_problems.learn_briefly, small_problems.Budget()), "chain", "meta", "steps"),
        (partial(ablations.learn_briefly, small_problems.Budget()), "chain", "none", "steps"),
        (partial(minatar_games.learn_briefly, minatar_games.Budget()), "Freeway", "meta", "steps"),
        (partial(atari_ram.learn_briefly, atari_ram.Budget()), "Freeway", "meta", "frames"),
        (partial(game_transfer.learn_briefly, HOME), PAIR, "own Σ, frozen", "frames"),
    ],
)
def test_short_runs_learn_from_the_first_step_on(work, problem, arm, unit):
    known = ARMS if arm in ARMS else VARIANTS
    run = Run(Cell(problem, 7, 1.0, "decision"), arm, known[arm].strengths[-1], 100)
    row = work(run, 460)
    assert 460 <= row[unit] < 460 + 60
    assert row["updates_taken"] >= row["decisions"] // 4 - 2 > 0
    assert row["seconds"] > 0


def test_the_time_of_runs_unlike_all_that_were_timed_is_rough(tmp_path, capsys):
    results = Results(tmp_path / "rows.csv", {})
    of_decisions, of_steps = (Cell("chain", 5, 0.5, unit) for unit in ("decision", "step"))
    results.add(Run(of_decisions, "macros", "", 0), {"seconds": 60.0})
    for cells in ([of_decisions], [of_decisions, of_steps]):
        carry_out(results, cells, ["macros"], (0, 2), pytest.fail, 1, go=False)
    first, second = capsys.readouterr().out.splitlines()
    assert first == "1 runs to do, about 1 minutes in 1 processes"
    roughly = "roughly: 2 are unlike all that have been timed"
    assert second == f"3 runs to do, about 3 minutes in 1 processes, {roughly}"


def test_without_rows_the_time_is_told_by_short_runs(tmp_path, monkeypatch, capsys):
    seconds = {"seconds": 60.0}
    monkeypatch.setattr(Trial, "seconds", lambda self, run: seconds["seconds"])
    settings = {"problems": ("chain",), "k": (5,), "arms": ("macros",), "seeds": 7, "workers": 1}
    output = tmp_path / "rows.csv"
    small_problems.main(small_problems.Settings(**settings, output=output))
    said = capsys.readouterr().out
    assert said == "7 runs to do, about 7 minutes in 1 processes, by short runs of each arm\n"
    assert not output.exists()
