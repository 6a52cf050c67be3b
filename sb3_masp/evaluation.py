"""Scores of a trained model, with their confidence interval."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.utils import set_random_seed
from stable_baselines3.common.vec_env import VecEnv
from tqdm import tqdm

from sb3_masp.generators import generators, restore_generators


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Scores of evaluation episodes.

    Args:
        scores: Sum of the unclipped rewards of each episode.
        decisions: Decisions in each episode.
        epsilon: Share of random decisions.
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
        """95% confidence interval of the mean over episodes, by percentile bootstrap.

        It does not cover the variation between training seeds.
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
    model: BaseAlgorithm,
    env: VecEnv,
    episodes: int,
    epsilon: float = 0.05,
    seed: int = 0,
    progress_bar: bool = False,
    each: Callable[[int, dict[str, Any], bool], None] | None = None,
) -> Evaluation:
    """Play ``episodes`` episodes with a share of random decisions.

    Args:
        model: A learner, left unchanged. Its own decisions are greedy and without the noise of
            noisy layers or, for learners with a policy, sampled from it.
        env: Environments with SB3's Monitor, which records unclipped rewards.
        episodes: Number of episodes.
        epsilon: Share of random decisions: 0.05 as in Mnih et al. (2015), so that a greedy policy
            cannot get stuck; 1 for the random policy.
        seed: Seed of the policy and the environments. Random generators outside the environments
            are restored afterwards.
        progress_bar: Whether to show a progress bar, counting episodes.
        each: Called after each decision of these episodes with the environment's index, its info,
            and whether the episode has ended.
    """
    env.seed(seed)
    bar = tqdm(total=episodes, unit="episode", disable=not progress_bar, leave=False)

    def count(state: dict[str, Any], _: dict[str, Any]) -> None:
        bar.update(int(state["done"]))
        if each is not None:
            each(state["i"], state["info"], bool(state["done"]))

    with bar, playing(model, epsilon, seed) as player:
        scores, lengths = evaluate_policy(
            player, env, episodes, callback=count, return_episode_rewards=True
        )
    assert isinstance(scores, list)
    assert isinstance(lengths, list)
    return Evaluation(tuple(map(float, scores)), tuple(map(int, lengths)), epsilon)


@dataclass(frozen=True)
class _PartlyRandom:
    """ε-greedy exploration as in SB3's DQN, for any learner: all environments at once.

    Args:
        model: The learner.
        epsilon: Share of random decisions.
        greedy: Whether the learner's own decisions are greedy.
    """

    model: BaseAlgorithm
    epsilon: float
    greedy: bool

    def predict(
        self,
        observation: Any,
        state: tuple[NDArray[Any], ...] | None = None,
        episode_start: NDArray[Any] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], tuple[NDArray[Any], ...] | None]:
        """Return the model's actions, or random ones, for one observation or a batch."""
        decided, state = self.model.predict(observation, state, episode_start, self.greedy)
        if np.random.rand() < self.epsilon:
            drawn = [self.model.action_space.sample() for _ in range(decided.size)]
            decided = np.reshape(drawn, decided.shape)
        return decided, state


@contextmanager
def playing(model: BaseAlgorithm, epsilon: float, seed: int) -> Iterator[_PartlyRandom]:
    """Yield the policy of an evaluation, seeded; restore all random generators afterwards.

    Args:
        model: A learner, left unchanged.
        epsilon: Share of random decisions.
        seed: Seed of the policy.
    """
    before = generators(model)
    set_random_seed(seed)
    model.action_space.seed(seed)
    try:
        yield _PartlyRandom(model, epsilon, greedy="exploration_rate" in vars(model))
    finally:
        restore_generators(model, before)
