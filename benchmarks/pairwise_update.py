"""Time one PairwiseA2C update against SB3's A2C update, and measure memory on long trajectories.

All arms take turns within each round, each on a rollout that it has collected before; the result is
the median over rounds of each arm's ratio to SB3's A2C in the same round. An update is a call of
`train`: for ours it includes the weights' step, through the previous update, and the policy's.

Memory is the peak of a separate process that takes two updates on one environment's rollout of up
to thousands of decisions, everything included.
"""

import multiprocessing
import resource
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
import tyro
from stable_baselines3 import A2C
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import configure
from tqdm import tqdm

from benchmarks.report import write_report
from sb3_masp.pairwise import PairwiseA2C

CONTROL = "SB3 A2C"

ARMS: dict[str, tuple[type[A2C], dict[str, Any]]] = {
    CONTROL: (A2C, {}),
    "weights of λ": (PairwiseA2C, {"weights": "geometric"}),
    "pwtd": (PairwiseA2C, {"advantage": "pwtd"}),
    "pwr": (PairwiseA2C, {"advantage": "pwr"}),
    "meta-learned λ(s)": (PairwiseA2C, {"weights": "state_lambda"}),
    "one weight a decision": (PairwiseA2C, {"weights": "sequence", "advantage": "pwr"}),
}


@dataclass(frozen=True)
class Settings:
    """Size of the measurement.

    Args:
        rounds: Rounds; each arm takes one turn in each.
        updates: Updates of each arm in a turn.
        n_envs: Number of environments.
        n_steps: Decisions per environment in a rollout.
        observed: Numbers in an observation.
        long: Decisions in the trajectories whose memory is measured.
        threads: Threads of torch.
        output: Where the result goes.
        smoke: Two short rounds, to check that it runs.
    """

    rounds: int = 25
    updates: int = 40
    n_envs: int = 16
    n_steps: int = 20
    observed: int = 8
    long: tuple[int, ...] = (20, 500, 2000, 4000)
    threads: int = 1
    output: Path = Path("benchmarks/results/pairwise_update.json")
    smoke: bool = False


class Noise(gym.Env[Any, Any]):
    """Random observations and rewards, so that no environment is timed; 2% of steps end it."""

    def __init__(self, observed: int) -> None:
        """Set the size of observations."""
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (observed,), np.float32)
        self.action_space = gym.spaces.Discrete(4)

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """Return noise."""
        super().reset(seed=seed)
        return self._numbers(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Return noise."""
        over = self.np_random.random() < 0.02
        return self._numbers(), float(self.np_random.normal()), bool(over), False, {}

    def _numbers(self) -> Any:
        return self.np_random.normal(size=self.observation_space.shape).astype(np.float32)


def trained(arm: str, settings: Settings, n_envs: int, n_steps: int) -> A2C:
    """Train an arm for two updates, so that it can take more on the same rollout."""
    kind, own = ARMS[arm]
    env = make_vec_env(lambda: Noise(settings.observed), n_envs, seed=0)
    model = kind("MlpPolicy", env, n_steps=n_steps, gae_lambda=0.95, seed=0, device="cpu", **own)
    model.set_logger(configure(None, []))
    return model.learn(2 * n_envs * n_steps)


def timed(settings: Settings) -> dict[str, list[float]]:
    """Processor seconds per update, by arm and round."""
    th.set_num_threads(settings.threads)
    models = {arm: trained(arm, settings, settings.n_envs, settings.n_steps) for arm in ARMS}
    seconds: dict[str, list[float]] = {arm: [] for arm in ARMS}
    for _ in tqdm(range(settings.rounds), desc="rounds", unit="round"):
        for arm, model in models.items():
            start = time.process_time()
            for _ in range(settings.updates):
                model.train()
            seconds[arm].append((time.process_time() - start) / settings.updates)
    return seconds


def most_resident(arm: str, settings: Settings, n_steps: int) -> int:
    """Peak memory, in bytes, of a fresh process that takes two updates."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_resident, (arm, settings, n_steps))


def _resident(arm: str, settings: Settings, n_steps: int) -> int:
    """Peak memory of this process, for `most_resident`."""
    th.set_num_threads(settings.threads)
    trained(arm, settings, 1, n_steps)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main(settings: Settings) -> None:
    """Measure, print the ratios, and write the result."""
    if settings.smoke:
        settings = replace(settings, rounds=2, updates=2, long=(20, 50))
    seconds = timed(settings)
    control = np.array(seconds[CONTROL])
    ratios = {arm: float(np.median(np.array(found) / control)) for arm, found in seconds.items()}
    for arm, ratio in ratios.items():
        print(f"{arm:25} {np.median(seconds[arm]) * 1e3:7.2f} ms  {ratio:5.2f}")
    lengths = tqdm(settings.long, desc="memory", unit="length")
    memory = {n: most_resident("pwtd", settings, n) for n in lengths}
    for n, nbytes in memory.items():
        print(f"{n} decisions: {nbytes / 2**20:.0f} MiB")
    write_report(
        settings.output,
        {
            "what": "processor seconds for one update of 64-64 networks; ratios: medians over "
            "rounds to SB3's A2C; memory: bytes, the most that a process of its own held",
            "n_envs": settings.n_envs,
            "n_steps": settings.n_steps,
            "threads": settings.threads,
            "ratios": ratios,
            "seconds": seconds,
            "memory": {str(n): nbytes for n, nbytes in memory.items()},
        },
    )


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
