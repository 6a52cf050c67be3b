"""Runs on a Ray cluster, whose nodes share the sweep's folder; ray is loaded only here."""

import os
import socket
from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path

from macro_gym.errors import MissingDependencyError
from sb3_masp.sweeps.declaration import SweepError, SweepRun
from sb3_masp.sweeps.processes import TICK
from sb3_masp.sweeps.worker import RETRIES, is_finished, read_state, see_through, write_state


def on_ray(
    runs: Sequence[SweepRun], address: str, output: Path, gpus_per_run: float = 0.0
) -> Generator[list[SweepRun], None, None]:
    """Complete all runs, as many at a time as the cluster has CPUs for their threads.

    A run whose worker or node dies is resumed, maybe elsewhere. If the iteration is left early, the
    active runs save and stop.

    Args:
        runs: The runs, whose folders are absolute.
        address: Address of the cluster's head, ``HOST:PORT``, or ``"auto"``.
        output: Folder of the sweep.
        gpus_per_run: GPUs, or the share of one, that each run gets.

    Yields:
        Every half second, the runs that have ended since.

    Raises:
        MissingDependencyError: ray is not installed.
        SweepError: There is no cluster at the address.
    """
    try:
        # No usage statistics, unless the user wants them.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray
    except ImportError as error:
        raise MissingDependencyError(
            "sweeps on a cluster need: pip install 'macro-gym[ray]', on every node"
        ) from error
    _require_answer(address)
    try:
        ray.init(address=address, log_to_driver=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise SweepError(f"no Ray cluster could be reached at {address}: {error}") from error
    task = ray.remote(max_retries=RETRIES)(see_through)
    tasks = {}
    try:
        for run in runs:
            resources = {"num_cpus": run.config.threads, "num_gpus": gpus_per_run}
            tasks[task.options(**resources).remote(run.config, output)] = run
        while tasks:
            ready, _ = ray.wait(list(tasks), num_returns=len(tasks), timeout=TICK)
            for reference in ready:
                try:
                    ray.get(reference)
                except ray.exceptions.RayError as error:
                    _note(tasks[reference], str(error).strip().splitlines()[-1])
            yield [_seen(tasks.pop(reference), output) for reference in ready]
    finally:
        for reference in tasks:
            ray.cancel(reference)
        ray.wait(list(tasks), num_returns=len(tasks), timeout=60) if tasks else None
        ray.shutdown()


def _require_answer(address: str) -> None:
    """Reject an address at which nobody listens, for which Ray would wait for minutes.

    Raises:
        SweepError: Nobody listens at the address.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdigit():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
        except OSError as error:
            raise SweepError(f"nobody answers at {address}, Ray's address: {error}") from error


def _seen(run: SweepRun, output: Path) -> SweepRun:
    """A run that has ended; note an error if this machine sees nothing of it."""
    if not is_finished(run.config.folder) and not read_state(run.config.folder).error:
        _note(run, f"it has ended on its node, but {output} here shows nothing: is it shared?")
    return run


def _note(run: SweepRun, error: str) -> None:
    """Note the error that ended a run."""
    write_state(run.config.folder, replace(read_state(run.config.folder), error=error))
