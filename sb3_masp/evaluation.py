"""Scores of a trained model, and how sure they are."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.utils import set_random_seed
from stable_baselines3.common.vec_env import VecEnv
from tqdm import tqdm


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Scores of episodes that nothing was learned from.

    Args:
        scores: Sum of the true rewards of each episode.
        decisions: Decisions in each episode.
        epsilon: Share of decisions that were random.
    """

    scores: tuple[float, ...]
    decisions: tuple[int, ...]
    epsilon: float

    @property
    def mean(self) -> float:
        """Mean score."""
        return float(np.mean(self.scores))

    @property
    def interval(self) -> tuple[float, float]:
        """95% interval of the mean over episodes, by percentile bootstrap.

        It says nothing of how another seed of training would have done.
        """
        rng = np.random.default_rng(0)
        samples = rng.choice(self.scores, size=(2000, len(self.scores))).mean(axis=1)
        low, high = np.quantile(samples, [0.025, 0.975])
        return float(low), float(high)

    def __str__(self) -> str:
        """``12.3 [10.1, 14.9] over 30 episodes``."""
        low, high = self.interval
        return f"{self.mean:.1f} [{low:.1f}, {high:.1f}] over {len(self.scores)} episodes"


def evaluate(
    model: OffPolicyAlgorithm,
    env: VecEnv,
    episodes: int,
    epsilon: float = 0.05,
    seed: int = 0,
    progress_bar: bool = False,
    each: Callable[[int, dict[str, Any], bool], None] | None = None,
) -> Evaluation:
    """Play ``episodes`` episodes with an ε-greedy policy.

    Args:
        model: A learner with SB3's ``exploration_rate``, which is left as it was.
        env: Environments with SB3's Monitor, which counts true rewards.
        episodes: How many.
        epsilon: Share of random decisions: 0.05 as in Mnih et al. (2015), so that a greedy policy
            cannot wait for ever; 1 for the random policy.
        seed: Of the policy and the environments.
        progress_bar: Whether to show one, counting episodes.
        each: Called after each decision of these episodes with the number of the environment, its
            info, and whether the episode has ended.
    """
    set_random_seed(seed)
    env.seed(seed)
    model.action_space.seed(seed)  # what SB3 explores with
    before = vars(model)["exploration_rate"]
    vars(model)["exploration_rate"] = epsilon
    bar = tqdm(total=episodes, unit="episode", disable=not progress_bar, leave=False)

    def count(state: dict[str, Any], _: dict[str, Any]) -> None:
        bar.update(int(state["done"]))
        if each is not None:
            each(state["i"], state["info"], bool(state["done"]))

    try:
        scores, lengths = evaluate_policy(
            model,
            env,
            episodes,
            deterministic=False,
            callback=count,
            return_episode_rewards=True,
        )
    finally:
        vars(model)["exploration_rate"] = before
        bar.close()
    assert isinstance(scores, list)
    assert isinstance(lengths, list)
    return Evaluation(tuple(map(float, scores)), tuple(map(int, lengths)), epsilon)
