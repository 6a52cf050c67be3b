"""Do weights that were meta-learned before speed up learning? The DAG of arXiv 2102.04999.

First, tables of weights are learned for whole beginnings of learning: the policy starts anew after
every 16 updates, through all of which the weights' gradient goes. Then new policies learn with the
tables held fixed, beside regular returns and handcrafted weights. The score is the number of
episodes until the policy's expected return, which is exact, is 95% of the best there is. Each arm
chooses its learning rate on seeds from 100 on; seeds 0, 1, 2, ... are reported.

Each run is a row of the table as soon as it ends, so the same command goes on after an
interruption. Without --smoke and --full it says what is to be run, and how long that takes.
"""

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch as th
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from tqdm import tqdm

from sb3_masp.pairwise import CreditWeights, FixedTableWeights, GeometricWeights, PairwiseA2C
from sb3_masp.pairwise.problems import dag

BATCH = 8
"""Episodes of an update."""

INNER_STEPS = 16
"""Updates from one beginning of the policy to the next, as in the paper."""

SHARE = 0.95
"""Of the best return, that is to be reached."""

RESULTS = Path(__file__).parent / "results"


def expected_return(depth: int, right: npt.NDArray[np.float64]) -> float:
    """Exact expected return of a policy.

    Args:
        depth: Of the DAG.
        right: Probability of the action that is paid +1 in each state of choice, ``(choices,)``.

    Returns:
        ``Σ_s P(s) (2 p(s) − 1)``: each choice that is met earns its own reward.
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
    """`expected_return` of a learner's policy, whose actions are drawn."""
    states = th.arange(dag.n_choices(depth))
    with th.no_grad():
        distribution = model.policy.get_distribution(states[:, None]).distribution
    right: Any = distribution.probs[states, states % 2]  # type: ignore[union-attr,index]
    return expected_return(depth, right.double().numpy())


def learner(depth: int, seed: int, learning_rate: float, **kwargs: Any) -> PairwiseA2C:
    """Tables for policy and values, and whole episodes in every rollout."""
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


def learn_weights(
    depth: int,
    advantage: str,
    seed: int,
    outer_steps: int,
    learning_rate: float,
    meta_learning_rate: float,
    progress_bar: bool = False,
) -> npt.NDArray[np.float32]:
    """A table of weights, meta-learned for policies that know nothing, ``(states, states)``."""
    model = learner(
        depth,
        seed,
        learning_rate,
        advantage=advantage,
        weights="table",
        inner_steps=INNER_STEPS,
        inner_resets=True,
        meta_learning_rate=meta_learning_rate,
    )
    rollouts = outer_steps * (INNER_STEPS + 1)
    bar = Rollouts(rollouts, f"weights, depth {depth}, {advantage}, seed {seed}", progress_bar)
    model.learn(rollouts * BATCH * depth, callback=bar, log_interval=10**9)
    table: npt.NDArray[np.float32] = model.weights.table().detach().numpy()  # type: ignore[operator]
    return table


class Rollouts(BaseCallback):
    """A progress bar that counts rollouts."""

    def __init__(self, total: int, label: str, shown: bool) -> None:
        """Begin at none."""
        super().__init__()
        self._bar = tqdm(total=total, desc=label, unit="rollout", disable=not shown)

    def _on_rollout_end(self) -> None:
        """Count one."""
        self._bar.update()

    def _on_step(self) -> bool:
        """Go on."""
        return True

    def _on_training_end(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()


class UntilGood(BaseCallback):
    """Stops when the policy's expected return is a share of the best one."""

    def __init__(self, depth: int) -> None:
        """Note the target."""
        super().__init__()
        self._depth = depth
        self.reached: int | None = None

    def _on_rollout_start(self) -> None:
        """Look at the policy, and note the episodes that it took."""
        wanted = SHARE * dag.best_return(self._depth)
        if self.reached is None and policys_return(self.model, self._depth) >= wanted:  # type: ignore[arg-type]
            self.reached = self.num_timesteps // self._depth

    def _on_step(self) -> bool:
        """Go on until then."""
        return self.reached is None


def episodes_needed(
    depth: int, weights: CreditWeights, advantage: str, learning_rate: float, seed: int, most: int
) -> Mapping[str, float]:
    """Learn with fixed weights until the policy is good, or ``most`` episodes are over.

    Returns:
        ``episodes``, infinite if they were not enough; the policy's ``expected`` return in the
        end, as a share of the best; and the ``seconds``.
    """
    begun = time.perf_counter()
    model = learner(
        depth, seed, learning_rate, advantage=advantage, weights=weights, weights_frozen=True
    )
    until = UntilGood(depth)
    model.learn(most * depth, callback=until, log_interval=10**9)
    return {
        "episodes": math.inf if until.reached is None else until.reached,
        "expected": policys_return(model, depth) / dag.best_return(depth),
        "seconds": time.perf_counter() - begun,
    }


def regular() -> CreditWeights:
    """Weights of the undiscounted return."""
    return GeometricWeights(1.0)


def handcrafted(depth: int) -> CreditWeights:
    """Weights of what depends on each choice."""
    return FixedTableWeights(dag.handcrafted_weights(depth))
