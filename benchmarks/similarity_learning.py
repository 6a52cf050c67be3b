"""Measure the cost of learning Σ: processor time of an update relative to one with a fixed Σ.

All arms take turns within each round, so that a slowdown of the machine affects all of them; the
result is the median over rounds of each arm's ratio to the fixed Σ in the same round.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
import tyro
from stable_baselines3.common.logger import configure
from tqdm import tqdm

from benchmarks.report import write_report
from benchmarks.update import Frames
from sb3_masp import MASPDQN

FIXED = "fixed Σ"
ARMS: dict[str, dict[str, Any]] = {
    FIXED: {"similarity_frozen": True},
    "meta-learned": {},
    "meta-learned, last layer": {"meta_gradient": "last_layer"},
    "meta-learned, every update": {"meta_interval": 1},
    "meta-learned, outer batch 256": {"outer_batch_size": 256},
    "auxiliary head": {"similarity_learning": "auxiliary"},
    "fixed Σ(s)": {"similarity": "state", "similarity_frozen": True},
    "meta-learned Σ(s)": {"similarity": "state"},
}


@dataclass(frozen=True)
class Settings:
    """Size of the measurement.

    Args:
        rounds: Rounds; each arm takes one turn in each.
        updates: Updates of each arm in a turn; a multiple of 20, so that every turn has the same
            number of outer steps and of updates of Σ from the head.
        actions: Actions of the network: 4 primitives and 128 macros.
        batch_size: Decisions in a batch.
        threads: Threads of torch.
        output: Where the result goes.
        smoke: One round at small sizes, to check that it runs.
    """

    rounds: int = 5
    updates: int = 20
    actions: int = 132
    batch_size: int = 32
    threads: int = 1
    output: Path = Path("benchmarks/results/similarity_learning.json")
    smoke: bool = False


class Memory(Frames):
    """Random observations of 128 numbers, as many as the console's memory has bytes."""

    observation_space = gym.spaces.Box(0, 1, (128,), np.float32)

    def _frames(self) -> np.ndarray:
        return self.np_random.random(128, np.float32)


NETWORKS: dict[str, tuple[str, type[Frames], dict[str, Any]]] = {
    "Nature CNN": ("CnnPolicy", Frames, {}),
    "MLP 256-256": ("MlpPolicy", Memory, {"policy_kwargs": {"net_arch": [256, 256]}}),
}


def learner(network: str, arm: str, settings: Settings) -> MASPDQN:
    """Build a learner with enough decisions to replay."""
    policy, env, kwargs = NETWORKS[network]
    model = MASPDQN(
        policy,
        env(settings.actions),
        buffer_size=1000,
        learning_starts=500,
        train_freq=1,
        seed=0,
        **kwargs,
        **ARMS[arm],
    )
    model.set_logger(configure(None, []))
    return model.learn(500)


def measured(network: str, settings: Settings) -> dict[str, list[float]]:
    """Processor seconds for one update of each arm in each round."""
    learners = {arm: learner(network, arm, settings) for arm in ARMS}
    for model in learners.values():
        model.train(settings.updates, settings.batch_size)
    seconds: dict[str, list[float]] = {arm: [] for arm in ARMS}
    for _ in tqdm(range(settings.rounds), desc=network, unit="round"):
        for arm, model in learners.items():
            start = time.process_time()
            model.train(settings.updates, settings.batch_size)
            seconds[arm].append((time.process_time() - start) / settings.updates)
    return seconds


def table(results: dict[str, Any]) -> str:
    """Render the ratios as a table for the docs."""
    lines = [f"| | {' | '.join(NETWORKS)} |", "|---|---|---|"]
    for arm in ARMS:
        ratios = (f"{results['ratios'][network][arm]:.2f}" for network in NETWORKS)
        lines.append(f"| {arm} | {' | '.join(ratios)} |")
    return "\n".join(lines)


def main(settings: Settings) -> None:
    """Measure, print the ratios, and write the result."""
    if settings.smoke:
        settings = replace(settings, rounds=1, actions=11, batch_size=3)
    th.set_num_threads(settings.threads)
    seconds = {network: measured(network, settings) for network in NETWORKS}
    ratios = {
        network: {
            arm: float(np.median(np.array(times) / np.array(of_arms[FIXED])))
            for arm, times in of_arms.items()
        }
        for network, of_arms in seconds.items()
    }
    for network, of_arms in ratios.items():
        for arm, ratio in of_arms.items():
            milliseconds = np.median(seconds[network][arm]) * 1e3
            print(f"{network:12} {arm:30} {milliseconds:7.1f} ms   {ratio:5.2f}")
    write_report(
        settings.output,
        {
            "what": "processor seconds for one update; ratio: median over rounds to a fixed Σ",
            "batch_size": settings.batch_size,
            "actions": settings.actions,
            "updates": settings.updates,
            "threads": settings.threads,
            "ratios": ratios,
            "seconds": seconds,
        },
    )


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
