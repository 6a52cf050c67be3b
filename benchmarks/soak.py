"""Learn for an hour with a full replay buffer, and see whether memory or speed drift.

`MASPDQN` plays Breakout with 128 macros through ``make_macro_vec_env``, on images. The buffer is
filled first, by random play; from then on memory, decisions, updates and processor time, those of
the environments' processes included, are written to a CSV file every few seconds, so that also a
soak that was stopped can be looked at. It cannot be resumed: what it is to find would be gone.

Exploration stays where it is set, high, so that the work of a decision does not change with what
was learned: long macros and short ones take the emulator different times.

Throughput is compared between the last minutes and the first after the warm-up, as decisions per
second of the clock, which whatever else the machine does slows down; per second of processor time,
which it does not, or less; and in the time that always the same work takes, which is done between
samples in a process of its own, since a machine may be fast at first and slow later. Memory is
compared by its medians over the same minutes.
"""

import csv
import ctypes
import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, astuple, dataclass, fields, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch as th
import tyro
from stable_baselines3.common.callbacks import BaseCallback
from tqdm import tqdm

from benchmarks.fixed_work import fixed_work
from benchmarks.report import write_report
from sb3_masp import MASPDQN, make_macro_vec_env

POINTS = 240
"""At most so many samples are in the result; all are in the CSV file."""


@dataclass(frozen=True)
class Settings:
    """Size of the measurement.

    Args:
        minutes: Of learning with a full buffer.
        warm_up: Minutes of those that are not compared.
        window: Minutes at both ends that are compared.
        interval: Seconds between samples.
        capacity: Decisions in the buffer.
        n_envs: Environments.
        k: Macros.
        exploration: ε, throughout.
        threads: Threads of torch.
        output: Where the result goes; the samples go beside it, as CSV.
        smoke: Seconds on a small buffer, to see that it runs.
    """

    minutes: float = 60.0
    warm_up: float = 5.0
    window: float = 10.0
    interval: float = 5.0
    capacity: int = 100_000
    n_envs: int = 16
    k: int = 128
    exploration: float = 0.95
    threads: int = 2
    output: Path = Path("benchmarks/results/soak.json")
    smoke: bool = False

    def __post_init__(self) -> None:
        """Check that there is something to compare."""
        if self.minutes < self.warm_up + 2 * self.window:
            raise ValueError(
                f"--minutes is {self.minutes}; it must be at least --warm-up and twice --window, "
                f"{self.warm_up + 2 * self.window}"
            )


@dataclass(frozen=True)
class Sample:
    """What was found at a moment.

    Args:
        seconds: Since the first updates, for which the buffer was full; without the fixed work's.
        resident: Bytes of memory of this process.
        resident_of_environments: Of the processes that step environments, together.
        allocated: Bytes of this process that its C library has given out; 0 where it does not tell.
        processor_seconds: Of all of them, since they began.
        decisions: Of all environments.
        updates: Of the network.
        fixed_work: Seconds that `benchmarks.fixed_work` took.
    """

    seconds: float
    resident: int
    resident_of_environments: int
    allocated: int
    processor_seconds: float
    decisions: int
    updates: int
    fixed_work: float

    @property
    def memory(self) -> int:
        """Bytes of memory of all processes."""
        return self.resident + self.resident_of_environments


class Sampling(BaseCallback):
    """Samples what the processes take, from the first updates on, when the buffer is full.

    Args:
        settings: How often, and for how long.
        file: Where samples are written as they come.
        bar: Shows decisions until the buffer is full and seconds from then on.
        work: Does the fixed work and returns the seconds that it took.
    """

    def __init__(
        self, settings: Settings, file: Path, bar: "tqdm[Any]", work: Callable[[], float]
    ) -> None:
        """Write the header."""
        super().__init__()
        self.samples: list[Sample] = []
        self._settings = settings
        self._file = file
        self._bar = bar
        self._work = work
        # Before the work's process begins, which is not counted.
        self._environments = [process.pid for process in multiprocessing.active_children()]
        self._begun: float | None = None
        file.parent.mkdir(parents=True, exist_ok=True)
        self._write([field.name for field in fields(Sample)], "w")

    def _on_step(self) -> bool:
        """Take a sample if it is time; False at the end."""
        if not self.model._n_updates:
            self._bar.update(self.training_env.num_envs)
            return True
        if self._begun is None:
            self._work()  # the first time, it takes longer
            self._begun = time.perf_counter()
            self._bar.reset(total=round(self._settings.minutes * 60))
            self._bar.set_description("learning, s")
        seconds = time.perf_counter() - self._begun
        if not self.samples or seconds >= self.samples[-1].seconds + self._settings.interval:
            self._take(seconds)
        return seconds < self._settings.minutes * 60 or len(self.samples) < 4

    def _take(self, seconds: float) -> None:
        """Write a sample; the fixed work stops the clock."""
        fixed_work = self._work()
        self._begun = time.perf_counter() - seconds
        sample = Sample(
            seconds=round(seconds, 3),
            resident=resident(os.getpid()),
            resident_of_environments=sum(map(resident, self._environments)),
            allocated=allocated(),
            processor_seconds=round(
                sum(map(processor_seconds, [os.getpid(), *self._environments])), 2
            ),
            decisions=self.num_timesteps,
            updates=self.model._n_updates,
            fixed_work=round(fixed_work, 5),
        )
        self.samples.append(sample)
        self._write(astuple(sample), "a")
        self._bar.update(min(round(seconds), self._bar.total) - self._bar.n)
        self._bar.set_postfix(MiB=sample.memory >> 20, updates=sample.updates, refresh=False)

    def _write(self, row: Sequence[Any], mode: str) -> None:
        """Add a row to the file, or begin it."""
        with self._file.open(mode, newline="") as file:
            csv.writer(file).writerow(row)


def resident(pid: int) -> int:
    """Bytes of memory in which a process is, as Linux counts them."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class Mallinfo2(ctypes.Structure):
    """What glibc tells of its heaps; see ``man mallinfo2``."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )


def allocated() -> int:
    """Bytes that this process's C library has given out, if it is glibc 2.33 or later; else 0."""
    mallinfo2 = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if mallinfo2 is None:
        return 0
    mallinfo2.restype = Mallinfo2
    found = mallinfo2()
    return int(found.uordblks + found.hblkhd)


def processor_seconds(pid: int) -> float:
    """Processor time of a process and all its threads, as Linux counts it."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system = after_name[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def compared(samples: Sequence[Sample], settings: Settings) -> dict[str, Any]:
    """Throughputs and memory of the last minutes beside those of the first after the warm-up."""
    window, end = settings.window * 60, samples[-1].seconds
    # Two at least: on a busy machine a smoke test has few.
    warm = [sample for sample in samples[:-2] if sample.seconds >= settings.warm_up * 60]
    warm = warm if len(warm) > 1 else list(samples[:2])
    first = warm[: max(2, sum(s.seconds <= warm[0].seconds + window for s in warm))]
    last = samples[-max(2, sum(s.seconds >= end - window for s in samples)) :]
    speeds = [throughput(part) for part in (first, last)]
    memories = [median(sample.memory for sample in part) for part in (first, last)]
    held = [median(sample.allocated for sample in part) for part in (first, last)]
    return {
        "memory_drift_percent": 100 * (memories[1] / memories[0] - 1),
        "allocated_drift_percent": 100 * (held[1] / held[0] - 1) if held[0] else 0.0,
        "throughput_ratio": {unit: speeds[1][unit] / speeds[0][unit] for unit in speeds[0]},
        "first": speeds[0] | {"memory": memories[0], "allocated": held[0]},
        "last": speeds[1] | {"memory": memories[1], "allocated": held[1]},
        "peak_memory": max(sample.memory for sample in samples),
        "updates": samples[-1].updates - samples[0].updates,
        "decisions": samples[-1].decisions - samples[0].decisions,
    }


def throughput(samples: Sequence[Sample]) -> dict[str, float]:
    """Decisions over ``samples`` per second of the clock and of processor time, and by fixed work.

    The last is what is made in the time in which the fixed work is done once, by its median.
    """
    first, last = samples[0], samples[-1]
    decisions = last.decisions - first.decisions
    second = decisions / (last.seconds - first.seconds)
    return {
        "second": second,
        "processor second": decisions / (last.processor_seconds - first.processor_seconds),
        "fixed work": second * median(sample.fixed_work for sample in samples),
    }


def soak(settings: Settings) -> list[Sample]:
    """Learn, and return what was found."""
    th.set_num_threads(settings.threads)
    env = make_macro_vec_env("Breakout", settings.n_envs, seed=0, k=settings.k)
    model = MASPDQN(
        "CnnPolicy",
        env,
        buffer_size=settings.capacity,
        learning_starts=settings.capacity,
        target_update_interval=1_000,
        exploration_initial_eps=settings.exploration,
        exploration_final_eps=settings.exploration,
        seed=0,
        device="cpu",
    )
    total = settings.capacity
    with tqdm(desc="filling the buffer", total=total, unit_scale=True) as bar, fixed_work() as work:
        sampling = Sampling(settings, settings.output.with_suffix(".csv"), bar, work)
        model.learn(10**12, callback=sampling)
    env.close()
    return sampling.samples


def main(settings: Settings) -> None:
    """Soak, print what came of it and write it."""
    if settings.smoke:
        settings = replace(
            settings,
            minutes=0.15,
            warm_up=0.02,
            window=0.06,
            interval=0.5,
            capacity=300,
            n_envs=2,
            threads=1,
        )
    samples = soak(settings)
    result = compared(samples, settings)
    for name in ("memory_drift_percent", "throughput_ratio"):
        print(name, result[name])
    shown = samples[:: max(1, -(-len(samples) // POINTS))]
    about = {name: value for name, value in asdict(settings).items() if name != "output"}
    points = {field.name: [getattr(s, field.name) for s in shown] for field in fields(Sample)}
    write_report(settings.output, {"settings": about} | result | {"samples": points})


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
