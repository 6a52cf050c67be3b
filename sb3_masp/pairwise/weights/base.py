"""What any pairwise weights are: a number in [0, 1] for a decision and one that comes later."""

from abc import ABC, abstractmethod
from typing import Any

import torch as th
from gymnasium import spaces
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sb3_masp.pairwise.trajectory import Trajectory

PAIRS_AT_ONCE = 2**17
"""Pairs whose weights are computed, and held for a gradient, together."""


class CreditWeights(nn.Module, ABC):
    """f_η(S_t, S_k, k − t): how much of what comes with S_k a decision in S_t is credited with.

    To write a form of one's own takes two methods: `encode` does what is needed once for a
    trajectory, and `between` makes weights of that, for some decisions at a time.
    """

    @property
    def is_learned(self) -> bool:
        """Whether there is anything to learn."""
        return any(parameter.requires_grad for parameter in self.parameters())

    def settings(self) -> dict[str, float]:
        """Numbers that the weights go by and that are no parameters."""
        return {}

    def require_states(self, observation_space: spaces.Space[Any]) -> None:
        """Refuse observations that these weights cannot read: nothing here.

        Raises:
            LearnerSettingError: They are such.
        """

    def encode(self, trajectory: Trajectory) -> tuple[Tensor, ...]:
        """What the weights of all pairs are computed from, with a graph to η."""
        return ()

    @abstractmethod
    def between(
        self, trajectory: Trajectory, rows: slice, later: slice, *encoded: Tensor
    ) -> Tensor:
        """Weights of what follows decisions ``later``, for decisions ``rows``.

        Args:
            trajectory: Whose decisions.
            rows: Those that are credited: t, of which S_t is the state.
            later: Those that credit is for: k − 1, of which S_k is the state arrived at.
            encoded: What `encode` gave.

        Returns:
            Weights, shape ``(envs, rows, later)``; those of other episodes and of decisions before
            a row's own need not mean anything, but must be finite.
        """

    def matrix(self, trajectory: Trajectory) -> Tensor:
        """All weights, zero where they do not count, shape ``(envs, time, time)``."""
        everything = slice(0, trajectory.rewards.shape[1])
        weights = self.between(trajectory, everything, everything, *self.encode(trajectory))
        return weights * trajectory.later(everything)


def weighted_sum(weights: CreditWeights, trajectory: Trajectory, what: Tensor) -> Tensor:
    """``Σ_{k>t} f_η(S_t, S_k, k − t) x_k`` within each episode.

    Costs time of the square of the trajectory's length, but not memory: rows are computed a few at
    a time and, where gradients flow, computed again for them.

    Args:
        weights: f_η.
        trajectory: Where the states are.
        what: x, at the decision that leads to S_k, shape ``(envs, time)``.

    Returns:
        The sums, shape ``(envs, time)``, with a graph to η.

    Source: arXiv 2102.04999, equations 9 and 10.
    """
    envs, time = what.shape
    encoded = weights.encode(trajectory)
    length = max(PAIRS_AT_ONCE // (envs * time), 1)

    def sums(start: int, *encoded: Tensor) -> Tensor:
        rows, later = slice(start, min(start + length, time)), slice(start, time)
        pairs = weights.between(trajectory, rows, later, *encoded)
        counted = pairs * trajectory.later(rows)[:, :, later]
        return (counted @ what[:, later, None].to(counted.dtype)).squeeze(-1)

    if length >= time:
        return sums(0, *encoded)
    blocks = (
        checkpoint(sums, start, *encoded, use_reentrant=False, preserve_rng_state=False)
        for start in range(0, time, length)
    )
    return th.cat(list(blocks), dim=1)
