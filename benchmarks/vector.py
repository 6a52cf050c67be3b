"""Time several ways to step 16 environments with macros on all cores, against one environment.

All ways (described in `benchmarks.vector_bases`) take turns within each round, so that a slowdown
of the machine affects all of them. A turn has two figures: emulator frames per second of wall time,
which is what counts but needs an idle machine, and per second of processor time over all processes,
which shows the cost even on a busy machine. Ratios are medians over rounds to one MacroALE
environment in the same round. Macros are either random ones of length 8, or those of the shipped
bank, of mixed lengths. Resets count as time but not as frames.

EnvPool takes part if it is installed (``pip install envpool``).
"""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from tqdm import tqdm

from benchmarks.report import write_report
from benchmarks.stepping import FRAMESKIP, random_macros
from benchmarks.vector_bases import Base, bases
from macro_gym import MacroSet
from macro_gym.banks import load_bank

ONE = "one MacroALE"
ALE = "ale-py's AtariVectorEnv, primitives"


@dataclass(frozen=True)
class Settings:
    """Size of the measurement.

    Args:
        rounds: Rounds; each way takes one turn in each.
        decisions: Decisions of each environment in a turn.
        n_envs: Number of environments.
        seed: Seed of the actions and the random macros.
        output: Where the result goes.
        smoke: Two short rounds, to check that it runs.
    """

    rounds: int = 11
    decisions: int = 16
    n_envs: int = 16
    seed: int = 0
    output: Path = Path("benchmarks/results/vector.json")
    smoke: bool = False


@dataclass(frozen=True)
class Turn:
    """Result of a turn.

    Args:
        frames: Emulator frames.
        seconds: Wall time.
        processor_seconds: Processor time of all processes.
    """

    frames: int
    seconds: float
    processor_seconds: float


def turns(base: Base, macros: MacroSet, settings: Settings) -> Iterator[Turn]:
    """Turns of random decisions, the same for every base."""
    rng = np.random.default_rng(settings.seed)
    first = len(macros.primitives)
    while True:
        shape = (settings.decisions, settings.n_envs)
        actions = rng.integers(first, macros.n_actions, size=shape)
        if base.whole_turns:
            actions = actions.reshape(1, -1)
        wall, processor = time.perf_counter(), processor_time(base)
        primitives = sum(int(base.decide(row).sum()) for row in actions)
        wall, processor = time.perf_counter() - wall, processor_time(base) - processor
        yield Turn(FRAMESKIP * primitives, wall, processor)


def processor_time(base: Base) -> float:
    """Processor seconds so far of this process and those of ``base``."""
    # A process's clock, as clock_getcpuclockid(3) numbers it on Linux.
    others = (time.clock_gettime((~pid << 3) | 2) for pid in base.pids)
    return time.process_time() + sum(others)


def measure(name: str, macros: MacroSet, settings: Settings) -> dict[str, Any]:
    """Let all ways take turns with ``macros``; return rates and ratios."""
    n_cores = len(os.sched_getaffinity(0))
    made = {way: make(macros) for way, make in bases(settings.n_envs, n_cores).items()}
    takers = {way: partial(next, turns(base, macros, settings)) for way, base in made.items()}
    for take in takers.values():
        take()
    taken: dict[str, list[Turn]] = {way: [] for way in takers}
    for _ in tqdm(range(settings.rounds), desc=name, unit="round"):
        for way, take in takers.items():
            taken[way].append(take())
    for base in made.values():
        base.close()
    wall = {way: np.array([t.frames / t.seconds for t in ts]) for way, ts in taken.items()}
    processor = {
        way: np.array([t.frames / t.processor_seconds for t in ts]) for way, ts in taken.items()
    }
    return {
        "ratios": _medians(wall, ONE),
        "processor_ratios": _medians(processor, ONE),
        "ratios_to_ale_vector": _medians(wall, ALE),
        "frames_per_second": {way: rates.tolist() for way, rates in wall.items()},
        "frames_per_processor_second": {way: rates.tolist() for way, rates in processor.items()},
    }


def _medians(rates: dict[str, Any], base: str) -> dict[str, float]:
    """Median ratio over rounds to ``base``."""
    return {way: float(np.median(values / rates[base])) for way, values in rates.items()}


def main(settings: Settings) -> None:
    """Measure, print the ratios, and write the result."""
    if settings.smoke:
        settings = replace(settings, rounds=2, decisions=2, n_envs=3)
    names = random_macros(8, settings.seed).primitives
    load_average = os.getloadavg()[0]
    loads = {
        "random macros of length 8": random_macros(8, settings.seed),
        "the bank's macros": load_bank("breakout").remap(names).top(128),
    }
    results = {name: measure(name, macros, settings) for name, macros in loads.items()}
    for name, result in results.items():
        print(f"\n{name}: frames/s, times one; the same per second of processor time")
        for way, ratio in result["ratios"].items():
            rate = np.median(result["frames_per_second"][way])
            print(f"{way:38} {rate:8.0f} {ratio:6.2f} {result['processor_ratios'][way]:6.2f}")
    write_report(
        settings.output,
        {
            "what": "emulator frames per second; ratios: medians over rounds to one environment",
            "n_envs": settings.n_envs,
            "rounds": settings.rounds,
            "cores": len(os.sched_getaffinity(0)),
            "load_average_before": load_average,
            "loads": results,
        },
    )


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
