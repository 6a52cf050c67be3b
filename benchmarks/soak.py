"""Train for an hour with a full replay buffer, and measure whether memory or speed drift.

`MASPDQN` plays Breakout with 128 macros through ``make_macro_vec_env``, on images. The buffer is
first filled by random play; from then on memory, decisions, updates and processor time, including
those of the environments' processes, are written to a CSV file every few seconds, so that a stopped
soak can be inspected too. It cannot be resumed, since a restart would undo any drift.

Exploration is constant and high, so that the work per decision does not change with what was
learned: long and short macros take the emulator different times.

Throughput is compared between the last minutes and the first after the warm-up, as decisions per
second of wall time, which other work on the machine slows down; per second of processor time, which
it slows down less or not at all; and per time of a fixed piece of work, which is done between
samples in a separate process, since a machine may be fast at first and slow later. Memory is
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
"""Maximum number of samples in the result; the CSV file has all of them."""


@dataclass(frozen=True)
class Settings:
    """Size of the measurement.

    Args:
        minutes: Minutes of learning with a full buffer.
        warm_up: Minutes at their start that are not compared.
        window: Minutes at both ends that are compared.
        interval: Seconds between samples.
        capacity: Decisions in the buffer.
        n_envs: Number of environments.
        k: Number of macros.
        exploration: Constant ε.
        threads: Threads of torch.
        output: Where the result goes; the samples go beside it, as CSV.
        smoke: Seconds on a small buffer, to check that it runs.
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
    """Measurements at one moment.

    Args:
        seconds: Seconds since the first updates, with the buffer full; without the fixed work.
        resident: Bytes of memory of this process.
        resident_of_environments: Bytes of memory of the environments' processes together.
        allocated: Bytes that this process has allocated from its C library; 0 if unknown.
        processor_seconds: Processor seconds of all these processes since they began.
        decisions: Decisions of all environments.
        updates: Updates of the network.
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
    """Takes samples of the processes from the first updates on, when the buffer is full.

    Args:
        settings: Settings of the measurement.
        file: CSV file to which samples are appended.
        bar: Shows decisions until the buffer is full, and seconds from then on.
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
        # Listed before the process of the fixed work starts, which is not counted.
        self._environments = [process.pid for process in multiprocessing.active_children()]
        self._begun: float | None = None
        file.parent.mkdir(parents=True, exist_ok=True)
        self._write([field.name for field in fields(Sample)], "w")

    def _on_step(self) -> bool:
        """Take a sample if due; return False at the end."""
        if not self.model._n_updates:
            self._bar.update(self.training_env.num_envs)
            return True
        if self._begun is None:
            self._work()  # it takes longer the first time
            self._begun = time.perf_counter()
            self._bar.reset(total=round(self._settings.minutes * 60))
            self._bar.set_description("learning, s")
        seconds = time.perf_counter() - self._begun
        if not self.samples or seconds >= self.samples[-1].seconds + self._settings.interval:
            self._take(seconds)
        return seconds < self._settings.minutes * 60 or len(self.samples) < 4

    def _take(self, seconds: float) -> None:
        """Take and write a sample; the clock stops during the fixed work."""
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
        """Append a row to the file, or start it."""
        with self._file.open(mode, newline="") as file:
            csv.writer(file).writerow(row)


def resident(pid: int) -> int:
    """Resident memory of a process in bytes, as counted by Linux."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class Mallinfo2(ctypes.Structure):
    """glibc's statistics of its heaps; see ``man mallinfo2``."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )


def allocated() -> int:
    """Bytes allocated from this process's C library, if it is glibc 2.33 or later; else 0."""
    mallinfo2 = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if mallinfo2 is None:
        return 0
    mallinfo2.restype = Mallinfo2
    found = mallinfo2()
    return int(found.uordblks + found.hblkhd)


def processor_seconds(pid: int) -> float:
    """Processor time of a process and all its threads, as counted by Linux."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system = after_name[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def compared(samples: Sequence[Sample], settings: Settings) -> dict[str, Any]:
    """Compare throughput and memory of the last minutes with the first after the warm-up."""
    window, end = settings.window * 60, samples[-1].seconds
    # At least two, since a smoke test on a busy machine has few.
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
    """Decisions per second of wall time, per second of processor time, and per fixed work.

    The last is the number of decisions in the median time that the fixed work took.
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
    """Train, and return the samples."""
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
    """Run the soak, then print and write its result."""
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
