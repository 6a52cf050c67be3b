"""Time one MASPDQN update against SB3's DQN update and against double backward.

All arms take turns within each round, so that a slowdown of the machine affects all of them; the
result is the median over rounds of each arm's ratio to SB3's DQN in the same round, in processor
time, which excludes other work on the machine, and in wall time.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
import tyro
from stable_baselines3 import DQN
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import configure
from tqdm import tqdm

from benchmarks.double_backward import double_backward_gradient
from benchmarks.report import write_report
from sb3_masp import MASPDQN


@dataclass(frozen=True)
class Settings:
    """Size of the measurement.

    Args:
        rounds: Rounds; each arm takes one turn in each.
        updates: Updates of each arm in a turn; a multiple of 4, the longest meta_interval.
        actions: Actions of the network: 4 primitives and 128 macros.
        batch_size: Decisions in a batch.
        threads: Threads of torch.
        output: Where the result goes.
        smoke: Two short rounds, to check that it runs.
    """

    rounds: int = 15
    updates: int = 12
    actions: int = 132
    batch_size: int = 32
    threads: int = 1
    output: Path = Path("benchmarks/results/update.json")
    smoke: bool = False


class Frames(gym.Env[np.ndarray, np.int64]):
    """Random stacks of four frames and random rewards, so that no emulator is timed."""

    observation_space = gym.spaces.Box(0, 255, (4, 84, 84), np.uint8)

    def __init__(self, n_actions: int) -> None:
        """Set the number of actions."""
        self.action_space = gym.spaces.Discrete(n_actions)

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Return noise."""
        super().reset(seed=seed)
        return self._frames(), {}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Return noise."""
        return self._frames(), float(self.np_random.normal()), False, False, {}

    def _frames(self) -> np.ndarray:
        return self.np_random.integers(0, 256, (4, 84, 84), np.uint8)


def arms(settings: Settings) -> dict[str, Callable[[], None]]:
    """Each arm as a function that does ``settings.updates`` updates."""

    def make(kind: type[DQN], **kwargs: Any) -> BaseAlgorithm:
        env = Frames(settings.actions)
        model = kind("CnnPolicy", env, buffer_size=1000, learning_starts=500, seed=0, **kwargs)
        model.set_logger(configure(None, []))
        return model.learn(500)

    def updates(model: Any) -> Callable[[], None]:
        return lambda: model.train(settings.updates, settings.batch_size)

    def assign(parameters: Any, gradients: list[th.Tensor]) -> None:
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient

    def double_backward(model: Any) -> Callable[[], None]:
        def run() -> None:
            for _ in range(settings.updates):
                inner, outer = (model._sample(settings.batch_size) for _ in range(2))
                meta_gradients, gradients = double_backward_gradient(model, inner, outer)
                assign(model.q_net.parameters(), gradients)
                model.policy.optimizer.step()
                assign(model.similarity.parameters(), meta_gradients)
                model.similarity_learning.optimizer.step()

        return run

    return {
        "SB3 DQN": updates(make(DQN)),
        "penalty, frozen Σ": updates(make(MASPDQN, embedding_dim=0, similarity_frozen=True)),
        "meta_interval=1": updates(make(MASPDQN, embedding_dim=0, meta_interval=1)),
        "meta_interval=4": updates(make(MASPDQN, embedding_dim=0, meta_interval=4)),
        "meta_interval=1, conditioned": updates(make(MASPDQN, meta_interval=1)),
        "meta_interval=4, conditioned": updates(make(MASPDQN, meta_interval=4)),
        "meta_interval=1, batches shared": updates(
            make(MASPDQN, embedding_dim=0, meta_interval=1, similarity_learning="meta_shared")
        ),
        "meta_interval=4, batches shared": updates(
            make(MASPDQN, embedding_dim=0, meta_interval=4, similarity_learning="meta_shared")
        ),
        "meta_interval=1, conditioned, batches shared": updates(
            make(MASPDQN, meta_interval=1, similarity_learning="meta_shared")
        ),
        "meta_interval=1, last layer": updates(
            make(MASPDQN, embedding_dim=0, meta_interval=1, meta_gradient="last_layer")
        ),
        "double backward": double_backward(make(MASPDQN, embedding_dim=0, meta_interval=1)),
    }


def to_sb3(seconds: dict[str, list[float]]) -> dict[str, float]:
    """Median over rounds of each arm's ratio to SB3's DQN in the same round."""
    base = np.array(seconds["SB3 DQN"])
    return {name: float(np.median(np.array(times) / base)) for name, times in seconds.items()}


def main(settings: Settings) -> None:
    """Measure, print the ratios, and write the result."""
    rounds, updates = (2, 4) if settings.smoke else (settings.rounds, settings.updates)
    settings = Settings(**{**vars(settings), "rounds": rounds, "updates": updates})
    th.set_num_threads(settings.threads)
    contestants = arms(settings)
    for run in contestants.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    wall_seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in tqdm(range(settings.rounds), desc="rounds", unit="round"):
        for name, run in contestants.items():
            start, wall_start = time.process_time(), time.perf_counter()
            run()
            wall_seconds[name].append((time.perf_counter() - wall_start) / settings.updates)
            seconds[name].append((time.process_time() - start) / settings.updates)
    ratios, wall_ratios = to_sb3(seconds), to_sb3(wall_seconds)
    for name, ratio in ratios.items():
        milliseconds = np.median(seconds[name]) * 1e3
        print(f"{name:45} {milliseconds:7.1f} ms   {ratio:5.2f}   wall {wall_ratios[name]:5.2f}")
    write_report(
        settings.output,
        {
            "what": "processor seconds for one update, Nature CNN, and wall seconds; ratios: "
            "medians over rounds to SB3's DQN",
            "batch_size": settings.batch_size,
            "actions": settings.actions,
            "threads": settings.threads,
            "ratios": ratios,
            "wall_ratios": wall_ratios,
            "seconds": seconds,
            "wall_seconds": wall_seconds,
        },
    )


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
