"""Time ``import macro_gym`` with and without registering stable-retro's thousand games.

Fresh processes with and without them take turns; Gymnasium and NumPy are imported before timing.
"""

import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import tyro
from tqdm import tqdm

from benchmarks.report import write_report

ARMS = {"with stable-retro": "", "without": "sys.modules['stable_retro'] = None"}
CODE = """
import sys, time
import gymnasium, numpy
{before}
begun = time.perf_counter()
import macro_gym
print(time.perf_counter() - begun)
"""


@dataclass(frozen=True)
class Settings:
    """Size of the measurement.

    Args:
        rounds: Processes of each kind.
        output: Where the result goes.
        smoke: Two of each, to check that it runs.
    """

    rounds: int = 21
    output: Path = Path("benchmarks/results/import_time.json")
    smoke: bool = False


def import_seconds(before: str) -> float:
    """Seconds that the import takes in a fresh process, after running ``before``."""
    command = [sys.executable, "-c", CODE.format(before=before)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main(settings: Settings) -> None:
    """Measure, print the medians, and write the result."""
    rounds = 2 if settings.smoke else settings.rounds
    settings = replace(settings, rounds=rounds)
    seconds: dict[str, list[float]] = {arm: [] for arm in ARMS}
    for _ in tqdm(range(settings.rounds), unit="round"):
        for arm, before in ARMS.items():
            seconds[arm].append(import_seconds(before))
    medians = {arm: median(times) for arm, times in seconds.items()}
    for arm, time in medians.items():
        print(f"{arm:20} {time * 1e3:6.1f} ms")
    more = median(a - b for a, b in zip(*seconds.values(), strict=True))
    write_report(settings.output, {"medians": medians, "difference": more, "seconds": seconds})


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
