"""CreditWeights: a number in [0, 1] for each pair of a decision and a later one."""

from abc import ABC, abstractmethod
from typing import Any

import torch as th
from gymnasium import spaces
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sb3_masp.pairwise.trajectory import Trajectory

PAIRS_AT_ONCE = 2**17
"""Pairs whose weights are computed, and held for a gradient, at once."""


class CreditWeights(nn.Module, ABC):
    """f_η(S_t, S_k, k − t): share of credit that a decision in S_t gets for what comes with S_k.

    A form is a subclass that defines `between`, which computes weights for some decisions at a
    time, and optionally `encode`, for what is needed only once per trajectory.
    """

    @property
    def is_learned(self) -> bool:
        """Whether any parameter is learned."""
        return any(parameter.requires_grad for parameter in self.parameters())

    def settings(self) -> dict[str, float]:
        """Numbers that define the weights besides their parameters."""
        return {}

    def require_states(self, observation_space: spaces.Space[Any]) -> None:
        """Reject observations that these weights cannot read; none by default.

        Raises:
            LearnerSettingError: They cannot read the observations.
        """

    def encode(self, trajectory: Trajectory) -> tuple[Tensor, ...]:
        """Compute what the weights of all pairs depend on, differentiable in η."""
        return ()

    @abstractmethod
    def between(
        self, trajectory: Trajectory, rows: slice, later: slice, *encoded: Tensor
    ) -> Tensor:
        """Weights of decisions ``rows`` for what follows decisions ``later``.

        Args:
            trajectory: The trajectory of the decisions.
            rows: Decisions t that are credited, taken in S_t.
            later: Decisions k − 1 that credit is for, which lead to S_k.
            encoded: The result of `encode`.

        Returns:
            Weights, shape ``(envs, rows, later)``; those of other episodes and of decisions before
            a row's own are ignored, but must be finite.
        """

    def matrix(self, trajectory: Trajectory) -> Tensor:
        """All weights, zero where they do not count, shape ``(envs, time, time)``."""
        everything = slice(0, trajectory.rewards.shape[1])
        weights = self.between(trajectory, everything, everything, *self.encode(trajectory))
        return weights * trajectory.later(everything)


def weighted_sum(weights: CreditWeights, trajectory: Trajectory, what: Tensor) -> Tensor:
    """``Σ_{k>t} f_η(S_t, S_k, k − t) x_k`` within each episode.

    Time grows with the square of the trajectory's length, but memory does not: rows are computed a
    few at a time and, where gradients flow, recomputed for them.

    Args:
        weights: f_η.
        trajectory: The trajectory of the states.
        what: x, at the decision that leads to S_k, shape ``(envs, time)``.

    Returns:
        The sums, shape ``(envs, time)``, differentiable in η.

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
