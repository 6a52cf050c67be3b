"""Plan many episodes, in parallel processes and resumably, with one file per episode."""

import multiprocessing
import os
import signal
from collections.abc import Collection, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from macro_gym.demonstrations.demonstration import Demonstration
from macro_gym.demonstrations.planner import (
    DEFAULTS,
    PlannedGame,
    PlannerSettings,
    describe,
    plan_episode,
    planned_game,
)
from macro_gym.errors import DemonstrationError
from macro_gym.files import require_folder

_steps_done: Any = None
"""In a worker: the counter shared with the process that shows the progress bar."""

_stopping: Any = None
"""In a worker: the event by which that process asks it to stop."""


def plan_play(
    game: str | PlannedGame,
    folder: str | os.PathLike[str],
    steps: int,
    *,
    settings: PlannerSettings = DEFAULTS,
    seed: int = 0,
    skip_seeds: Collection[int] = (),
    workers: int = 1,
    progress_bar: bool = True,
) -> list[Path]:
    """Plan episodes with seeds ``seed``, ``seed + 1``, ... until there are ``steps`` steps.

    Episodes already in ``folder`` are kept; an interrupted one resumes where it stopped. The
    result depends neither on that nor on the number of workers.

    Args:
        game: The game, as in `planned_game`.
        folder: Folder for the episodes, one ``<game>-<seed>.npz`` each.
        steps: Minimum steps of play; the last episode is played to its end, so there may be up to
            ``settings.steps - 1`` more.
        settings: How to search; ``settings.steps`` cuts each episode.
        seed: Seed of the first episode.
        skip_seeds: Seeds to skip: those whose play crashes the emulator, as in some of ale-py's
            Video Chess.
        workers: Number of parallel processes, planning one episode each.
        progress_bar: Whether to show the steps done.

    Returns:
        Paths of the episodes' files, by seed.

    Raises:
        UnknownGameError: There is no such game.
        MissingRomError: stable-retro lacks the game's ROM.
        OutputError: ``folder`` is a file, or within one.
        DemonstrationError: ``folder`` holds play of these seeds with other settings, or an
            argument is out of range.
    """
    from tqdm import tqdm

    for name, value, least in (("steps", steps, 1), ("workers", workers, 1), ("seed", seed, 0)):
        if value < least:
            raise DemonstrationError(f"{name} is {value}; it must be at least {least}")
    game = planned_game(game)
    require_folder(folder)
    context = multiprocessing.get_context("spawn")
    counter = context.Value("q", 0)
    seeds = (number for number in count(seed) if number not in skip_seeds)
    paths: list[Path] = []
    running: set[Future[int]] = set()
    finished = 0
    with (
        tqdm(total=steps, desc=game.key, unit="step", disable=not progress_bar) as bar,
        _pool(workers, context, counter) as pool,
    ):
        while True:
            # An episode has at most settings.steps steps: only one that is surely needed starts.
            while len(running) < workers and finished + len(running) * settings.steps < steps:
                episode = _Episode(game, settings, next(seeds), Path(folder))
                paths.append(episode.path)
                if episode.path.exists():
                    finished += episode.stored_steps()
                    with counter.get_lock():
                        counter.value += episode.stored_steps()
                else:
                    running.add(pool.submit(episode.play))
            bar.update(min(counter.value, steps) - bar.n)
            if not running:
                return paths
            done, running = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
            finished += sum(_result(future) for future in done)


@dataclass(frozen=True, slots=True)
class _Episode:
    """One episode to plan, and the file to write it to."""

    game: PlannedGame
    settings: PlannerSettings
    seed: int
    folder: Path

    @property
    def path(self) -> Path:
        """Path of the finished episode."""
        return self.folder / f"{self.game.key}-{self.seed}.npz"

    def stored_steps(self) -> int:
        """Steps of the finished episode, which must match the request."""
        demonstration = Demonstration.load(self.path)
        wanted = describe(self.game, self.settings)
        if demonstration.source != wanted:
            raise DemonstrationError(
                f"{self.path} holds other play ({demonstration.source}) than is asked for "
                f"({wanted}); delete it, or write to another folder"
            )
        return len(demonstration.actions)

    def play(self) -> int:
        """Plan the episode and save it; return its steps."""
        checkpoint = self.path.with_suffix(".progress.json")
        demonstration = plan_episode(
            self.game, self.settings, self.seed, checkpoint=checkpoint, on_steps=_count
        )
        demonstration.save(self.path)
        checkpoint.unlink(missing_ok=True)
        return len(demonstration.actions)


def _result(episode: Future[int]) -> int:
    """Steps of a planned episode."""
    try:
        return episode.result()
    except BrokenProcessPool as error:
        raise DemonstrationError(
            "a process that planned has died: out of memory, killed, or a crash of the emulator. "
            "Its progress is kept; run the same again to resume. If it dies again in the same "
            "episode, skip that one with skip_seeds"
        ) from error


@contextmanager
def _pool(workers: int, context: Any, counter: Any) -> Iterator[ProcessPoolExecutor]:
    """Pool of processes that stop at their next step when the block fails or is interrupted."""
    stopping = context.Event()
    pool = ProcessPoolExecutor(workers, context, _share, (counter, stopping))
    try:
        yield pool
    except BaseException:
        stopping.set()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _share(counter: Any, stopping: Any) -> None:
    """Store what a new worker shares, and leave Ctrl-C to the process that started it."""
    global _steps_done, _stopping
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _steps_done, _stopping = counter, stopping


def _count(steps: int) -> None:
    """Add to the counter of steps done, and stop if requested."""
    if _stopping.is_set():
        raise KeyboardInterrupt
    with _steps_done.get_lock():
        _steps_done.value += steps
