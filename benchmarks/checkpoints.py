"""Measure the size of checkpoints, and the time to write and to load one.

Random play of Breakout with 128 macros fills the replay buffer; then one checkpoint is written and
read several times.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import gymnasium as gym
import torch as th
import tyro
from tqdm import tqdm

from benchmarks.report import write_report
from sb3_masp import MASPDQN
from sb3_masp.checkpoint import load_checkpoint, save_checkpoint
from sb3_masp.memory import readable

ARMS: dict[str, dict[str, Any]] = {
    "screens": {"obs_type": "grayscale", "compress": None},
    "screens, not compressed": {"obs_type": "grayscale", "compress": False},
    "console's memory": {"obs_type": "ram", "compress": None},
}


@dataclass(frozen=True)
class Settings:
    """Size of the measurement.

    Args:
        decisions: Decisions in the replay buffer.
        rounds: Times that each checkpoint is written and read; medians are reported.
        threads: Threads of torch.
        output: Where the result goes.
        smoke: Run a tiny size, only to check that the script works.
    """

    decisions: int = 10_000
    rounds: int = 3
    threads: int = 1
    output: Path = Path("benchmarks/results/checkpoints.json")
    smoke: bool = False


def measure(settings: Settings, obs_type: str, compress: bool | None) -> dict[str, float]:
    """Fill a buffer, and write and read checkpoints of it."""
    model = MASPDQN(
        "CnnPolicy" if obs_type == "grayscale" else "MlpPolicy",
        gym.make("MacroALE/Breakout-v5", obs_type=obs_type),
        buffer_size=settings.decisions,
        learning_starts=settings.decisions,
        replay_buffer_kwargs={"compress": compress},
        device="cpu",
        seed=0,
    ).learn(settings.decisions + 40)  # some updates, so that the optimizer has a state
    costs, loads = [], []
    with TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.pkl"
        for _ in range(settings.rounds):
            costs.append(save_checkpoint(path, model, {}))
            begun = perf_counter()
            load_checkpoint(path, "cpu")
            loads.append(perf_counter() - begun)
    return {
        "bytes": costs[-1].nbytes,
        "seconds_to_write": median(cost.seconds for cost in costs),
        "seconds_to_load": median(loads),
    }


def table(result: dict[str, Any]) -> str:
    """The table in docs/runs.md."""
    rows = [
        f"| {name} | {readable(arm['bytes'])} | {arm['seconds_to_write']:.2f} s "
        f"| {arm['seconds_to_load']:.2f} s |"
        for name, arm in result["checkpoints"].items()
    ]
    decisions = f"{result['settings']['decisions']:,} decisions of Breakout"
    return "\n".join([f"| {decisions} | size | to write | to load |", "|---|---|---|---|", *rows])


def main(settings: Settings) -> None:
    """Measure every arm and write the result."""
    if settings.smoke:
        settings = replace(settings, decisions=200, rounds=1)
    th.set_num_threads(settings.threads)
    arms = {name: measure(settings, **arm) for name, arm in tqdm(ARMS.items(), unit="arm")}
    write_report(
        settings.output, {"settings": {"decisions": settings.decisions}, "checkpoints": arms}
    )
    print(table(json.loads(settings.output.read_text())))


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
