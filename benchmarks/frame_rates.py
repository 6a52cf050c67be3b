"""Compare the frame rates of several ways to step a game, which take turns in one run."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np
from tqdm import tqdm

from benchmarks.report import write_report

Turn: TypeAlias = tuple[int, float]
"""Emulator frames of a turn, and the seconds that they took."""


def compare(
    contestants: Mapping[str, Callable[[], Turn]],
    bare: str,
    *,
    rounds: int,
    frames: int,
    output: Path,
) -> None:
    """Let all take a turn in each round; print and write their rates relative to that of ``bare``.

    A first turn of each is not counted.

    Args:
        contestants: Functions that take one turn, by name.
        bare: The contestant that the others are compared with.
        rounds: Rounds.
        frames: Emulator frames in a turn.
        output: Where the result goes.
    """
    for turn in contestants.values():
        turn()
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in tqdm(range(rounds), desc="rounds", unit="round"):
        for name, turn in contestants.items():
            ran, seconds = turn()
            rates[name].append(ran / seconds)
    of_bare = np.array(rates[bare])
    ratios = {name: float(np.median(np.array(rate) / of_bare)) for name, rate in rates.items()}
    for name, ratio in ratios.items():
        print(f"{name:45} {np.median(rates[name]):8.0f} frames/s   {ratio:5.3f}")
    write_report(
        output,
        {
            "what": f"emulator frames per second; ratio: median over rounds to {bare}",
            "frames_per_turn": frames,
            "rounds": rounds,
            "ratios": ratios,
            "frames_per_second": rates,
        },
    )
