"""Arms, runs and tables of the experiments on credit across time, and how tables are filled.

A run has one row or, if it records a learning curve, several. Runs are carried out by the process
pool of `examples.experiments` and added to the table as soon as they end.
"""

import csv
import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from statistics import fmean, median
from typing import Any

from tqdm import tqdm

from examples.experiments.rows import FIRST_TUNING_SEED
from examples.experiments.run_table import RunTable, number
from examples.experiments.runs import executor
from examples.experiments.settings import GridSettings


@dataclass(frozen=True)
class Arm:
    """An arm of an experiment.

    Args:
        about: Description for readers.
        arguments: Arguments of `PairwiseA2C`, in addition to the experiment's own.
        values: Values of further arguments, chosen from on seeds that are not reported.
    """

    about: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    @property
    def choices(self) -> dict[str, dict[str, Any]]:
        """All combinations of the values, by name; without values, one with an empty name."""
        combined = [
            dict(zip(self.values, picked, strict=True))
            for picked in itertools.product(*self.values.values())
        ]
        return {" ".join(f"{name}={one[name]}" for name in one): one for one in combined}

    def among(self, **values: Sequence[Any]) -> "Arm":
        """Return a copy with further arguments to choose, or with other values."""
        return replace(self, values={**self.values, **values})

    def learner_arguments(self, choice: str) -> dict[str, Any]:
        """Arguments of `PairwiseA2C` for one of the choices."""
        return {**self.arguments, **self.choices[choice]}


@dataclass(frozen=True, order=True)
class Run:
    """A run of an arm on a problem.

    Args:
        problem: Name of the problem.
        arm: Name of the arm.
        choice: One of the arm's choices; empty if it has none.
        seed: Seed of everything random.
    """

    problem: str
    arm: str
    choice: str
    seed: int

    @property
    def is_reported(self) -> bool:
        """Whether its seed is one on which arms are compared."""
        return self.seed < FIRST_TUNING_SEED


Row = Mapping[str, float]
Rows = Mapping[Run, Sequence[Row]]
"""Results of runs; each row's ``seconds`` are counted from the start of its run."""

KEY = tuple(part.name for part in fields(Run))


class Results(RunTable[Run, Sequence[Row]]):
    """A table with one or several rows per run."""

    @staticmethod
    def read(path: Path) -> dict[Run, Sequence[Row]]:
        """Read the rows of each run."""
        return dict(read_rows(path))

    @staticmethod
    def lines(run: Run, found: Sequence[Row]) -> list[dict[str, Any]]:
        """A run's rows."""
        return [asdict(run) | dict(row) for row in found]


def read_rows(path: Path) -> dict[Run, list[dict[str, float]]]:
    """Read the rows of a table, by run; empty if there is no file."""
    rows: dict[Run, list[dict[str, float]]] = {}
    if path.exists():
        with path.open() as file:
            for row in csv.DictReader(file):
                run = Run(row["problem"], row["arm"], row["choice"], int(row["seed"]))
                found = {name: number(text) for name, text in row.items() if name not in KEY}
                rows.setdefault(run, []).append(found)
    return rows


def tuning_runs(arms: Mapping[str, Arm], seeds: int, problems: Sequence[str]) -> list[Run]:
    """The runs on which arms with several choices make theirs."""
    return [
        Run(problem, name, choice, FIRST_TUNING_SEED + seed)
        for problem in problems
        for name, arm in arms.items()
        if len(arm.choices) > 1
        for choice in arm.choices
        for seed in range(seeds)
    ]


def reported_runs(
    arms: Mapping[str, Arm],
    chosen: Mapping[str, str | None],
    seeds: Sequence[int],
    problems: Sequence[str],
) -> list[Run]:
    """The runs on which arms are compared; their choice is "?" if it has not been made yet."""
    return [
        Run(problem, name, "?" if chosen[name] is None else chosen[name], seed)
        for problem in problems
        for seed in seeds
        for name in arms
    ]


def choices_made(
    rows: Rows, arms: Mapping[str, Arm], problems: Sequence[str], measure: str, least: bool = False
) -> dict[str, str | None]:
    """Each arm's choice: the best on average over its tuning runs.

    Reported seeds and other problems have no influence.

    Args:
        rows: The table.
        arms: Arms by name.
        problems: Problems on which choices are made.
        measure: A column, averaged over the rows of a run.
        least: Whether less is better.

    Returns:
        Names of choices; None unless all choices have the same tuning runs, on all problems.
    """
    return {
        name: _choice_made(rows, name, list(arm.choices), problems, measure, least)
        for name, arm in arms.items()
    }


def _choice_made(
    rows: Rows, arm: str, choices: list[str], problems: Sequence[str], measure: str, least: bool
) -> str | None:
    """The choice of one arm, as in `choices_made`."""
    if len(choices) == 1:
        return choices[0]
    scores: dict[str, dict[tuple[str, int], float]] = {choice: {} for choice in choices}
    for run, found in rows.items():
        if run.arm == arm and run.problem in problems and not run.is_reported:
            scores[run.choice][run.problem, run.seed] = score(found, measure)
    done = {frozenset(of_choice) for of_choice in scores.values()}
    if len(done) > 1 or len({problem for keys in done for problem, _ in keys}) < len(problems):
        return None
    best = min if least else max
    return best(choices, key=lambda choice: fmean(scores[choice].values()))


def score(found: Sequence[Row], measure: str) -> float:
    """Score of a run: the mean of a column over its rows."""
    return fmean(row[measure] for row in found)


Work = Callable[[Run], Sequence[Row]]


def conduct(
    settings: GridSettings,
    results: Results,
    arms: Mapping[str, Arm],
    problems: Sequence[str],
    tuned_on: Sequence[str],
    work: Work,
    measure: str,
    least: bool = False,
    first_seed: int = 0,
) -> None:
    """Report what is missing and, if requested, run it: first the tuning runs, then the others.

    Args:
        settings: Settings of the experiment.
        results: Table to which rows are added.
        arms: Arms to compare, by name.
        problems: Problems on which arms are compared.
        tuned_on: Problems on which choices are made.
        work: Carries out a run, in any process.
        measure: Column by which choices are made.
        least: Whether less of it is better.
        first_seed: First of the reported seeds.
    """
    workers = settings.workers or os.cpu_count() or 1
    tuning = tuning_runs(arms, settings.tuning_seeds, tuned_on)
    carry_out(results, tuning, work, workers, settings.is_to_run)
    chosen = choices_made(results.rows, arms, tuned_on, measure, least)
    seeds = range(first_seed, first_seed + settings.seeds)
    reported = reported_runs(arms, chosen, seeds, problems)
    carry_out(results, reported, work, workers, settings.is_to_run)


def carry_out(results: Results, runs: Sequence[Run], work: Work, workers: int, go: bool) -> None:
    """Report how many runs are missing and how long they take, and run them if ``go``.

    Args:
        results: Table to which rows are added.
        runs: All runs that the table should have.
        work: Carries out a run, in any process.
        workers: Number of processes, with one thread each; 1 uses this process.
        go: Whether to run them.
    """
    todo = [run for run in dict.fromkeys(runs) if run not in results.rows]
    seconds = estimate(todo, results.rows)
    time = "none done yet to tell how long they take"
    if seconds is not None:
        time = f"about {seconds / workers / 60:.0f} minutes in {workers} processes"
    print(f"{len(todo)} of {len(runs)} runs to do, {time}")
    if not (go and todo):
        return
    with tqdm(total=len(todo), unit="run") as bar, executor(workers, work) as execute:
        results.note_origin()
        for run, found in execute(todo):
            results.add(run, found)
            bar.set_description(f"{run.problem}, {run.arm}")
            bar.update()


def estimate(todo: Iterable[Run], rows: Rows) -> float | None:
    """Estimate the total seconds of runs, from the median of the most similar finished runs.

    These have the same problem and arm if there are any; else the same problem; else the same arm;
    else all runs are used. None if nothing has been run.
    """
    spent = {run: found[-1]["seconds"] for run, found in rows.items()}
    return sum(_expected(run, spent) for run in todo) if spent else None


def _expected(run: Run, spent: Mapping[Run, float]) -> float:
    """Estimated seconds of one run."""

    def likeness(other: Run) -> tuple[bool, bool]:
        return other.problem == run.problem, other.arm == run.arm

    most = max(map(likeness, spent))
    return median(seconds for other, seconds in spent.items() if likeness(other) == most)
