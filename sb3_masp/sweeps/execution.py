"""Execution of a sweep: what is missing is run, what is there is kept."""

import os
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from macro_gym import MacroSet
from macro_gym.errors import MissingDependencyError
from macro_gym.files import replacing
from sb3_masp import run as training
from sb3_masp.checkpoint import require_restorable
from sb3_masp.run_parts import carried_similarity
from sb3_masp.sweeps.declaration import Sweep, SweepError, SweepRun, each_once
from sb3_masp.sweeps.processes import in_processes
from sb3_masp.sweeps.ray_cluster import on_ray
from sb3_masp.sweeps.results import columns, frames_done, row, status, write_table
from sb3_masp.sweeps.summary import draw_intervals, intervals, table, write_intervals
from sb3_masp.sweeps.worker import is_finished

TABLE = "results.csv"
SUMMARY = "summary.json"
PLOT = "summary.png"


def execute(
    sweep: Sweep,
    *,
    workers: int | None = None,
    ray: str | None = None,
    gpus_per_run: float = 0.0,
    declaration: bytes | None = None,
) -> list[dict[str, Any]]:
    """Run what is unfinished, and write ``results.csv``, ``summary.json`` and ``summary.png``.

    Args:
        sweep: What to run; unfinished runs of an earlier call are resumed.
        workers: Parallel runs on this machine; by default one per core.
        ray: Address of a Ray cluster to run on instead; its nodes must share the folder.
        gpus_per_run: GPUs, or the share of one, that each run gets on the cluster.
        declaration: The file that the sweep was read from, to be kept as ``sweep.toml``.

    Returns:
        The table's rows, in the order of the declaration.

    Raises:
        SweepError: The folder holds runs with other settings; or runs have failed, after all others
            have ended.
    """
    workers = (os.cpu_count() or 1) if workers is None else workers
    if workers < 1:
        raise SweepError(f"workers is {workers}; it must be at least 1")
    require_same(sweep)
    require_buildable(sweep)
    output = sweep.output
    output.mkdir(parents=True, exist_ok=True)
    todo = [run for run in sweep.runs if not is_finished(run.config.folder)]
    if ray is None:
        ticks = in_processes(todo, workers, output)
    else:
        ticks = on_ray(todo, ray, output, gpus_per_run)
    try:
        _watch(sweep, ticks)
    finally:
        rows = [row(run, sweep) for run in sweep.runs]
        write_table(output / TABLE, rows, columns(sweep))
        if declaration is not None:
            with replacing(output / "sweep.toml") as file:
                file.write(declaration)
    _summarise(rows, sweep)
    failed = [run for run in sweep.runs if status(run) == "failed"]
    if failed:
        raise SweepError(
            f"{len(failed)} of {len(sweep.runs)} runs failed; the same command tries them again. "
            + "; ".join(f"{run.config.folder}: {row(run, sweep)['error']}" for run in failed)
        )
    return rows


def plan(sweep: Sweep) -> str:
    """All runs and their status, as text."""
    rows = [
        (run.arm, run.config.env, str(run.config.seed), f"{run.config.frames:,}", status(run))
        for run in sweep.runs
    ]
    table = [("arm", "game", "seed", "frames", "status"), *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in table]
    total = sum(run.config.frames for run in sweep.runs)
    left = total - sum(map(frames_done, sweep.runs))
    return "\n".join([*lines, f"{len(rows)} runs, {total:,} frames, of which {left:,} are to do"])


def require_same(sweep: Sweep) -> None:
    """Reject a declaration that changes the settings of a run that has started.

    Runs may be added and removed.

    Raises:
        SweepError: It changes settings, or a file has changed.
    """
    for run in sweep.runs:
        folder = run.config.folder
        if not (folder / "config.json").exists():
            continue
        before, now = training.read_config(folder), run.config
        if _same_macros(folder, now):
            before = replace(before, macros=now.macros)
        if before != now:
            raise SweepError(
                f"{sweep.source}: {folder} was started with other settings: "
                f"{_differences(before, now)}. A sweep can be given more runs, but those started "
                "cannot change: choose another --output, or remove that folder"
            )
        started_with = training.read_digests(folder)
        for name, digest in training.digests(now).items():
            if name != "macros" and started_with.get(name, digest) != digest:
                raise SweepError(
                    f"{sweep.source}: {folder} was started with another file of {name} than there "
                    "is now. Has the file changed? Then choose another --output"
                )


def require_buildable(sweep: Sweep) -> None:
    """Build each arm's learner and each game's environment once, so that errors come early.

    Raises:
        SweepError: One cannot be built.
    """
    todo = [run for run in sweep.runs if status(run) in ("waiting", "failed")]
    for run in tqdm(list(each_once(todo)), desc="checking arms", delay=2, leave=False):
        try:
            # Graphs need a GPU, which only the workers may have.
            config = replace(run.config, learner=replace(run.config.learner, cuda_graph=False))
            env = training.make_env(config)
            if config.checkpoint_every is not None:
                require_restorable(env)
            carried = carried_similarity(config, env)
            model = training.make_model(config, env, carried and carried[0])
            env.close()
        except Exception as error:  # SB3's and the environments' own, of any kind
            raise SweepError(
                f"{sweep.source}: arm {run.arm!r} on {run.config.env}: {error}"
            ) from error
        _require_macros(sweep, run, model.macro_set)


def _require_macros(sweep: Sweep, run: SweepRun, macros: MacroSet | None) -> None:
    """Reject macros that are not those of the other runs of the same arm and game.

    Raises:
        SweepError: A run was started with others.
    """
    for other in sweep.runs:
        kept = other.config.folder / training.MACRO_SET
        if (other.arm, other.config.env) != (run.arm, run.config.env) or not kept.exists():
            continue
        if macros is None or MacroSet.load(kept).hash != macros.hash:
            raise SweepError(
                f"{sweep.source}: {other.config.folder} was started with other macros than there "
                "are now. Has the file of macros changed? Then choose another --output"
            )


def _watch(sweep: Sweep, ticks: Generator[list[SweepRun], None, None]) -> None:
    """Show one bar for all runs, and keep the table up to date."""
    total = sum(run.config.frames for run in sweep.runs)
    rows = [row(run, sweep) for run in sweep.runs]
    with (
        (
            tqdm(
                total=total,
                initial=sum(map(frames_done, sweep.runs)),
                unit="frame",
                unit_scale=True,
            )
        ) as bar,
        closing(ticks) as generator,
    ):
        bar.set_description(_standing(rows))
        for ended in generator:
            if ended:
                rows = [
                    known if known["status"] == "finished" else row(run, sweep)
                    for known, run in zip(rows, sweep.runs, strict=True)
                ]
                write_table(sweep.output / TABLE, rows, columns(sweep))
                bar.set_description(_standing(rows), refresh=False)
            for run in ended:
                if status(run) == "failed":
                    bar.write(f"failed: {run.config.folder}: {row(run, sweep)['error']}")
            # A resumed run plays again what it played after its last checkpoint.
            bar.update(sum(map(frames_done, sweep.runs)) - bar.n)


def _standing(rows: Sequence[dict[str, Any]]) -> str:
    """How many runs are finished, and how many have failed."""
    counts = Counter(row["status"] for row in rows)
    failed = f", {counts['failed']} failed" if counts["failed"] else ""
    return f"{counts['finished']}/{len(rows)} runs{failed}"


def _summarise(rows: Sequence[dict[str, Any]], sweep: Sweep) -> None:
    """Write, draw and print how arms compare, if the packages for it are installed."""
    try:
        found = intervals(rows)
        if found:
            write_intervals(sweep.output / SUMMARY, found, sweep.last_share)
            draw_intervals(sweep.output / PLOT, found)
            print(table(found))
    except MissingDependencyError as error:
        print(f"No summary: {error}")


def _same_macros(folder: Path, config: training.TrainConfig) -> bool:
    """Whether a macro file, which may have moved, has the macros that the run started with."""
    kept = folder / training.MACRO_SET
    if config.macros is None or not kept.exists() or not config.macros.is_file():
        return False
    return MacroSet.load(kept).hash == MacroSet.load(config.macros).hash


def _differences(before: training.TrainConfig, now: training.TrainConfig) -> str:
    """Which settings differ, and how."""
    first, second = (asdict(c) | asdict(c.learner) for c in (before, now))
    return (
        ", ".join(
            f"{name} was {first[name]} and is {second[name]}"
            for name in first
            if name != "learner" and first[name] != second[name]
        )
        or "the file of macros holds others"
    )
