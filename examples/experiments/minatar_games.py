"""Train all arms on MinAtar's five games: do macros hurt as k grows, and does sharing credit help?

Macros are the most frequent n-grams in the play of a DQN that learned each game from primitives,
with a seed of its own; all arms and seeds have the same macros. Each arm chooses its strength for
each k on Breakout, with seeds from 100 on; seeds 0, 1, 2, ... of all games are reported. Scores are
returns of training episodes, over the whole run and over its last 30%.

Each run is added to the table as soon as it ends, so the same command resumes after an
interruption. Without --smoke or --full it only reports what is missing and how long it takes.
"""

import itertools
import os
import sys
import tempfile
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import gymnasium as gym
import numpy as np
import torch as th
import tyro

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.problems import SmallImages
from examples.experiments.arms import ARMS, ETAS, at_eta
from examples.experiments.learners import effort, let_learn, make_learner, scores
from examples.experiments.rows import Cell, Run
from examples.experiments.runs import executor
from examples.experiments.settings import GridSettings, conduct
from examples.experiments.trial import Trial
from macro_gym import MacroAction, MacroSet
from macro_gym.demonstrations import read_play
from macro_gym.extraction import frequent_ngrams
from macro_gym.files import replacing
from sb3_masp import MASPDQN
from sb3_masp.callbacks import FrameBudget

OUTPUT = Path(__file__).parent / "results" / "minatar_games.csv"
GAMES = ("Asterix", "Breakout", "Freeway", "Seaquest", "SpaceInvaders")
TUNED_ON = ("Breakout",)
NAMES = {"n": "NOOP", "l": "LEFT", "u": "UP", "r": "RIGHT", "d": "DOWN", "f": "FIRE"}
PLAYERS_SEED = 1_000


@dataclass(frozen=True)
class Budget:
    """Budget and learner arguments of every run.

    Args:
        steps: Primitive steps per run.
        player_steps: Primitive steps in which the player learns a game.
        play: Primitive steps of play from which macros are mined.
        learner: Learner arguments shared by all arms.
    """

    steps: int = 100_000
    player_steps: int = 200_000
    play: int = 20_000
    learner: dict[str, Any] = field(
        default_factory=lambda: {
            "learning_rate": 2.5e-4,
            "buffer_size": 100_000,
            "learning_starts": 1_000,
            "batch_size": 32,
            "gamma": 0.99,
            "train_freq": 4,
            "target_update_interval": 1_000,
            "exploration_fraction": 0.3,
            "exploration_final_eps": 0.1,
            "double_q": True,
            "embedding_dim": 0,
        }
    )

    @property
    def common(self) -> dict[str, Any]:
        """Settings shared by all rows of a table."""
        steps = {"steps": self.steps, "player_steps": self.player_steps, "play": self.play}
        return steps | self.learner


@dataclass(frozen=True)
class Settings(GridSettings):
    """Settings of the experiment; the play is saved beside the table.

    Args:
        games: MinAtar's games to train on.
        k: Numbers of macros.
        updates: Units in which updates are counted: one for every four decisions, or steps.
        tuning_seeds: Runs per strength by which arms choose, for each k and unit of updates.
        eta: η of every penalty; by default each arm chooses its own.
    """

    games: tuple[Literal[*GAMES], ...] = GAMES
    k: tuple[int, ...] = (16, 64, 256)
    updates: tuple[Literal["decision", "step"], ...] = ("decision", "step")
    tuning_seeds: int = 1
    eta: Literal[*ETAS] | None = None
    budget: Annotated[Budget, tyro.conf.Suppress] = field(default_factory=Budget)


class NamedActions(gym.Wrapper[Any, Any, Any, Any]):
    """Provides the names of a game's minimal actions."""

    def get_action_meanings(self) -> list[str]:
        """Names of the actions."""
        game = self.unwrapped
        return [NAMES[game.game.env.action_map[number]] for number in game.action_set]


def make(game: str) -> gym.Env[Any, Any]:
    """Make a game with its minimal actions, sticky in a tenth of the steps."""
    return NamedActions(gym.make(f"MinAtar/{game}-v1"))


def learner(
    env: gym.Env[Any, Any],
    budget: Budget,
    seed: int,
    own: Mapping[str, Any],
    updates: str = "decision",
) -> MASPDQN:
    """Build the learner shared by all arms, with an arm's own arguments."""
    policy = {"net_arch": [], "features_extractor_class": SmallImages}
    return make_learner(env, seed, budget.learner, own, policy, updates)


def record_play(budget: Budget, folder: Path, game: str) -> None:
    """Learn a game from primitives and record play of the result, unless there is some."""
    path = folder / f"{game}.npz"
    if path.exists():
        return
    th.set_num_threads(1)
    env = make(game)
    steps = budget.player_steps
    frames = FrameBudget(steps, steps > 1_000, label=f"{game}'s player")
    model = learner(env, budget, PLAYERS_SEED, ARMS["primitives"].learner_arguments(""))
    model.learn(steps, callback=frames)
    rng, actions, ends = np.random.default_rng(PLAYERS_SEED), [], []
    observation, _ = env.reset(seed=PLAYERS_SEED)
    for _ in range(budget.play):
        greedy = int(model.predict(observation, deterministic=True)[0])
        actions.append(int(rng.integers(env.action_space.n)) if rng.random() < 0.05 else greedy)
        observation, _, ended, cut, _ = env.step(actions[-1])
        ends.append(ended or cut)
        if ends[-1]:
            observation, _ = env.reset()
    with replacing(path) as file:
        names = np.array(env.get_action_meanings())
        np.savez_compressed(file, actions=np.array(actions), terminals=ends, primitives=names)


def macros(play: Path, k: int) -> MacroSet:
    """The most frequent n-grams of a game's play."""
    demonstrations = list(read_play(play))
    names = demonstrations[0].primitives
    return frequent_ngrams(demonstrations, k, primitives=names) if k else MacroSet(names)


def learn(budget: Budget, plays: Path, run: Run) -> dict[str, float]:
    """Carry out one run.

    Returns:
        ``area``, the training return averaged over steps; ``final``, the mean return of the
        episodes in the last 30% of the run; steps, decisions, updates and seconds.
    """
    begun = time.perf_counter()
    game, k = run.cell.problem, run.cell.k
    env = MacroAction(make(game), macros(plays / f"{game}.npz", k))
    own = ARMS[run.arm].learner_arguments(run.strength)
    model = learner(env, budget, run.seed, own, run.cell.updates)
    frames = FrameBudget(budget.steps)
    of_returns = scores(let_learn(model, frames), budget.steps)
    return of_returns | {"steps": frames.frames} | effort(model, begun)


def learn_briefly(budget: Budget, run: Run, steps: int) -> dict[str, float]:
    """Carry out a run of a few steps that learns at once, with macros of play of its own."""
    brief = shortened(budget, steps)
    with tempfile.TemporaryDirectory() as folder:
        record_play(brief, Path(folder), run.cell.problem)
        return learn(brief, Path(folder), run)


def shortened(budget: Budget, steps: int) -> Budget:
    """Budget of a run of a few steps that learns from the first one on."""
    learner = budget.learner | {"learning_starts": 0}
    return replace(budget, steps=steps, player_steps=steps, play=2_000, learner=learner)


def cells(settings: Settings) -> list[Cell]:
    """The cells in which arms are compared, in the order of their runs."""
    grid = itertools.product(settings.updates, settings.k, settings.games)
    return [Cell(game, k, 1.0, updates) for updates, k, game in grid]


def main(settings: Settings) -> None:
    """Report what is missing and, if requested, run it."""
    output = settings.table(OUTPUT)
    if settings.smoke:
        tiny = Budget().learner | {"learning_starts": 100, "buffer_size": 1_000}
        settings = replace(
            settings,
            games=("Breakout",),
            k=(16,),
            arms=("primitives", "macros", "uniform"),
            seeds=1,
            tuning_seeds=1,
            workers=settings.workers or 1,
            budget=Budget(steps=300, player_steps=300, play=500, learner=tiny),
        )
    plays = output.parent / "minatar_play"
    if settings.is_to_run:
        record = partial(record_play, settings.budget, plays)
        with executor(settings.workers or os.cpu_count() or 1, record) as execute:
            deque(execute(sorted({*settings.games, *TUNED_ON})), maxlen=0)
    conduct(
        settings,
        output,
        settings.budget.common | {"tuned_on": TUNED_ON},
        cells(settings),
        partial(learn, settings.budget, plays),
        TUNED_ON,
        at_eta(settings.eta) if settings.eta else ARMS,
        trial=Trial(partial(learn_briefly, settings.budget), settings.budget.steps),
    )


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
