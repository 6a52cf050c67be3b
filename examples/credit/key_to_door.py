"""Compare arms on Key-to-Door in three settings: do they learn to take a key that pays much later?

All arms have the same number of environment steps. Each chooses its hyper-parameters in the middle
setting (μ = 5, σ = 25), as in arXiv 2102.04999, with seeds from 100 on, by the mean return over the
whole run. Seeds from 3 on are reported, since results of seeds 0 to 2 had been seen when steps and
learning rates were decided.

Each run is added to the table as soon as it ends, so the same command resumes after an
interruption. Without --smoke or --full it only reports what is missing and how long it takes.
"""

import itertools
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import gymnasium as gym
import numpy as np
import torch as th
import tyro
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[2]))

from examples.credit import arms
from examples.credit.runs import Arm, Results, Run, conduct
from examples.experiments.settings import GridSettings
from sb3_masp.pairwise import ClockWeights, PairwiseA2C
from sb3_masp.pairwise.problems import KeyToDoor
from sb3_masp.pairwise.problems.key_to_door import EPISODE_STEPS, SETTINGS, handcrafted_weights

OUTPUT = Path(__file__).parent / "results" / "key_to_door.csv"

PROBLEMS = {f"μ={mean:g} σ={std:g}": (mean, std) for mean, std in SETTINGS}
TUNED_ON = ("μ=5 σ=25",)
FIRST_SEED = 3

HANDCRAFTED = Arm(
    "Rewards weighted by hand: the door counts fully for the key's room, and within each later "
    "room there is a discount of 0.92.",
    {"advantage": "pwr", "weights": ClockWeights(handcrafted_weights())},
)
ARMS = {name: arm.among(learning_rate=(2e-3, 5e-3)) for name, arm in arms.ARMS.items()}
# It has no hyper-parameters of its own, but gets as many choices as the other arms.
ARMS["H-PWR"] = HANDCRAFTED.among(learning_rate=(1e-3, 2e-3, 5e-3, 1e-2))


@dataclass(frozen=True)
class Budget:
    """Budget and learner arguments of every run.

    Args:
        steps: Steps over all environments.
        looks: Number of parts of the run over whose episodes results are averaged.
        envs: Number of environments.
        learner: Learner arguments shared by all arms.
    """

    steps: int = 960_000
    looks: int = 20
    envs: int = 8
    learner: dict[str, Any] = field(
        default_factory=lambda: {
            "n_steps": EPISODE_STEPS,
            "gamma": 0.99,
            "gae_lambda": 0.99,
            "ent_coef": 0.01,
            "normalize_advantage": True,
        }
    )


@dataclass(frozen=True)
class Settings(GridSettings):
    """Settings of the experiment.

    Args:
        arms: Arms to compare.
        problems: Problems: mean and standard deviation of an apple's reward.
        steps: Steps per run.
    """

    arms: tuple[Literal[*ARMS], ...] = tuple(ARMS)
    problems: tuple[Literal[*PROBLEMS], ...] = ("μ=5 σ=5", "μ=5 σ=25", "μ=5 σ=50")
    tuning_seeds: int = 1
    steps: int = Budget.steps
    budget: Annotated[Budget, tyro.conf.Suppress] = field(default_factory=Budget)


class Rooms(BaseFeaturesExtractor):
    """A small network for rooms at one pixel per cell, whose output is joined with the key's bit.

    Args:
        observation_space: ``view``, channels first, and ``has_key``.
        units: Units of the last layer.
    """

    def __init__(self, observation_space: gym.spaces.Dict, units: int = 64) -> None:
        """Build both layers."""
        super().__init__(observation_space, units + int(observation_space["has_key"].n))
        channels, height, width = observation_space["view"].shape
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 16, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(16 * (height - 2) * (width - 2), units),
            nn.ReLU(),
        )

    def forward(self, observations: dict[str, th.Tensor]) -> th.Tensor:
        """Return features, shape ``(batch, units + 2)``."""
        seen = self.layers(observations["view"])
        return th.cat([seen, observations["has_key"].flatten(1)], dim=1)


class Ended(NamedTuple):
    """A finished episode.

    Args:
        steps: Steps of the run when it ended.
        seconds: Seconds since the run began.
        score: Its return.
        door: The part of the return that the door paid.
    """

    steps: int
    seconds: float
    score: float
    door: float


class Doors(BaseCallback):
    """Records the returns of episodes, in total and from the door."""

    def __init__(self) -> None:
        """Start without episodes."""
        super().__init__()
        self._begun = time.perf_counter()
        self.episodes: list[Ended] = []

    def _on_step(self) -> bool:
        """Record the finished episodes."""
        seconds = time.perf_counter() - self._begun
        self.episodes += [
            Ended(self.num_timesteps, seconds, float(info["episode"]["r"]), info["door_reward"])
            for info in self.locals["infos"]
            if "episode" in info
        ]
        return True


def curve(episodes: Sequence[Ended], looks: int) -> list[dict[str, float]]:
    """Mean returns of the episodes in each part of a run, with equally many episodes per part.

    Returns:
        For each part: ``steps`` of the run at its end, mean ``return`` and ``door_return``, and the
        seconds since the run began.
    """
    ends = np.linspace(0, len(episodes), looks + 1).round().astype(int)
    parts = (np.array(episodes[start:end]) for start, end in itertools.pairwise(ends))
    return [
        {
            "steps": int(part[-1, 0]),
            "return": float(part[:, 2].mean()),
            "door_return": float(part[:, 3].mean()),
            "seconds": float(part[-1, 1]),
        }
        for part in parts
    ]


def make(problem: str) -> KeyToDoor:
    """Build a setting of the problem, observed at one pixel per cell."""
    mean, std = PROBLEMS[problem]
    return KeyToDoor(apple_mean=mean, apple_std=std, cell_size=1)


def learner(budget: Budget, run: Run) -> PairwiseA2C:
    """Build the learner shared by all arms, with an arm's own arguments and separate critic."""
    return PairwiseA2C(
        "MultiInputPolicy",
        make_vec_env(partial(make, run.problem), budget.envs),
        seed=run.seed,
        device="cpu",
        policy_kwargs={
            "net_arch": [],
            "features_extractor_class": Rooms,
            "share_features_extractor": False,
        },
        **budget.learner | ARMS[run.arm].learner_arguments(run.choice),
    )


def learn(budget: Budget, run: Run) -> list[dict[str, float]]:
    """Carry out one run; return one row per part of it, see `curve`."""
    doors = Doors()
    learner(budget, run).learn(budget.steps, callback=doors, log_interval=1_000_000)
    return curve(doors.episodes, budget.looks)


def main(settings: Settings) -> None:
    """Report what is missing and, if requested, run it."""
    output = settings.table(OUTPUT)
    budget, tuned_on = replace(settings.budget, steps=settings.steps), TUNED_ON
    if settings.smoke:
        settings = replace(
            settings,
            arms=("A2C", "Meta-PWR", "H-PWR"),
            problems=TUNED_ON,
            seeds=1,
            tuning_seeds=1,
            workers=settings.workers or 1,
        )
        budget = replace(budget, steps=480, looks=2, envs=2)
    common = {"steps": budget.steps, "looks": budget.looks, "envs": budget.envs}
    conduct(
        settings,
        Results(output, common | {"tuned_on": tuned_on} | budget.learner),
        {name: ARMS[name] for name in settings.arms},
        settings.problems,
        tuned_on,
        partial(learn, budget),
        "return",
        first_seed=FIRST_SEED,
    )


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
