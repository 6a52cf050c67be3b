"""Carry out missing runs in parallel processes, and save each as soon as it ends."""

import multiprocessing
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import wait
from statistics import mean, median
from typing import Any, TypeVar

import torch as th
from tqdm import tqdm

from examples.experiments.arms import ARMS
from examples.experiments.rows import FIRST_TUNING_SEED, Cell, Results, Rows, Run
from examples.experiments.trial import Arms, Trial


def tuning_cells(cell: Cell, tuned_on: Sequence[str]) -> list[Cell]:
    """The cells in which strengths are chosen: on ``tuned_on`` if given, else ``cell`` itself."""
    return [replace(cell, problem=problem) for problem in tuned_on] or [cell]


def tuning_runs(
    cell: Cell,
    arms: Sequence[str],
    seeds: int,
    tuned_on: Sequence[str] = (),
    known: Arms = ARMS,
) -> list[Run]:
    """The runs on which arms with several strengths choose one."""
    return [
        Run(chosen_in, known[arm].runs_of or arm, strength, FIRST_TUNING_SEED + seed)
        for chosen_in in tuning_cells(cell, tuned_on)
        for arm in arms
        if len(known[arm].strengths) > 1
        for strength in known[arm].strengths
        for seed in range(seeds)
    ]


def reported_runs(
    cell: Cell,
    arms: Iterable[str],
    seeds: int,
    rows: Rows,
    tuned_on: Sequence[str] = (),
    known: Arms = ARMS,
) -> list[Run]:
    """The runs on which arms are compared, at the strengths that they have chosen."""
    return [
        Run(home(cell, arm, known), known[arm].runs_of or arm, strength, seed)
        for arm in arms
        if (strength := chosen_strength(rows, cell, arm, tuned_on=tuned_on, known=known))
        is not None
        for seed in range(seeds)
    ]


def home(cell: Cell, arm: str, known: Arms = ARMS) -> Cell:
    """The cell of an arm's runs: an arm without macros has the same runs for every k."""
    return cell if known[arm].has_macros else Cell(cell.problem, 0, 0.0, cell.updates)


def chosen_strength(
    rows: Rows,
    cell: Cell,
    arm: str,
    measure: str = "area",
    tuned_on: Sequence[str] = (),
    known: Arms = ARMS,
) -> str | None:
    """The strength with the best mean over the tuning runs that all strengths have.

    Runs that only some strengths have do not count, nor do reported seeds, nor the cell's problem
    if strengths are chosen on others. None if a problem has no shared tuning runs yet.
    """
    strengths = known[arm].strengths
    if len(strengths) == 1:
        return strengths[0]
    chosen_in = tuning_cells(cell, tuned_on)
    scores: dict[str, dict[tuple[str, int], float]] = {strength: {} for strength in strengths}
    for run, row in rows.items():
        if run.cell in chosen_in and run.arm == arm and not run.is_reported:
            scores[run.strength][run.cell.problem, run.seed] = row[measure]
    shared = set.intersection(*map(set, scores.values()))
    if {problem for problem, _ in shared} < {chosen.problem for chosen in chosen_in}:
        return None
    return max(strengths, key=lambda strength: mean(scores[strength][entry] for entry in shared))


def carry_out(
    results: Results,
    cells: Sequence[Cell],
    arms: Sequence[str],
    seeds: tuple[int, int],
    work: Callable[[Run], Mapping[str, float]],
    workers: int,
    go: bool,
    tuned_on: Sequence[str] = (),
    known: Arms = ARMS,
    trial: Trial | None = None,
) -> None:
    """Report what is missing and how long it takes, and run it if ``go``.

    If there are no rows yet, ``trial`` estimates the time, unless ``go``. The other arguments are
    those of `complete`.
    """
    todo = missing(results.rows, cells, arms, seeds, tuned_on, known)
    rows, source = results.rows, ""
    if not rows and trial and not go:
        rows, source = trial.rows(todo, known), ", by short runs of each arm"
    elif new := set(map(kind, todo)) - set(map(kind, rows)):
        unlike = sum(kind(run) in new for run in todo)
        source = f", roughly: {unlike} are unlike all that have been timed"
    seconds = estimate(todo, rows)
    time = "none done yet to tell how long they take"
    if seconds is not None:
        time = f"about {seconds / workers / 60:.0f} minutes in {workers} processes{source}"
    print(f"{len(todo)} runs to do, {time}")
    if go:
        complete(results, cells, arms, seeds, work, workers, tuned_on, known)


def complete(
    results: Results,
    cells: Sequence[Cell],
    arms: Sequence[str],
    seeds: tuple[int, int],
    work: Callable[[Run], Mapping[str, float]],
    workers: int,
    tuned_on: Sequence[str] = (),
    known: Arms = ARMS,
) -> None:
    """Run what is missing: for each cell first the tuning runs, then the reported ones.

    Args:
        results: Table to which rows are added.
        cells: Cells in which arms are compared.
        arms: Names of the arms.
        seeds: Number of tuning seeds, and of reported seeds.
        work: Carries out a run, in any process.
        workers: Number of processes, with one thread each; 1 uses this process.
        tuned_on: Problems on which strengths are chosen; by default each cell's own.
        known: Arms by name.
    """
    todo = missing(results.rows, cells, arms, seeds, tuned_on, known)
    with (
        tqdm(total=len(todo), unit="run") as bar,
        executor(workers, work) as execute,
    ):
        results.note_origin()
        for cell in cells:
            for planned in (
                lambda cell: tuning_runs(cell, arms, seeds[0], tuned_on, known),
                lambda cell: reported_runs(cell, arms, seeds[1], results.rows, tuned_on, known),
            ):
                bar.set_description(f"{cell.problem}, k={cell.k}")
                for run, result in execute([r for r in planned(cell) if r not in results.rows]):
                    results.add(run, result)
                    bar.update()


def missing(
    rows: Rows,
    cells: Iterable[Cell],
    arms: Sequence[str],
    seeds: tuple[int, int],
    tuned_on: Sequence[str] = (),
    known: Arms = ARMS,
) -> list[Run]:
    """The missing runs; their strength is "?" if it has not been chosen yet."""
    planned: dict[Run, None] = {}
    for cell in cells:
        of_cell = tuning_runs(cell, arms, seeds[0], tuned_on, known)
        chosen = {
            arm: chosen_strength(rows, cell, arm, tuned_on=tuned_on, known=known) for arm in arms
        }
        of_cell += [
            Run(home(cell, arm, known), known[arm].runs_of or arm, said, seed)
            for arm, strength in chosen.items()
            for said in ["?" if strength is None else strength]
            for seed in range(seeds[1])
        ]
        planned |= dict.fromkeys(of_cell)
    return [run for run in planned if run not in rows]


def estimate(todo: Iterable[Run], rows: Rows) -> float | None:
    """Estimate the total seconds of runs, from the median of similar finished runs.

    These have the same arm, k and unit of updates if there are any; else the same arm; else all
    runs are used. None if nothing has been run.
    """
    kinds = kind, lambda run: run.arm, lambda run: None
    known: list[dict[Any, list[float]]] = [defaultdict(list) for _ in kinds]
    for run, row in rows.items():
        for of, seconds in zip(kinds, known, strict=True):
            seconds[of(run)].append(row["seconds"])
    if not rows:
        return None
    return sum(
        median(
            next(like[of(run)] for of, like in zip(kinds, known, strict=True) if of(run) in like)
        )
        for run in todo
    )


def kind(run: Run) -> tuple[str, int, str]:
    """What the time of a run depends on: its arm, k and unit of updates."""
    return run.arm, run.cell.k, run.cell.updates


Task = TypeVar("Task")
Result = TypeVar("Result")


@contextmanager
def executor(
    workers: int, work: Callable[[Task], Result]
) -> Iterator[Callable[[Sequence[Task]], Iterator[tuple[Task, Result]]]]:
    """Provide a function that carries out tasks and yields each with its result as it ends."""
    if workers == 1:
        th.set_num_threads(1)
        yield lambda tasks: ((task, work(task)) for task in tasks)
        return
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(workers, context, _begin) as pool:

        def execute(tasks: Sequence[Task]) -> Iterator[tuple[Task, Result]]:
            futures = {pool.submit(work, task): task for task in tasks}
            try:
                for future in as_completed(futures):
                    yield futures[future], future.result()
            finally:
                for future in futures:
                    future.cancel()

        yield execute


def _begin() -> None:
    """Use one thread, and exit with the parent even if it is killed."""
    th.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Exit as soon as the parent is gone."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
