"""Measure how much pre-learned weights speed up learning, on the DAG of arXiv 2102.04999.

First, tables of weights are meta-learned for the first 16 updates of a policy: it is re-initialised
after every 16 updates, and the weights' gradient goes through all of them. Then new policies learn
with the tables held fixed, in comparison with regular returns and handcrafted weights. The score is
the number of episodes until the policy's exact expected return reaches 95% of the best possible.
Each arm chooses its learning rate on seeds from 100 on; seeds 0, 1, 2, ... are reported.

Each run is added to the table as soon as it ends, so the same command resumes after an
interruption. Without --smoke or --full it only reports what is missing and how long it takes.
"""

import os
import sys
import time
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch as th
import tyro
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env

sys.path.insert(0, str(Path(__file__).parents[2]))

from examples.credit.runs import Arm, Results, Row, Run, carry_out, conduct
from examples.experiments.rows import FIRST_TUNING_SEED
from examples.experiments.settings import GridSettings
from sb3_masp.pairwise import CreditWeights, FixedTableWeights, GeometricWeights, PairwiseA2C
from sb3_masp.pairwise.problems import dag
from sb3_masp.pairwise.weight_files import load_weights, save_weights

BATCH = 8
"""Episodes per update."""

INNER_STEPS = 16
"""Updates of the policy before it is re-initialised, as in the paper."""

SHARE = 0.95
"""Share of the best return that has to be reached."""

TUNING_TABLES = 2
"""Tables of weights, per kind and depth, with which learning rates are chosen."""

OUTPUT = Path(__file__).parent / "results" / "dag.csv"

RATES = {"learning_rate": (0.01, 0.03, 0.1, 0.2)}

ARMS = {
    "regular returns": Arm("Every reward counts in full, whenever it comes.", {}, RATES),
    "handcrafted": Arm("A reward counts for the choice on which it depends.", {}, RATES),
    "meta-learned, rewards": Arm("Weights of rewards, learned beforehand.", {}, RATES),
    "meta-learned, TD errors": Arm("Weights of TD errors, learned beforehand.", {}, RATES),
}

LEARNED = {"meta-learned, rewards": "pwr", "meta-learned, TD errors": "pwtd"}
"""The ``advantage`` of the arms whose weights are learned."""


@dataclass(frozen=True)
class Budget:
    """Budget and learner arguments of every run.

    Args:
        outer_steps: Steps of the weights.
        inner_learning_rate: Learning rate of the policies for which weights are learned.
        meta_learning_rate: Learning rate of the weights.
        most: Episodes after which learning is given up.
    """

    outer_steps: int = 200
    inner_learning_rate: float = 0.03
    meta_learning_rate: float = 0.1
    most: int = 20_000


@dataclass(frozen=True)
class Settings(GridSettings):
    """Settings of the experiment.

    Args:
        depths: Depths of the DAGs.
    """

    arms: tuple[str, ...] = tuple(ARMS)
    tuning_seeds: int = 5
    depths: tuple[int, ...] = (4, 8, 16)
    budget: Annotated[Budget, tyro.conf.Suppress] = field(default_factory=Budget)


def expected_return(depth: int, right: npt.NDArray[np.float64]) -> float:
    """Exact expected return of a policy.

    Args:
        depth: Depth of the DAG.
        right: Probability of the action that pays +1 in each choice state, ``(choices,)``.

    Returns:
        ``Σ_s P(s) (2 p(s) − 1)``: each choice state that is reached earns its own reward.
    """
    met, total = {0: 1.0}, 0.0
    for _ in range(depth // 2):
        after: dict[int, float] = {}
        for state, probability in met.items():
            total += probability * (2 * right[state] - 1)
            for action in (0, 1):
                taken = right[state] if action == state % 2 else 1 - right[state]
                after[dag.transition(depth, state, action)[0]] = probability * taken
        met = after
    return total


def policys_return(model: PairwiseA2C, depth: int) -> float:
    """`expected_return` of a learner's stochastic policy."""
    states = th.arange(dag.n_choices(depth))
    with th.no_grad():
        distribution = model.policy.get_distribution(states[:, None]).distribution
    right: Any = distribution.probs[states, states % 2]  # type: ignore[union-attr,index]
    return expected_return(depth, right.double().numpy())


def learner(depth: int, seed: int, learning_rate: float, **kwargs: Any) -> PairwiseA2C:
    """Build a learner with a tabular policy and values, and whole episodes in every rollout."""
    env = make_vec_env(lambda: gym.make("Credit/DAG-v0", depth=depth), BATCH, seed=seed)
    return PairwiseA2C(
        "MlpPolicy",
        env,
        learning_rate,
        n_steps=depth,
        gamma=1.0,
        gae_lambda=1.0,
        seed=seed,
        device="cpu",
        policy_kwargs={"net_arch": []},
        **kwargs,
    )


def learn_weights(depth: int, advantage: str, seed: int, budget: Budget) -> CreditWeights:
    """Meta-learn a table of weights for newly initialised policies."""
    model = learner(
        depth,
        seed,
        budget.inner_learning_rate,
        advantage=advantage,
        weights="table",
        inner_steps=INNER_STEPS,
        inner_resets=True,
        meta_learning_rate=budget.meta_learning_rate,
    )
    rollouts = budget.outer_steps * (INNER_STEPS + 1)
    model.learn(rollouts * BATCH * depth, log_interval=10**9)
    return FixedTableWeights(model.weights.table().detach().numpy())  # type: ignore[operator]


class UntilGood(BaseCallback):
    """Stops training when the policy's expected return reaches `SHARE` of the best one."""

    def __init__(self, depth: int) -> None:
        """Store the depth."""
        super().__init__()
        self._depth = depth
        self.reached: int | None = None

    def _on_rollout_start(self) -> None:
        """Evaluate the policy, and record the number of episodes once it is good enough."""
        wanted = SHARE * dag.best_return(self._depth)
        if self.reached is None and policys_return(self.model, self._depth) >= wanted:  # type: ignore[arg-type]
            self.reached = self.num_timesteps // self._depth

    def _on_step(self) -> bool:
        """Continue until then."""
        return self.reached is None


def episodes_needed(
    depth: int, weights: CreditWeights, advantage: str, learning_rate: float, seed: int, most: int
) -> Row:
    """Learn with fixed weights until the policy is good enough, for at most ``most`` episodes.

    Returns:
        ``episodes``, or twice ``most`` if these were not enough; the final policy's ``expected``
        return, as a share of the best; and the ``seconds``.
    """
    begun = time.perf_counter()
    model = learner(
        depth, seed, learning_rate, advantage=advantage, weights=weights, weights_frozen=True
    )
    until = UntilGood(depth)
    model.learn(most * depth, callback=until, log_interval=10**9)
    return {
        "episodes": 2 * most if until.reached is None else until.reached,
        "expected": float(policys_return(model, depth) / dag.best_return(depth)),
        "seconds": time.perf_counter() - begun,
    }


def regular() -> CreditWeights:
    """Weights of the undiscounted return."""
    return GeometricWeights(1.0)


def handcrafted(depth: int) -> CreditWeights:
    """Weights of the reward that depends on each choice."""
    return FixedTableWeights(dag.handcrafted_weights(depth))


def problem(depth: int) -> str:
    """Name of a DAG in tables."""
    return f"depth {depth}"


def depth_of(run: Run) -> int:
    """The depth of a run's DAG."""
    return int(run.problem.removeprefix("depth "))


def table_path(folder: Path, run: Run) -> Path:
    """Path of the weights that a run learns or uses.

    Reported runs use weights of their own seed; the runs that choose learning rates share a few.
    """
    seed = run.seed if run.is_reported else FIRST_TUNING_SEED + run.seed % TUNING_TABLES
    return folder / f"depth{depth_of(run)}-{LEARNED[run.arm]}-seed{seed}.safetensors"


def find_weights(budget: Budget, folder: Path, run: Run) -> list[Row]:
    """Learn a table of weights and save it.

    Returns:
        One row: its mean where a reward depends on the action (``due``) and where another reward
        could follow (``elsewhere``), and the seconds.
    """
    begun, depth = time.perf_counter(), depth_of(run)
    weights = learn_weights(depth, LEARNED[run.arm], run.seed, budget)
    table_path(folder, run).parent.mkdir(parents=True, exist_ok=True)
    save_weights(table_path(folder, run), weights)
    table: Any = weights.values.numpy()  # type: ignore[operator]
    due = dag.handcrafted_weights(depth) > 0
    return [
        {
            "due": float(table[due].mean()),
            "elsewhere": float(table[dag.reachable(depth) & ~due].mean()),
            "seconds": time.perf_counter() - begun,
        }
    ]


def learn(budget: Budget, folder: Path, run: Run) -> list[Row]:
    """Carry out one run with fixed weights, which are learned first if their file is missing."""
    depth = depth_of(run)
    if run.arm in LEARNED:
        if not table_path(folder, run).exists():
            find_weights(budget, folder, run)
        weights = load_weights(table_path(folder, run))
    else:
        weights = regular() if run.arm == "regular returns" else handcrafted(depth)
    rate = ARMS[run.arm].learner_arguments(run.choice)["learning_rate"]
    advantage = LEARNED.get(run.arm, "pwr")
    return [episodes_needed(depth, weights, advantage, rate, run.seed, budget.most)]


def main(settings: Settings) -> None:
    """Report what is missing and, if requested, learn weights and then policies with them."""
    output = settings.table(OUTPUT)
    if settings.smoke:
        settings = replace(
            settings,
            depths=(4,),
            seeds=1,
            tuning_seeds=1,
            workers=1,
            budget=replace(settings.budget, outer_steps=2, most=200),
        )
    common = {"batch": BATCH, "inner_steps": INNER_STEPS, "share": SHARE, **vars(settings.budget)}
    folder, problems = output.with_name("dag_weights"), [problem(d) for d in settings.depths]
    tuning = range(min(settings.tuning_seeds, TUNING_TABLES))
    seeds = [*range(settings.seeds), *(FIRST_TUNING_SEED + seed for seed in tuning)]
    wanted = [Run(p, arm, "", s) for p in problems for arm in LEARNED for s in seeds]
    carry_out(
        Results(output.with_name("dag_weights.csv"), common),
        wanted,
        partial(find_weights, settings.budget, folder),
        settings.workers or os.cpu_count() or 1,
        settings.is_to_run,
    )
    for name in problems:
        conduct(
            settings,
            Results(output, common),
            {arm: ARMS[arm] for arm in settings.arms},
            [name],
            [name],
            partial(learn, settings.budget, folder),
            "episodes",
            least=True,
        )


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
