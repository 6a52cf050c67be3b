"""Measure time and memory of a MASPDQN update over the number of macros, for several forms of Σ.

Every arm runs in its own process, where its memory is measured; arms take turns within each round,
so that a slowdown of the machine affects all of them. Times are processor time, which other work on
the machine affects least; wall time is recorded too.
"""

import multiprocessing as mp
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch as th
import tyro
from stable_baselines3 import DQN
from stable_baselines3.common.logger import configure
from tqdm import tqdm

from benchmarks.report import write_report
from benchmarks.similarity_forms import random_macros
from benchmarks.update import Frames
from macro_gym import MacroAction
from sb3_masp import MASPDQN

PRIMITIVES = 4
NONE = "none (SB3's DQN)"


@dataclass(frozen=True)
class Settings:
    """Size of the measurement.

    Args:
        rounds: Rounds; each arm takes one turn in each.
        updates: Updates of each arm in a turn, at each interval; a multiple of the intervals.
        macros: Numbers of macros, k.
        forms: Forms of Σ; their growth is measured from the first number of macros to the last.
        intervals: Values of meta_interval.
        batch_size: Decisions in a batch.
        decisions: Decisions in the replay buffer.
        threads: Threads of torch.
        output: Where the result goes.
        smoke: Few macros and one round, to check that it runs.
    """

    rounds: int = 5
    updates: int = 4
    macros: tuple[int, ...] = (128, 256, 512, 1024, 4096)
    forms: tuple[str, ...] = (NONE, "softmax", "low_rank", "group_kernel")
    intervals: tuple[int, ...] = (1, 4)
    batch_size: int = 32
    decisions: int = 100
    threads: int = 1
    output: Path = Path("benchmarks/results/similarity_size.json")
    smoke: bool = False


class Turn(NamedTuple):
    """Cost of one turn.

    Args:
        processor: Processor seconds per update.
        wall: Wall seconds per update.
        resident: MB in memory after the turn, minus those before the learner was built.
        peak: Peak of MB in memory so far, likewise.
    """

    processor: float
    wall: float
    resident: float
    peak: float


class Arm:
    """A learner in its own process.

    Args:
        form: Form of Σ, or `NONE`.
        macros: Number of macros, k.
        settings: Size of the measurement.
    """

    def __init__(self, form: str, macros: int, settings: Settings) -> None:
        """Start the process, and wait until the learner is built."""
        context = mp.get_context("forkserver")
        context.set_forkserver_preload(["sb3_masp", "benchmarks.update"])  # imported once
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=work, args=(theirs, form, macros, settings))
        self._process.start()
        theirs.close()  # so that a worker that dies causes an end of file here
        self._pipe.recv()

    def turn(self, interval: int) -> Turn:
        """Take some updates."""
        self._pipe.send(interval)
        return Turn(*self._pipe.recv())

    def __enter__(self) -> "Arm":
        """Return itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """End the process."""
        self._pipe.send(None)
        self._process.join()


def work(pipe: Connection, form: str, macros: int, settings: Settings) -> None:
    """Build a learner, and take a turn for each meta_interval received from the pipe."""
    th.set_num_threads(settings.threads)
    before = megabytes()["VmRSS"]
    model = learner(form, macros, settings.decisions)
    pipe.send("built")
    while (interval := pipe.recv()) is not None:
        model.meta_interval = interval
        model._n_updates -= model._n_updates % interval
        begun = time.process_time(), time.perf_counter()
        model.train(settings.updates, settings.batch_size)
        spent = time.process_time() - begun[0], time.perf_counter() - begun[1]
        now = megabytes()
        pipe.send(
            Turn(
                *(seconds / settings.updates for seconds in spent),
                now["VmRSS"] - before,
                now["VmHWM"] - before,
            )
        )


def learner(form: str, macros: int, decisions: int) -> Any:
    """Build a learner on noise, with a buffer of random decisions and no updates yet."""
    env = MacroAction(Frames(PRIMITIVES), random_macros(PRIMITIVES, macros))
    settings: dict[str, Any] = {
        "buffer_size": decisions,
        "learning_starts": decisions,
        "seed": 0,
        "device": "cpu",
    }
    if form == NONE:
        model: Any = DQN("CnnPolicy", env, **settings)
    else:
        model = MASPDQN("CnnPolicy", env, similarity=form, **settings)
    model.set_logger(configure(None, []))
    return model.learn(decisions)


def megabytes() -> dict[str, float]:
    """Memory of this process in MB, by Linux's names."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return {
        name: int(size.split()[0]) / 1024
        for name, _, size in (line.partition(":") for line in lines)
        if name.startswith("Vm")
    }


def measured(settings: Settings) -> Iterator[list[dict[str, Any]]]:
    """Yield a row per arm and interval after each round, without the first, which is warm-up."""
    keys = [(form, k) for form in settings.forms for k in settings.macros]
    with ExitStack() as stack:
        arms = {
            key: stack.enter_context(Arm(*key, settings))
            for key in tqdm(keys, desc="learners", unit="learner")
        }
        turns: dict[tuple[str, int, int], list[Turn]] = {}
        for number in tqdm(range(1 + settings.rounds), desc="rounds", unit="round"):
            for (form, k), arm in arms.items():
                for interval in settings.intervals:
                    turns.setdefault((form, k, interval), []).append(arm.turn(interval))
            # The first round warms up Adam's state, Σ's, and torch's caches.
            if number:
                yield [row(*key, rounds[1:]) for key, rounds in turns.items()]


def row(form: str, macros: int, interval: int, turns: list[Turn]) -> dict[str, Any]:
    """Row of an arm: seconds of every round, and MB after the last."""
    return {
        "form": form,
        "macros": macros,
        "meta_interval": interval,
        "processor": [turn.processor for turn in turns],
        "wall": [turn.wall for turn in turns],
        "resident": turns[-1].resident,
        "peak": turns[-1].peak,
    }


def growth(rows: list[dict[str, Any]], settings: Settings) -> dict[str, float]:
    """Time of an update at the most macros over that at the fewest, median over rounds."""
    fewest, most = settings.macros[0], settings.macros[-1]
    seconds = {(row["form"], row["macros"], row["meta_interval"]): row["processor"] for row in rows}
    return {
        f"{form}, meta_interval={interval}": median(
            large / small
            for large, small in zip(
                seconds[form, most, interval], seconds[form, fewest, interval], strict=True
            )
        )
        for form in settings.forms
        for interval in settings.intervals
    }


def main(settings: Settings) -> None:
    """Measure, print the times, and write the result."""
    if settings.smoke:
        settings = replace(
            settings,
            rounds=1,
            macros=(11, 23),
            forms=(NONE, "group_kernel"),
            intervals=(4,),
            decisions=40,
        )
    for rows in measured(settings):
        write(rows, settings)  # after each round, since the last may be far off
    for arm in rows:
        print(
            f"{arm['form']:18} k={arm['macros']:5} meta_interval={arm['meta_interval']} "
            f"{median(arm['processor']) * 1e3:8.1f} ms {arm['peak']:7.0f} MB"
        )
    for name, ratio in growth(rows, settings).items():
        print(f"{name:36} {ratio:5.2f}")


def write(rows: list[dict[str, Any]], settings: Settings) -> None:
    """Write the result."""
    write_report(
        settings.output,
        {
            "what": "one update of MASPDQN with Nature CNN: seconds in each round, MB beyond the "
            "imports after the last, and its time at the most macros over that at the fewest",
            "batch_size": settings.batch_size,
            "decisions": settings.decisions,
            "threads": settings.threads,
            "growth": growth(rows, settings),
            "arms": rows,
        },
    )


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
