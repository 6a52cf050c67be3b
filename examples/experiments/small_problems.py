"""Train all arms on small problems with known answers: how much does sharing credit help?

There are four problems whose true values are known: two starts in four rooms, a corridor with a key
and a door, and a chain. Macros are mined from play or random. Each arm chooses its strength on
seeds from 100 on; seeds 0, 1, 2, ... are reported. The score is the exact value of the policy,
greedy except for 5% random decisions, as a share of the best possible value, averaged over the run.

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
from typing import Annotated, Any, Literal

import numpy as np
import torch as th
import tyro
from stable_baselines3.common.callbacks import BaseCallback

sys.path.insert(0, str(Path(__file__).parents[2]))

from examples.experiments.arms import ARMS, ORACLES, STATE_ORACLE
from examples.experiments.learners import LEARNERS, effort, let_learn, make_learner
from examples.experiments.oracles import READING_STATES, StateOracle, oracle_similarity
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
from examples.experiments.trial import Trial
from macro_gym import MacroSet
from sb3_masp import MASPDQN
from sb3_masp.callbacks import FrameBudget
from sb3_masp.sweeps.results import area_under_curve

OUTPUT = Path(__file__).parent / "results" / "small_problems.csv"
EPSILON = 0.05
"""Share of random decisions in the scored policy, as on Atari."""


@dataclass(frozen=True)
class Budget:
    """Budget and learner arguments of every run.

    Args:
        steps: Primitive steps per run.
        looks: Number of evenly spaced looks, at which the policy is scored.
        learner: Learner arguments shared by all arms.
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
    """Settings of the experiment.

    Args:
        problems: Problems to train on.
        k: Numbers of macros.
        shares: Shares of the macros that are mined rather than random.
        updates: Units in which updates are counted: one for every two decisions, or steps.
    """

    arms: tuple[Literal[*ARMS], ...] = tuple(ARMS)
    seeds: int = 10
    tuning_seeds: int = 3
    problems: tuple[Literal[*PROBLEMS], ...] = tuple(PROBLEMS)
    k: tuple[int, ...] = (64, 256)
    shares: tuple[float, ...] = (0.5,)
    updates: tuple[Literal["decision", "step"], ...] = ("decision",)
    budget: Annotated[Budget, tyro.conf.Suppress] = field(default_factory=Budget)


class Looks(BaseCallback):
    """Scores the policy exactly, at evenly spaced steps.

    Args:
        budget: The callback that counts steps; it must come first in the list.
        looks: Number of looks, at which the policy is scored.
        table: Transitions and rewards of the actions.
        start: The state whose value is the score.
    """

    def __init__(self, budget: FrameBudget, looks: int, table: Table, start: int) -> None:
        """Store the arguments."""
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
        """Score the policy if the decision reaches a look, or passes several."""
        due = self._budget.frames * self._looks // self._budget.budget
        if due > len(self.scores):
            values = epsilon_greedy_values(self._table, self.q_values(), EPSILON)
            self.scores += [float(values[self._start])] * (min(due, self._looks) - len(self.scores))
        return True


def learn(budget: Budget, run: Run) -> dict[str, float]:
    """Carry out one run; return its row from `train`."""
    cell = run.cell
    macro_set = macros(cell.problem, cell.k, cell.share, run.seed)
    own = ARMS[run.arm].learner_arguments(run.strength)
    if run.arm in ORACLES:
        q_values = optimal_q_values(with_macros(PROBLEMS[cell.problem]().table, macro_set))
        oracle = StateOracle if run.arm == STATE_ORACLE else oracle_similarity
        own["similarity"] = oracle(q_values)
    return train(budget, run, macro_set, own, FrameBudget(budget.steps))[1]


def train(
    budget: Budget,
    run: Run,
    macro_set: MacroSet,
    own: dict[str, Any],
    frames: FrameBudget,
    callbacks: Sequence[BaseCallback] = (),
) -> tuple[MASPDQN, dict[str, float]]:
    """Train the learner of a run.

    Args:
        budget: Budget of every run.
        run: The run, for its problem, unit of updates and seed.
        macro_set: The macros.
        own: Arguments of the learner, in addition to the shared ones.
        frames: Callback that counts steps.
        callbacks: Further callbacks, called after it.

    Returns:
        The learner; and a row: ``area``, the mean score over the run; ``final``, over its last 30%;
        ``training``, the training return averaged over steps; ``spread``, the standard deviation
        over actions of the final values, averaged over states; steps, decisions, updates and
        seconds.
    """
    begun = time.perf_counter()
    problem = PROBLEMS[run.cell.problem]()
    table, env = with_macros(problem.table, macro_set), macro_env(problem, macro_set)
    shared = dict(budget.learner)
    policy = {"net_arch": shared.pop("net_arch")}
    learners = READING_STATES if run.arm == STATE_ORACLE else LEARNERS
    model = make_learner(env, run.seed, shared, own, policy, run.cell.updates, learners)
    looks = Looks(frames, budget.looks, table, problem.start)
    episodes = let_learn(model, frames, [looks, *callbacks])
    scores = np.array(looks.scores) / problem.best
    row = {
        "area": scores.mean(),
        "final": scores[-max(len(scores) * 3 // 10, 1) :].mean(),
        "training": area_under_curve(episodes) or 0.0,
        "spread": looks.q_values().std(axis=1).mean(),
        "steps": frames.frames,
    }
    return model, row | effort(model, begun)


def learn_briefly(budget: Budget, run: Run, steps: int) -> dict[str, float]:
    """Carry out a run of a few steps that learns from the first one on."""
    return learn(shortened(budget, steps), run)


def shortened(budget: Budget, steps: int) -> Budget:
    """Budget of a run of a few steps that learns from the first one on."""
    return replace(budget, steps=steps, looks=1, learner=budget.learner | {"learning_starts": 0})


def common_settings(budget: Budget) -> dict[str, Any]:
    """Settings shared by all rows of the table."""
    own = {"steps": budget.steps, "looks": budget.looks, "epsilon": EPSILON}
    return own | budget.learner


def cells(settings: Settings) -> list[Cell]:
    """The cells in which arms are compared, in the order of their runs."""
    grid = itertools.product(settings.updates, settings.shares, settings.k, settings.problems)
    return [Cell(problem, k, share, updates) for updates, share, k, problem in grid]


def main(settings: Settings) -> None:
    """Report what is missing and, if requested, run it."""
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
    conduct(
        settings,
        output,
        common_settings(settings.budget),
        cells(settings),
        partial(learn, settings.budget),
        trial=Trial(partial(learn_briefly, settings.budget), settings.budget.steps),
    )


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
