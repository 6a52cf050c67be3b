"""Do pairwise weights harm where credit is assigned with ease? MinAtar's five games.

Meta-PWTD against A2C with λ = 0.95, at the same frames, as arXiv 2102.04999 has it on Atari. Each
arm makes its choice on two of the games, with seeds from 100 on; seeds 0, 1, 2, ... are reported.
Scores are returns of training episodes, over the whole run and over its last 30%.

Each run is a row of the table as soon as it ends, so the same command goes on after an
interruption. Without --smoke and --full it says what is to be run, and how long that takes.
"""

import sys
import time
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from stable_baselines3.common.env_util import make_vec_env

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.problems import SmallImages
from examples.credit import arms
from examples.credit.runs import Results, Run, conduct
from examples.experiments.learners import effort, let_learn, scores
from examples.experiments.minatar_games import GAMES
from examples.experiments.settings import GridSettings
from sb3_masp.callbacks import FrameBudget
from sb3_masp.pairwise import PairwiseA2C

OUTPUT = Path(__file__).parent / "results" / "minatar_games.csv"
TUNED_ON = ("Breakout", "SpaceInvaders")
LEARNING_RATES = (7e-4, 2e-3)

# As many choices for each: the control is the one that a choice more would do wrong by.
ARMS = {
    "A2C": arms.ARMS["A2C"].among(gae_lambda=(0.95,), learning_rate=LEARNING_RATES),
    "Meta-PWTD": arms.ARMS["Meta-PWTD"].among(
        meta_learning_rate=(1e-3,), learning_rate=LEARNING_RATES
    ),
}


@dataclass(frozen=True)
class Budget:
    """What every run of the experiment has.

    Args:
        frames: Of all environments together; a step of these games is one.
        envs: Environments.
        learner: Arguments of the learner that all arms share.
    """

    frames: int = 200_000
    envs: int = 8
    learner: dict[str, Any] = field(
        default_factory=lambda: {
            "n_steps": 20,
            "gamma": 0.99,
            "gae_lambda": 0.95,
            "ent_coef": 0.01,
        }
    )


@dataclass(frozen=True)
class Settings(GridSettings):
    """What is run.

    Args:
        arms: What is compared.
        games: Which of MinAtar's.
        frames: Of each run.
    """

    arms: tuple[Literal[*ARMS], ...] = tuple(ARMS)
    games: tuple[Literal[*GAMES], ...] = GAMES
    frames: int = Budget.frames
    budget: Annotated[Budget, tyro.conf.Suppress] = field(default_factory=Budget)


def learn(budget: Budget, run: Run) -> list[dict[str, float]]:
    """One run.

    Returns:
        One row: ``area``, the mean over frames of the returns while it learned; ``final``, of the
        episodes in its last 30%; what it took; and the seconds.
    """
    begun = time.perf_counter()
    model = PairwiseA2C(
        "MlpPolicy",
        make_vec_env(f"MinAtar/{run.problem}-v1", budget.envs),
        seed=run.seed,
        device="cpu",
        policy_kwargs={"net_arch": [], "features_extractor_class": SmallImages},
        **budget.learner | ARMS[run.arm].learner_arguments(run.choice),
    )
    frames = FrameBudget(budget.frames)
    of_returns = scores(let_learn(model, frames), budget.frames)
    return [of_returns | {"frames": frames.frames} | effort(model, begun)]


def main(settings: Settings) -> None:
    """Run what has not been run, if that is asked for."""
    output = settings.table(OUTPUT)
    budget, tuned_on = replace(settings.budget, frames=settings.frames), TUNED_ON
    if settings.smoke:
        settings = replace(
            settings,
            games=("Breakout",),
            seeds=1,
            tuning_seeds=1,
            workers=settings.workers or 1,
        )
        budget, tuned_on = replace(budget, frames=480), ("Breakout",)
    common = {"frames": budget.frames, "envs": budget.envs, "tuned_on": tuned_on}
    conduct(
        settings,
        Results(output, common | budget.learner),
        {name: ARMS[name] for name in settings.arms},
        settings.games,
        tuned_on,
        partial(learn, budget),
        "area",
    )


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
