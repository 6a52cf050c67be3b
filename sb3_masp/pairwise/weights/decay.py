"""Weights that decay with time: a fixed λ, and one that depends on the state."""

import torch as th
from torch import Tensor, nn

from sb3_masp.pairwise.trajectory import Trajectory
from sb3_masp.pairwise.weights.base import CreditWeights
from sb3_masp.pairwise.weights.features import StateFeatures


class GeometricWeights(CreditWeights):
    """``f = factor^(k−t−1)``: generalised advantages with γλ, and Monte Carlo returns with γ.

    Args:
        factor: Share of the credit that is left after each step, within [0, 1].

    Source: arXiv 2102.04999, below equations 9 and 11.
    """

    def __init__(self, factor: float) -> None:
        """Store the factor."""
        super().__init__()
        self.factor = factor

    def settings(self) -> dict[str, float]:
        """The factor."""
        return {"factor": self.factor}

    def between(
        self, trajectory: Trajectory, rows: slice, later: slice, *encoded: Tensor
    ) -> Tensor:
        """Powers of the factor, by the steps in between."""
        clock = trajectory.clock
        steps = (clock[:, None, later] - clock[:, rows, None]).clamp(min=0)
        powers: Tensor = th.pow(self.factor, steps.to(trajectory.rewards.dtype))
        return powers


class StateLambdaWeights(CreditWeights):
    """``f = Π γλ(S_m)`` over the states passed through, S_{t+1} to S_{k−1}, with one λ per state.

    A decision that lasts τ steps contributes ``(γλ)^τ``.

    Args:
        features: State features.
        gamma: γ, per primitive step.
        start: Initial λ of all states.

    Source: meta-gradients of λ(s), Xu, van Hasselt & Silver, arXiv 1805.09801.
    """

    def __init__(self, features: StateFeatures, gamma: float, start: float = 0.95) -> None:
        """Build λ(s)."""
        super().__init__()
        self.gamma = gamma
        self.features = features
        self.head = nn.Linear(features.features_dim, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.constant_(self.head.bias, th.logit(th.tensor(start)).item())

    def settings(self) -> dict[str, float]:
        """γ."""
        return {"gamma": self.gamma}

    def lambdas(self, trajectory: Trajectory) -> Tensor:
        """λ(S_t), shape ``(envs, time)``."""
        found: Tensor = self.head(self.features(trajectory.decided)).sigmoid()
        return found.view(trajectory.rewards.shape)

    def encode(self, trajectory: Trajectory) -> tuple[Tensor, ...]:
        """Logarithms of the credit that is left from the rollout's start to each S_t."""
        before = nn.functional.pad(trajectory.durations[:, :-1], (1, 0))
        smallest = th.finfo(trajectory.rewards.dtype).tiny
        left = (self.gamma * self.lambdas(trajectory)).clamp(min=smallest).log() * before
        return (left.cumsum(dim=1),)

    def between(
        self, trajectory: Trajectory, rows: slice, later: slice, *encoded: Tensor
    ) -> Tensor:
        """Credit that is left between the two states."""
        left = encoded[0]
        return (left[:, None, later] - left[:, rows, None]).clamp(max=0).exp()
