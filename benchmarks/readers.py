"""Time reading Atari Grand Challenge's text against Python's ``csv``.

The files are synthetic and as long as those of version 2 on average: a row per frame, held actions,
a cumulative score. The readers take turns within each round; the result is the median over rounds.
"""

import csv
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tyro
from tqdm import tqdm

from benchmarks.report import write_report
from macro_gym.demonstrations.atari_grand_challenge import read_atari_grand_challenge

ROWS_OF_VERSION_2 = 17_140_167
Read = Callable[[Path], tuple[int, int, float]]
"""Reads a dataset; returns its row count, the sum of its actions and the sum of its rewards."""


@dataclass(frozen=True)
class Settings:
    """Size of the measurement.

    Args:
        rounds: Rounds; each reader takes one turn in each.
        files: Trajectories.
        rows: Rows in a trajectory; 4001 is the mean of version 2.
        output: Where the result goes.
        smoke: Two short rounds, to check that it runs.
    """

    rounds: int = 11
    files: int = 100
    rows: int = 4001
    output: Path = Path("benchmarks/results/readers.json")
    smoke: bool = False


def write_dataset(folder: Path, files: int, rows: int) -> None:
    """Write synthetic trajectories of Q*bert."""
    rng = np.random.default_rng(0)
    game = folder / "trajectories" / "qbert"
    game.mkdir(parents=True)
    for number in range(files):
        rewards = rng.choice([0, 25, 300], size=rows, p=[0.98, 0.015, 0.005])
        actions = np.repeat(rng.integers(6, size=rows // 7 + 1), 7)[:rows]
        columns = (np.arange(rows), rewards, rewards.cumsum(), np.zeros(rows, int), actions)
        lines = (",".join(map(str, row)) for row in np.transpose(columns).tolist())
        head = (f"db traj id : {number}", "frame,reward,score,terminal,action")
        (game / f"{number}.txt").write_text("\n".join([*head, *lines, ""]))


def with_macro_gym(folder: Path) -> tuple[int, int, float]:
    """Read with macro-gym: every column checked, one demonstration per episode."""
    plays = list(read_atari_grand_challenge(folder))
    return (
        sum(len(play.actions) for play in plays),
        sum(int(play.actions.sum()) for play in plays),
        sum(play.score for play in plays),
    )


def with_csv(folder: Path) -> tuple[int, int, float]:
    """Read with ``csv.reader``: actions and rewards as numbers, nothing checked."""
    n_rows, actions_sum, score = 0, 0, 0.0
    for path in folder.rglob("*.txt"):
        with open(path, newline="") as file:
            next(file)
            next(file)
            actions, rewards = [], []
            for row in csv.reader(file):
                actions.append(int(row[4]))
                rewards.append(float(row[1]))
        n_rows += len(actions)
        actions_sum += int(np.array(actions, dtype=np.uint8).sum())
        score += float(np.array(rewards, dtype=np.float32).sum())
    return n_rows, actions_sum, score


READERS: dict[str, Read] = {"macro-gym": with_macro_gym, "csv.reader": with_csv}


def main(settings: Settings) -> None:
    """Measure, print rows per second, and write the result."""
    if settings.smoke:
        settings = replace(settings, rounds=2, files=3)
    speeds: dict[str, list[float]] = {name: [] for name in READERS}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_dataset(folder, settings.files, settings.rows)
        results = {name: read(folder) for name, read in READERS.items()}
        if len(set(results.values())) > 1:
            raise RuntimeError(f"the readers disagree: {results}")
        for _ in tqdm(range(settings.rounds), desc="rounds", unit="round"):
            for name, read in READERS.items():
                start = time.perf_counter()
                rows, _, _ = read(folder)
                speeds[name].append(rows / (time.perf_counter() - start))
    medians = {name: float(np.median(values)) for name, values in speeds.items()}
    ratio = float(np.median(np.divide(speeds["macro-gym"], speeds["csv.reader"])))
    for name, speed in medians.items():
        print(f"{name:12} {speed:12,.0f} rows/s   all of v2 in {ROWS_OF_VERSION_2 / speed:6.1f} s")
    print(f"macro-gym is {ratio:.1f} times as fast")
    write_report(
        settings.output,
        {
            "what": "rows of Atari Grand Challenge text read per second, one core; ratio: median "
            "over rounds to csv.reader's",
            "files": settings.files,
            "rows_per_file": settings.rows,
            "rows_per_second": medians,
            "ratio": ratio,
            "rounds": speeds,
        },
    )


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
