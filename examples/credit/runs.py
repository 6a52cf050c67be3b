"""What experiments on credit across time share: what a run is, their table, and how it is filled.

A run comes to one row or, where it is followed as it learns, to several. Runs go through the pool
of processes of `examples.experiments`, and are in the table as soon as they end.
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
    """One thing that is compared.

    Args:
        about: What it is, for readers.
        arguments: Of `PairwiseA2C`, beside the experiment's own.
        values: Of further arguments, those among which it chooses on seeds that are not reported.
    """

    about: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    @property
    def choices(self) -> dict[str, dict[str, Any]]:
        """All combinations of the values, by what they are called; of none, a nameless one."""
        combined = [
            dict(zip(self.values, picked, strict=True))
            for picked in itertools.product(*self.values.values())
        ]
        return {" ".join(f"{name}={one[name]}" for name in one): one for one in combined}

    def among(self, **values: Sequence[Any]) -> "Arm":
        """The same with more to choose among, or with other values."""
        return replace(self, values={**self.values, **values})

    def learner_arguments(self, choice: str) -> dict[str, Any]:
        """Arguments of `PairwiseA2C` at one of its choices."""
        return {**self.arguments, **self.choices[choice]}


@dataclass(frozen=True, order=True)
class Run:
    """One run.

    Args:
        problem: Its name.
        arm: Its name.
        choice: One of the arm's; empty if it has none.
        seed: Of everything.
    """

    problem: str
    arm: str
    choice: str
    seed: int

    @property
    def is_reported(self) -> bool:
        """Whether its seed is one of those that arms are compared by."""
        return self.seed < FIRST_TUNING_SEED


Row = Mapping[str, float]
Rows = Mapping[Run, Sequence[Row]]
"""What runs came to; each row's ``seconds`` are those since its run began."""

KEY = tuple(part.name for part in fields(Run))


class Results(RunTable[Run, Sequence[Row]]):
    """A table with a row or several for each run."""

    @staticmethod
    def read(path: Path) -> dict[Run, Sequence[Row]]:
        """The rows of each run."""
        return dict(read_rows(path))

    @staticmethod
    def lines(run: Run, found: Sequence[Row]) -> list[dict[str, Any]]:
        """A run's rows."""
        return [asdict(run) | dict(row) for row in found]


def read_rows(path: Path) -> dict[Run, list[dict[str, float]]]:
    """The rows of a table by their runs; none where there is no file."""
    rows: dict[Run, list[dict[str, float]]] = {}
    if path.exists():
        with path.open() as file:
            for row in csv.DictReader(file):
                run = Run(row["problem"], row["arm"], row["choice"], int(row["seed"]))
                found = {name: number(text) for name, text in row.items() if name not in KEY}
                rows.setdefault(run, []).append(found)
    return rows


def tuning_runs(arms: Mapping[str, Arm], seeds: int, problems: Sequence[str]) -> list[Run]:
    """The runs by which arms that have a choice make it."""
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
    """The runs that arms are compared by; their choice is "?" where it is still to be made."""
    return [
        Run(problem, name, "?" if chosen[name] is None else chosen[name], seed)
        for problem in problems
        for seed in seeds
        for name in arms
    ]


def choices_made(
    rows: Rows, arms: Mapping[str, Arm], problems: Sequence[str], measure: str, least: bool = False
) -> dict[str, str | None]:
    """What each arm has chosen: the best on average over its tuning runs.

    Reported seeds have no say in it, nor have other problems.

    Args:
        rows: The table.
        arms: By their names.
        problems: On which choices are made.
        measure: A column, of which the rows of a run are averaged.
        least: Whether less is better.

    Returns:
        Names of choices; None where there are no tuning runs, or not as many for each.
    """
    return {
        name: _choice_made(rows, name, list(arm.choices), problems, measure, least)
        for name, arm in arms.items()
    }


def _choice_made(
    rows: Rows, arm: str, choices: list[str], problems: Sequence[str], measure: str, least: bool
) -> str | None:
    """The same of one arm."""
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
    """What a run came to: the mean of a column over its rows."""
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
    """Say what has not been run, and run it if that is asked for: first what arms choose by.

    Args:
        settings: Of the experiment.
        results: Where rows go, and what is there already.
        arms: What is compared, by name.
        problems: Where.
        tuned_on: The problems on which choices are made.
        work: What to do for a run, in any process.
        measure: The column that choices are made by.
        least: Whether less of it is better.
        first_seed: Of those that are reported.
    """
    workers = settings.workers or os.cpu_count() or 1
    tuning = tuning_runs(arms, settings.tuning_seeds, tuned_on)
    carry_out(results, tuning, work, workers, settings.is_to_run)
    chosen = choices_made(results.rows, arms, tuned_on, measure, least)
    seeds = range(first_seed, first_seed + settings.seeds)
    reported = reported_runs(arms, chosen, seeds, problems)
    carry_out(results, reported, work, workers, settings.is_to_run)


def carry_out(results: Results, runs: Sequence[Run], work: Work, workers: int, go: bool) -> None:
    """Say which runs are missing and how long that takes, and run them if it is to ``go``.

    Args:
        results: Where rows go, and what is there already.
        runs: All that the table is to have.
        work: What to do for a run, in any process.
        workers: Processes, each with one thread; with 1 it is this one.
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
    """Seconds that runs take one after the other, as those most like them did in the median.

    Of the same problem and arm if there are such; else of the same problem; else of the same arm;
    else of any. None if nothing has been run.
    """
    spent = {run: found[-1]["seconds"] for run, found in rows.items()}
    return sum(_expected(run, spent) for run in todo) if spent else None


def _expected(run: Run, spent: Mapping[Run, float]) -> float:
    """Seconds of one."""

    def likeness(other: Run) -> tuple[bool, bool]:
        return other.problem == run.problem, other.arm == run.arm

    most = max(map(likeness, spent))
    return median(seconds for other, seconds in spent.items() if likeness(other) == most)
