"""Parallel runs on this machine, each in its own process."""

import multiprocessing
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from sb3_masp.run import TrainConfig
from sb3_masp.sweeps.declaration import SweepRun
from sb3_masp.sweeps.worker import RETRIES, is_finished, read_state, see_through, write_state

TICK = 0.5
"""Seconds between two checks of the workers' progress."""
PRELOADED = (
    "sb3_masp.sweeps.worker",
    "torch._dynamo",
    "tensorboard",
    "matplotlib.figure",
    "scipy.cluster.hierarchy",
)
"""What every run imports sooner or later; what is not installed is skipped."""


@dataclass
class _Child:
    """A run's process.

    Args:
        run: The run that it works on.
        process: The process.
        deaths: Number of processes that have died on this run before.
    """

    run: SweepRun
    process: ForkServerProcess
    deaths: int


def in_processes(
    runs: Sequence[SweepRun], workers: int, output: Path
) -> Generator[list[SweepRun], None, None]:
    """Complete all runs, ``workers`` at a time.

    A run whose process dies is resumed. If the iteration is left early, the active runs save and
    stop.

    Yields:
        Every half second, the runs that have ended since.
    """
    context = multiprocessing.get_context("forkserver")
    # Child processes start with it loaded, so that a run starts instantly.
    context.set_forkserver_preload(list(PRELOADED))
    waiting = deque((run, 0) for run in runs)
    children: list[_Child] = []
    try:
        while waiting or children:
            while waiting and len(children) < workers:
                run, deaths = waiting.popleft()
                process = context.Process(target=_work, args=(run.config, output))
                process.start()
                children.append(_Child(run, process, deaths))
            wait([child.process.sentinel for child in children], TICK)
            ended = [child for child in children if child.process.exitcode is not None]
            children = [child for child in children if child not in ended]
            again = [child for child in ended if _is_to_be_taken_up(child)]
            waiting.extendleft((child.run, child.deaths + 1) for child in again)
            yield [child.run for child in ended if child not in again]
    finally:
        _stop(children)


def _is_to_be_taken_up(child: _Child) -> bool:
    """Whether to resume the run of a process that died; if it died too often, note the error."""
    folder = child.run.config.folder
    if child.process.exitcode == 0 or is_finished(folder):
        return False
    if child.deaths < RETRIES:
        return True
    error = f"its process died {RETRIES + 1} times, last with exit code {child.process.exitcode}"
    write_state(folder, replace(read_state(folder), error=error))
    return False


def _stop(children: Sequence[_Child]) -> None:
    """Let runs save and stop; at a second Ctrl-C, kill them, which leaves their checkpoints."""
    for child in children:
        with suppress(ProcessLookupError):
            os.kill(child.process.pid or 0, signal.SIGINT)
    try:
        for child in children:
            child.process.join()
    except KeyboardInterrupt:
        for child in children:
            child.process.kill()
        raise


def _work(config: TrainConfig, output: Path) -> None:
    """Complete a run, in a process that ends with its parent or by Ctrl-C."""
    # The terminal's Ctrl-C is for the parent, which passes it on once.
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(KeyboardInterrupt):
        try:
            see_through(config, output)
        except Exception as error:
            traceback.print_exc()
            state = read_state(config.folder)
            write_state(config.folder, replace(state, error=f"{type(error).__name__}: {error}"))


def _end_with_parent() -> None:
    """End as soon as the parent is gone; the next sweep resumes from the checkpoint."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
