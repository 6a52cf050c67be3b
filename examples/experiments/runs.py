"""Many runs in processes of their own: what is missing is run, each is a row as soon as it ends."""

import csv
import json
import multiprocessing
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from multiprocessing.connection import wait
from pathlib import Path
from statistics import mean
from typing import Any

import torch as th
from tqdm import tqdm

from benchmarks.report import write_report
from examples.experiments.arms import ARMS
from macro_gym.errors import MacroGymError
from sb3_masp.sweeps.results import write_table

FIRST_TUNING_SEED = 100
"""Seeds from here on choose strengths and are never reported."""


class ExperimentError(MacroGymError, ValueError):
    """Results that do not go together."""


@dataclass(frozen=True, order=True)
class Cell:
    """Where arms are compared.

    Args:
        problem: Its name.
        k: Macros.
        share: How much of them is of use.
        updates: What updates are counted in: ``"decision"`` or ``"step"``.
    """

    problem: str
    k: int
    share: float
    updates: str


@dataclass(frozen=True, order=True)
class Run:
    """One run.

    Args:
        cell: Where; without macros for an arm that has none.
        arm: Its name.
        strength: One of the arm's; empty if it has none.
        seed: Of everything.
    """

    cell: Cell
    arm: str
    strength: str
    seed: int

    @property
    def is_reported(self) -> bool:
        """Whether its seed is one of those that arms are compared by."""
        return self.seed < FIRST_TUNING_SEED

    @property
    def key(self) -> dict[str, Any]:
        """What its row begins with."""
        own = asdict(self)
        return own.pop("cell") | own


KEY = (*(field.name for field in fields(Cell)), "arm", "strength", "seed")


class Results:
    """A table of runs, of the same settings all, that is written whenever a row is added.

    The settings, the command and the versions stand beside it, in a JSON file of the same name.

    Args:
        path: The CSV; what it holds is taken up.
        settings: What all runs have in common, as JSON has it.

    Raises:
        ExperimentError: The file's rows are of other settings.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        """Read what is there."""
        self.path = path
        self.settings = json.loads(json.dumps(settings))
        self.rows = read_rows(path)
        about = path.with_suffix(".json")
        if self.rows and about.exists():
            before = json.loads(about.read_text())["settings"]
            require_same(path, before, self.settings)

    def add(self, run: Run, result: Mapping[str, float]) -> None:
        """Add a row, in the order of the runs, and write all."""
        self.rows = dict(sorted((self.rows | {run: dict(result)}).items()))
        table = [run.key | row for run, row in self.rows.items()]
        write_table(self.path, table, (*KEY, *result))

    def note_origin(self) -> None:
        """Write where the table comes from, and of which settings it is."""
        write_report(self.path.with_suffix(".json"), {"settings": self.settings})


def read_rows(path: Path) -> dict[Run, dict[str, float]]:
    """The rows of a table by their runs; none where there is no file."""
    if not path.exists():
        return {}
    with path.open() as file:
        return dict(map(_read_row, csv.DictReader(file)))


def _read_row(row: dict[str, str]) -> tuple[Run, dict[str, float]]:
    """A run and its results."""
    cell = Cell(row["problem"], int(row["k"]), float(row["share"]), row["updates"])
    run = Run(cell, row["arm"], row["strength"], int(row["seed"]))
    return run, {name: float(value) for name, value in row.items() if name not in KEY}


def require_same(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to mix rows of different settings.

    Raises:
        ExperimentError: They differ.
    """
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    if names:
        said = ", ".join(f"{n} was {before.get(n)!r} and is {now.get(n)!r}" for n in names)
        raise ExperimentError(
            f"the rows of {path} are of other settings: {said}. Choose another --output, or remove "
            "that file to run everything again"
        )


def tuning_runs(cell: Cell, arms: Iterable[str], seeds: int) -> list[Run]:
    """The runs from which arms of several strengths choose one."""
    return [
        Run(cell, arm, strength, FIRST_TUNING_SEED + seed)
        for arm in arms
        if len(ARMS[arm].strengths) > 1
        for strength in ARMS[arm].strengths
        for seed in range(seeds)
    ]


def reported_runs(
    cell: Cell, arms: Iterable[str], seeds: int, rows: Mapping[Run, Mapping[str, float]]
) -> list[Run]:
    """The runs that arms are compared by, at the strengths that they have chosen."""
    return [
        Run(home(cell, arm), arm, strength, seed)
        for arm in arms
        if (strength := chosen_strength(rows, cell, arm)) is not None
        for seed in range(seeds)
    ]


def home(cell: Cell, arm: str) -> Cell:
    """Where an arm's runs are: one without macros has the same ones for every k."""
    return cell if ARMS[arm].has_macros else Cell(cell.problem, 0, 0.0, cell.updates)


def chosen_strength(
    rows: Mapping[Run, Mapping[str, float]], cell: Cell, arm: str, measure: str = "area"
) -> str | None:
    """The strength with the best mean over the tuning seeds, of which each strength needs as many.

    Reported seeds have no say in it. None if there are no tuning runs yet, or they are not
    complete.
    """
    strengths = ARMS[arm].strengths
    if len(strengths) == 1:
        return strengths[0]
    scores: dict[str, dict[int, float]] = {strength: {} for strength in strengths}
    for run, row in rows.items():
        if (run.cell, run.arm) == (cell, arm) and not run.is_reported:
            scores[run.strength][run.seed] = row[measure]
    seeds = {frozenset(of_strength) for of_strength in scores.values()}
    if len(seeds) > 1 or not all(scores.values()):
        return None
    return max(strengths, key=lambda strength: mean(scores[strength].values()))


def complete(
    results: Results,
    cells: Sequence[Cell],
    arms: Sequence[str],
    seeds: tuple[int, int],
    work: Callable[[Run], Mapping[str, float]],
    workers: int,
) -> None:
    """Run what is missing: of each cell first what arms choose from, then what is reported.

    Args:
        results: Where rows go, and what is there already.
        cells: Where arms are compared.
        arms: Their names.
        seeds: How many to choose on, and how many to report.
        work: What to do for a run, in any process.
        workers: Processes, each with one thread; with 1 it is this one.
    """
    with (
        tqdm(total=len(missing(results.rows, cells, arms, seeds)), unit="run") as bar,
        _executor(workers, work) as execute,
    ):
        results.note_origin()
        for cell in cells:
            for planned in (
                lambda cell: tuning_runs(cell, arms, seeds[0]),
                lambda cell: reported_runs(cell, arms, seeds[1], results.rows),
            ):
                bar.set_description(f"{cell.problem}, k={cell.k}")
                for run, result in execute([r for r in planned(cell) if r not in results.rows]):
                    results.add(run, result)
                    bar.update()


def missing(
    rows: Mapping[Run, Mapping[str, float]],
    cells: Iterable[Cell],
    arms: Collection[str],
    seeds: tuple[int, int],
) -> list[Run]:
    """What is to be run; its strength is "?" where that is still to be chosen."""
    planned: dict[Run, None] = {}
    for cell in cells:
        of_cell = tuning_runs(cell, arms, seeds[0])
        chosen = {arm: chosen_strength(rows, cell, arm) for arm in arms}
        of_cell += [
            Run(home(cell, arm), arm, "?" if strength is None else strength, seed)
            for arm, strength in chosen.items()
            for seed in range(seeds[1])
        ]
        planned |= dict.fromkeys(of_cell)
    return [run for run in planned if run not in rows]


def estimate(todo: Iterable[Run], rows: Mapping[Run, Mapping[str, float]]) -> float | None:
    """Seconds that runs take one after the other, as others of their kind did.

    Of the same arm, k and unit of updates if there are such; else of the same arm; else of any.
    None if nothing has been run.
    """
    kinds = (
        lambda run: (run.arm, run.cell.k, run.cell.updates),
        lambda run: run.arm,
        lambda run: None,
    )
    known: list[dict[Any, list[float]]] = [defaultdict(list) for _ in kinds]
    for run, row in rows.items():
        for kind, seconds in zip(kinds, known, strict=True):
            seconds[kind(run)].append(row["seconds"])
    if not rows:
        return None
    return sum(
        mean(next(of[kind(run)] for kind, of in zip(kinds, known, strict=True) if kind(run) in of))
        for run in todo
    )


Execute = Callable[[Sequence[Run]], Iterator[tuple[Run, Mapping[str, float]]]]


@contextmanager
def _executor(workers: int, work: Callable[[Run], Mapping[str, float]]) -> Iterator[Execute]:
    """What sees runs through, and gives each with its result as it ends."""
    if workers == 1:
        th.set_num_threads(1)
        yield lambda runs: ((run, work(run)) for run in runs)
        return
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(workers, context, _begin) as pool:

        def execute(runs: Sequence[Run]) -> Iterator[tuple[Run, Mapping[str, float]]]:
            futures = {pool.submit(work, run): run for run in runs}
            try:
                for future in as_completed(futures):
                    yield futures[future], future.result()
            finally:
                for future in futures:
                    future.cancel()

        yield execute


def _begin() -> None:
    """Use one thread, and end with the parent even if that is killed."""
    th.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End at once when the parent is gone."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
