"""Train all arms on five Atari games from the console's memory: does sharing credit help?

Macros come from the banks, and all arms have the same number of emulator frames. Updates are
counted in decisions (one for each) and, in a second table, in steps (one for every four), where all
arms also take the same number of updates per frame. Arms choose their strengths on two other games,
with seeds from 100 on; seeds 0, 1, 2, ... are reported. Scores are returns of training episodes,
over the whole run and over its last 30%.

Each run is added to the table as soon as it ends, so the same command resumes after an
interruption. Without --smoke or --full it only reports what is missing and how long it takes.
"""

import itertools
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import gymnasium as gym
import tyro

sys.path.insert(0, str(Path(__file__).parents[2]))

import macro_gym  # noqa: F401  # registers MacroALE/<Game>-v5
from examples.experiments.arms import ARMS
from examples.experiments.learners import effort, let_learn, make_learner, scores
from examples.experiments.rows import Cell, Run
from examples.experiments.settings import GridSettings, conduct
from examples.experiments.trial import Trial
from macro_gym.games import find_game
from macro_gym.human_scores import RANDOM_AND_HUMAN, human_normalised
from sb3_masp import MASPDQN
from sb3_masp.callbacks import FrameBudget
from sb3_masp.features import BytesExtractor

OUTPUT = Path(__file__).parent / "results" / "atari_ram.csv"
GAMES = ("Breakout", "Seaquest", "MsPacman", "Freeway", "SpaceInvaders")
TUNED_ON = ("Assault", "RoadRunner")
"""Games on which arms choose their strengths; they are not reported."""


@dataclass(frozen=True)
class Budget:
    """Budget and learner arguments of every run.

    Args:
        frames: Emulator frames per run.
        episode: Frames after which an episode is truncated, so that an agent that does nothing
            does not spend the run on one.
        every: Decisions or steps per update, by unit of updates.
        learner: Learner arguments shared by all arms.
    """

    frames: int = 300_000
    episode: int = 18_000
    every: Mapping[str, int] = field(default_factory=lambda: {"decision": 1, "step": 4})
    learner: dict[str, Any] = field(
        default_factory=lambda: {
            "learning_rate": 2.5e-4,
            "buffer_size": 100_000,
            "learning_starts": 1_000,
            "batch_size": 32,
            "gamma": 0.99,
            "target_update_interval": 2_000,
            "exploration_fraction": 0.2,
            "exploration_final_eps": 0.05,
            "double_q": True,
            "embedding_dim": 0,
        }
    )

    @property
    def common(self) -> dict[str, Any]:
        """Settings shared by all rows of the table."""
        own = {"frames": self.frames, "episode": self.episode, "every": self.every}
        return own | {"tuned_on": TUNED_ON} | self.learner


@dataclass(frozen=True)
class Settings(GridSettings):
    """Settings of the experiment.

    Args:
        games: Games to train on.
        k: Numbers of macros.
        updates: Units in which updates are counted.
    """

    games: tuple[Literal[*GAMES], ...] = GAMES
    k: tuple[int, ...] = (32, 128)
    updates: tuple[Literal["decision", "step"], ...] = ("decision", "step")
    budget: Annotated[Budget, tyro.conf.Suppress] = field(default_factory=Budget)


def make(game: str, k: int, budget: Budget) -> gym.Env[Any, Any]:
    """Make a game with the first macros of its bank."""
    return gym.make(
        f"MacroALE/{game}-v5", k=k, obs_type="ram", max_num_frames_per_episode=budget.episode
    )


def learner(
    env: gym.Env[Any, Any],
    budget: Budget,
    seed: int,
    own: Mapping[str, Any],
    updates: str = "decision",
) -> MASPDQN:
    """Build the learner shared by all arms, on bytes of memory, with an arm's own arguments."""
    shared = budget.learner | {"train_freq": budget.every[updates]}
    policy = {"net_arch": [256, 256], "features_extractor_class": BytesExtractor}
    return make_learner(env, seed, shared, own, policy, updates)


def learn(budget: Budget, run: Run) -> dict[str, float]:
    """Carry out one run.

    Returns:
        ``area``, the training return averaged over frames, and ``final``, the mean return of the
        episodes in the last 30% of the run, on the scale where random play is 0 and a human 1;
        ``points`` and ``final_points``, the same in the game's points; frames, decisions, updates
        and seconds.
    """
    begun = time.perf_counter()
    game, own = run.cell.problem, ARMS[run.arm].learner_arguments(run.strength)
    env = make(game, run.cell.k, budget)
    model = learner(env, budget, run.seed, own, run.cell.updates)
    frames = FrameBudget(budget.frames)
    points = scores(let_learn(model, frames), budget.frames)
    rom = find_game(game, RANDOM_AND_HUMAN)
    normalised = {name: human_normalised(rom, score) for name, score in points.items()}
    in_points = {"points": points["area"], "final_points": points["final"]}
    return normalised | in_points | {"frames": frames.frames} | effort(model, begun)


def learn_briefly(budget: Budget, run: Run, frames: int) -> dict[str, float]:
    """Carry out a run of a few frames that learns from the first one on."""
    return learn(shortened(budget, frames), run)


def shortened(budget: Budget, frames: int) -> Budget:
    """Budget of a run of a few frames that learns from the first one on."""
    return replace(budget, frames=frames, learner=budget.learner | {"learning_starts": 0})


def cells(settings: Settings) -> list[Cell]:
    """The cells in which arms are compared, in the order of their runs."""
    grid = itertools.product(settings.updates, settings.k, settings.games)
    return [Cell(game, k, 1.0, updates) for updates, k, game in grid]


def main(settings: Settings) -> None:
    """Report what is missing and, if requested, run it."""
    output, known = settings.table(OUTPUT), ARMS
    if settings.smoke:
        known = {name: replace(arm, strengths=arm.strengths[-1:]) for name, arm in ARMS.items()}
        settings = replace(
            settings,
            games=("Breakout",),
            k=(32,),
            arms=("primitives", "macros", "uniform"),
            seeds=1,
            tuning_seeds=1,
            workers=settings.workers or 1,
            budget=Budget(
                frames=2_000,
                episode=1_000,
                learner=Budget().learner | {"learning_starts": 20, "buffer_size": 1_000},
            ),
        )
    conduct(
        settings,
        output,
        settings.budget.common,
        cells(settings),
        partial(learn, settings.budget),
        TUNED_ON,
        known,
        Trial(partial(learn_briefly, settings.budget), settings.budget.frames, 1_000),
    )


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
