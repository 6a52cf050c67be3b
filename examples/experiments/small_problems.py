"""Does sharing credit help, and how much of what it could? Small problems with known answers.

Four problems, of which the true values are known: two starts in four rooms, a corridor with a key
and a door, a chain. Macros are mined from play, or random. Each arm chooses its strength on seeds
from 100 on; seeds 0, 1, 2, ... are reported. The score is the exact value of the policy, greedy but
for 5% random decisions, as a share of the best one's, on average over the run.

Each run is a row of the table as soon as it ends, so the same command goes on after an
interruption. Without --smoke and --full it says what is to be run, and how long that takes.
"""

import itertools
import sys
import time
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch as th
import tyro
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.monitor import Monitor

sys.path.insert(0, str(Path(__file__).parents[2]))

from examples.experiments.arms import ARMS, oracle_similarity
from examples.experiments.learners import LEARNERS, effort, let_learn
from examples.experiments.problems import GAMMA, PROBLEMS, macro_env, macros
from examples.experiments.rows import Cell, Run
from examples.experiments.settings import GridSettings, conduct
from examples.experiments.table import (
    Table,
    Values,
    epsilon_greedy_values,
    optimal_q_values,
    with_macros,
)
from sb3_masp.callbacks import FrameBudget
from sb3_masp.sweeps.results import area_under_curve

OUTPUT = Path(__file__).parent / "results" / "small_problems.csv"
EPSILON = 0.05
"""Share of random decisions in the policy that is scored, as on Atari."""


@dataclass(frozen=True)
class Budget:
    """What every run of the experiment has.

    Args:
        steps: Of the environment (primitives).
        looks: How often the policy is scored, evenly spread.
        learner: Arguments of the learner that all arms share.
    """

    steps: int = 12_000
    looks: int = 20
    learner: dict[str, Any] = field(
        default_factory=lambda: {
            "learning_rate": 1e-3,
            "buffer_size": 20_000,
            "learning_starts": 100,
            "batch_size": 32,
            "gamma": GAMMA,
            "train_freq": 2,
            "target_update_interval": 100,
            "exploration_fraction": 0.3,
            "exploration_final_eps": 0.1,
            "double_q": True,
            "embedding_dim": 0,
            "net_arch": [64],
        }
    )


@dataclass(frozen=True)
class Settings(GridSettings):
    """What is run.

    Args:
        problems: Which of the problems.
        k: Numbers of macros.
        shares: Of them, how much is mined rather than random.
        updates: What updates are counted in: decision, one for every two; or step, of which a
            macro has several.
    """

    arms: tuple[Literal[*ARMS], ...] = tuple(ARMS)
    seeds: int = 10
    tuning_seeds: int = 5
    problems: tuple[Literal[*PROBLEMS], ...] = tuple(PROBLEMS)
    k: tuple[int, ...] = (64, 256)
    shares: tuple[float, ...] = (0.5,)
    updates: tuple[Literal["decision", "step"], ...] = ("decision",)
    budget: Annotated[Budget, tyro.conf.Suppress] = field(default_factory=Budget)


class Looks(BaseCallback):
    """Scores the policy at evenly spread steps, exactly.

    Args:
        budget: The callback that counts steps; it must come first in the list.
        looks: How often.
        table: What the actions do.
        start: The state whose value is the score.
    """

    def __init__(self, budget: FrameBudget, looks: int, table: Table, start: int) -> None:
        """Note them."""
        super().__init__()
        self._budget, self._looks, self._table, self._start = budget, looks, table, start
        self.scores: list[float] = []

    def q_values(self) -> Values:
        """The network's values of all states, shape ``(states, actions)``."""
        with th.no_grad():
            states = th.arange(len(self._table.rewards))
            values: Values = self.model.q_net(states).double().numpy()  # type: ignore[attr-defined]
            return values

    def _on_step(self) -> bool:
        """Score where a decision comes to a look, or past several."""
        due = self._budget.frames * self._looks // self._budget.budget
        if due > len(self.scores):
            values = epsilon_greedy_values(self._table, self.q_values(), EPSILON)
            self.scores += [float(values[self._start])] * (min(due, self._looks) - len(self.scores))
        return True


def learn(budget: Budget, run: Run) -> dict[str, float]:
    """One run.

    Returns:
        ``area``, the mean score over the run; ``final``, over its last 30%; ``training``, the
        mean over steps of the returns while it learned; ``spread``, the deviation over actions of
        its last values, over states on average; what it took; and the seconds.
    """
    begun = time.perf_counter()
    cell = run.cell
    problem = PROBLEMS[cell.problem]()
    macro_set = macros(cell.problem, cell.k, cell.share, run.seed)
    table = with_macros(problem.table, macro_set)
    given = arguments(budget, run, table)
    env = Monitor(macro_env(problem, macro_set))
    model = LEARNERS[cell.updates]("MlpPolicy", env, seed=run.seed, device="cpu", **given)
    frames = FrameBudget(budget.steps)
    looks = Looks(frames, budget.looks, table, problem.start)
    episodes = let_learn(model, frames, [looks])
    scores = np.array(looks.scores) / problem.best
    return {
        "area": scores.mean(),
        "final": scores[-max(len(scores) * 3 // 10, 1) :].mean(),
        "training": area_under_curve(episodes) or 0.0,
        "spread": looks.q_values().std(axis=1).mean(),
        "steps": frames.frames,
    } | effort(model, begun)


def arguments(budget: Budget, run: Run, table: Table) -> dict[str, Any]:
    """The learner's arguments in a run."""
    shared = dict(budget.learner)
    shared["train_freq"] = (shared["train_freq"], "decision")
    policy = {"net_arch": shared.pop("net_arch")}
    own = ARMS[run.arm].learner_arguments(run.strength)
    if run.arm == "oracle":
        own["similarity"] = oracle_similarity(optimal_q_values(table))
    return shared | own | {"policy_kwargs": policy | own.get("policy_kwargs", {})}


def cells(settings: Settings) -> list[Cell]:
    """Where arms are compared, in the order in which that is run."""
    grid = itertools.product(settings.updates, settings.shares, settings.k, settings.problems)
    return [Cell(problem, k, share, updates) for updates, share, k, problem in grid]


def main(settings: Settings) -> None:
    """Run what has not been run, if that is asked for."""
    output = settings.table(OUTPUT)
    if settings.smoke:
        settings = replace(
            settings,
            problems=("chain",),
            k=(16,),
            seeds=1,
            tuning_seeds=1,
            workers=settings.workers or 1,
            arms=("macros", "uniform", "meta", "oracle"),
            budget=replace(settings.budget, steps=600, looks=3),
        )
    common = {"steps": settings.budget.steps, "looks": settings.budget.looks, "epsilon": EPSILON}
    conduct(
        settings,
        output,
        common | settings.budget.learner,
        cells(settings),
        partial(learn, settings.budget),
    )


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
