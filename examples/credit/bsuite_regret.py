"""Measure regret on bsuite: do pairwise weights hurt where credit assignment is easy?

The seven domains of arXiv 2102.04999, table 1, with one setting each and far fewer episodes, so
that only ratios and orders are comparable. Each arm chooses its hyper-parameters on two settings,
with seeds from 100 on; seeds 0, 1, 2, ... are reported.

Each run is added to the table as soon as it ends, so the same command resumes after an
interruption. Without --smoke or --full it only reports what is missing and how long it takes.
"""

import sys
import time
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env

sys.path.insert(0, str(Path(__file__).parents[2]))

from examples.credit import arms
from examples.credit.runs import Results, Run, conduct
from examples.experiments.settings import GridSettings
from sb3_masp.pairwise import PairwiseA2C
from sb3_masp.pairwise.problems import BsuiteEnv

OUTPUT = Path(__file__).parent / "results" / "bsuite_regret.csv"

PROBLEMS = {
    "catch/0": "unchanged",
    "catch_noise/8": "noise with standard deviation 1",
    "catch_scale/12": "rewards times 30",
    "umbrella_length/16": "40 steps, 20 distractors",
    "umbrella_distract/17": "20 steps, 50 distractors",
    "cartpole/0": "unchanged, up to 1,000 steps",
    "discounting_chain/4": "the bonus on the chain of 100 steps",
}
"""The reported problems by bsuite's ids, and which setting of its domain each is."""

TUNED_ON = ("catch/1", "umbrella_distract/13")

ROLLOUT_STEPS = {
    "catch": 9,
    "catch_noise": 9,
    "catch_scale": 9,
    "umbrella_length": 40,
    "umbrella_distract": 20,
    "cartpole": 100,
    "discounting_chain": 100,
}
"""Steps per rollout: whole episodes, except for the cart pole, whose returns are bootstrapped."""

ARMS = arms.of_names(
    arms.ARMS,
    ("A2C", "A2C-RR", "RGM", "Meta-PWTD", "Meta-PWR"),
    learning_rate=(2e-3, 7e-3),
)

PAPER = {
    "A2C": (5975, 42221, 56800, 38050, 37524, 76874, 3554),
    "A2C-RR": (5950, 42295, 57033, 38083, 37433, 71506, 3548),
    "RGM": (7849, 48268, 54421, 40397, 40159, 119102, 2444),
    "Meta-PWTD": (6096, 41106, 48199, 37973, 37226, 65945, 1040),
    "Meta-PWR": (5967, 43076, 49361, 38168, 36554, 61752, 161),
}
"""Total regret by domain, in the order of `PROBLEMS`: arXiv 2102.04999, table 1.

Over 100,000 episodes (50,000 of the cart pole), with three runs each.
"""


@dataclass(frozen=True)
class Budget:
    """Budget and learner arguments of every run.

    Args:
        episodes: Episodes over all environments; half as many for the cart pole, as in the paper.
        envs: Number of environments.
        learner: Learner arguments shared by all arms.
    """

    episodes: int = 500
    envs: int = 2
    learner: dict[str, Any] = field(
        default_factory=lambda: {"gamma": 0.99, "gae_lambda": 0.95, "ent_coef": 0.01}
    )

    def of(self, problem: str) -> int:
        """Return the number of episodes of a run on ``problem``."""
        return self.episodes // 2 if problem.startswith("cartpole/") else self.episodes


@dataclass(frozen=True)
class Settings(GridSettings):
    """Settings of the experiment.

    Args:
        arms: Arms to compare.
        problems: Problems, by bsuite's ids.
        episodes: Episodes per run; half as many for the cart pole.
    """

    arms: tuple[Literal[*ARMS], ...] = ("A2C", "Meta-PWTD", "Meta-PWR")
    seeds: int = 5
    tuning_seeds: int = 1
    problems: tuple[Literal[*PROBLEMS], ...] = tuple(PROBLEMS)
    episodes: int = Budget.episodes
    tuned_on: Annotated[tuple[str, ...], tyro.conf.Suppress] = TUNED_ON


class Regrets(BaseCallback):
    """Adds up regret, and stops training after a number of episodes.

    Args:
        episodes: Number of episodes, over all environments.
    """

    def __init__(self, episodes: int) -> None:
        """Start without episodes."""
        super().__init__()
        self._budget = episodes
        self.episodes = 0
        self._of_envs: dict[int, float] = {}

    @property
    def total(self) -> float:
        """Regret over the episodes of all environments."""
        return sum(self._of_envs.values())

    def _on_step(self) -> bool:
        """Record the regret of finished episodes; those beyond the budget are not counted."""
        for env, info in enumerate(self.locals["infos"]):
            if "regret" in info and self.episodes < self._budget:
                self._of_envs[env] = info["regret"]
                self.episodes += 1
        return self.episodes < self._budget


def learner(budget: Budget, run: Run) -> PairwiseA2C:
    """Build the learner shared by all arms, with an arm's own arguments."""
    own = ARMS[run.arm].learner_arguments(run.choice)
    return PairwiseA2C(
        "MlpPolicy",
        make_vec_env(partial(BsuiteEnv, run.problem), budget.envs),
        n_steps=ROLLOUT_STEPS[run.problem.split("/")[0]],
        seed=run.seed,
        device="cpu",
        **budget.learner | own,
    )


def learn(budget: Budget, run: Run) -> list[dict[str, float]]:
    """Carry out one run.

    Returns:
        One row: the total ``regret``; the number of ``episodes`` it covers; their steps and
        updates; and the seconds.
    """
    begun = time.perf_counter()
    model, regrets = learner(budget, run), Regrets(budget.of(run.problem))
    model.learn(1e12, callback=regrets, log_interval=1_000_000)
    return [
        {
            "regret": regrets.total,
            "episodes": regrets.episodes,
            "steps": model.num_timesteps,
            "updates_taken": model._n_updates,
            "seconds": time.perf_counter() - begun,
        }
    ]


def main(settings: Settings) -> None:
    """Report what is missing and, if requested, run it."""
    output = settings.table(OUTPUT)
    if settings.smoke:
        settings = replace(
            settings,
            problems=("catch/0", "cartpole/0"),
            tuned_on=("catch/1",),
            seeds=1,
            workers=settings.workers or 1,
            episodes=4,
        )
    budget = Budget(settings.episodes)
    common = {"episodes": budget.episodes, "envs": budget.envs, "rollout": ROLLOUT_STEPS}
    conduct(
        settings,
        Results(output, common | {"tuned_on": settings.tuned_on} | budget.learner),
        {name: ARMS[name] for name in settings.arms},
        settings.problems,
        settings.tuned_on,
        partial(learn, budget),
        "regret",
        least=True,
    )


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
