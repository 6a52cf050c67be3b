"""Compare Meta-PWTD with A2C on MinAtar: do pairwise weights hurt where credit assignment is easy?

A2C has λ = 0.95, and both have the same number of frames, as in the comparison of arXiv 2102.04999
on Atari. Each arm chooses its hyper-parameters on two of the five games, with seeds from 100 on;
seeds 0, 1, 2, ... are reported. Scores are returns of training episodes, over the whole run and
over its last 30%.

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

# Both have the same number of choices: one more for Meta-PWTD would be unfair to the control.
ARMS = {
    "A2C": arms.ARMS["A2C"].among(gae_lambda=(0.95,), learning_rate=LEARNING_RATES),
    "Meta-PWTD": arms.ARMS["Meta-PWTD"].among(
        meta_learning_rate=(1e-3,), learning_rate=LEARNING_RATES
    ),
}


@dataclass(frozen=True)
class Budget:
    """Budget and learner arguments of every run.

    Args:
        frames: Frames over all environments; in these games a step is one frame.
        envs: Number of environments.
        learner: Learner arguments shared by all arms.
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
    """Settings of the experiment.

    Args:
        arms: Arms to compare.
        games: MinAtar's games to train on.
        frames: Frames per run.
    """

    arms: tuple[Literal[*ARMS], ...] = tuple(ARMS)
    games: tuple[Literal[*GAMES], ...] = GAMES
    frames: int = Budget.frames
    budget: Annotated[Budget, tyro.conf.Suppress] = field(default_factory=Budget)


def learn(budget: Budget, run: Run) -> list[dict[str, float]]:
    """Carry out one run.

    Returns:
        One row: ``area``, the training return averaged over frames; ``final``, the mean return of
        the episodes in the last 30% of the run; its frames, decisions and updates; and the seconds.
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
    """Report what is missing and, if requested, run it."""
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
