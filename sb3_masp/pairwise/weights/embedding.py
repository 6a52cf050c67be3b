"""Weights by a network, for states of any kind."""

import torch as th
from torch import Tensor, nn

from sb3_masp.pairwise.trajectory import Trajectory
from sb3_masp.pairwise.weights.base import CreditWeights
from sb3_masp.pairwise.weights.features import StateFeatures

SCALES = (1.0, 4.0, 16.0, 64.0, 256.0)
"""Steps over which features of an interval decay."""


class EmbeddingWeights(CreditWeights):
    """``f = sigmoid(w · (a(S_t) ⊙ b(S_k) ⊙ c(k − t)) + bias)``.

    Args:
        features: State features, for both embeddings.
        dim: Length of the embeddings.

    Source: arXiv 2102.04999, section 5.2; sizes, and the encoding of the interval, are ours.
    """

    def __init__(self, features: StateFeatures, dim: int = 16) -> None:
        """Build the embeddings; weights start close to one half."""
        super().__init__()
        self.features = features
        self.origin = _embedding(features.features_dim, dim)
        self.arrival = _embedding(features.features_dim, dim)
        self.interval = _embedding(len(SCALES) + 1, dim)
        self.head = nn.Linear(dim, 1)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)

    def encode(self, trajectory: Trajectory) -> tuple[Tensor, ...]:
        """Embeddings of the states decided in and arrived at, ``(envs, dim, time)``; and c."""
        features = self.features(trajectory.observations)
        envs, time = trajectory.rewards.shape
        origins = self.origin(features[: envs * time]).view(envs, time, -1)
        arrivals = self.arrival(features)[trajectory.arrivals]
        longest = int(trajectory.durations.sum(dim=1).max())
        steps = th.arange(longest + 1, device=features.device, dtype=features.dtype)
        return origins.mT, arrivals.mT, self.interval(_views(steps)).mT

    def between(
        self, trajectory: Trajectory, rows: slice, later: slice, *encoded: Tensor
    ) -> Tensor:
        """Multiply the three embeddings and map them to a weight.

        Sums and products are left to matrix products where possible: elementwise they cost most.
        """
        origins, arrivals, intervals = encoded
        of_states = origins[:, :, rows, None] @ arrivals[:, :, None, later]
        steps = _steps_between(trajectory, rows, later, intervals.shape[1] - 1)
        of_intervals = intervals[:, steps].movedim(0, 1)
        # Expanded by hand, or the large matrix would be transposed and copied instead.
        weights = self.head.weight.expand(len(origins), 1, -1)
        products = weights @ (of_states * of_intervals).flatten(2)
        return (products + self.head.bias).view(len(origins), *of_states.shape[2:]).sigmoid()


def _steps_between(trajectory: Trajectory, rows: slice, later: slice, longest: int) -> Tensor:
    """Steps from S_t to S_k, ``(envs, rows, later)``; envs is 1 where every decision is one step.

    Args:
        trajectory: The trajectory of the decisions.
        rows: Decisions taken in S_t.
        later: Decisions that lead to S_k.
        longest: Steps of the environment that took the most.
    """
    clock = trajectory.clock
    if longest == clock.shape[1]:
        clock = th.arange(longest, device=clock.device)[None]
        ends = clock + 1
    else:
        ends = clock + trajectory.durations
    # Pairs of different episodes do not count, so that their value is arbitrary.
    return (ends[:, None, later] - clock[:, rows, None]).clamp_(0, longest)


def _embedding(n_inputs: int, dim: int) -> nn.Sequential:
    """A layer whose outputs are within −1..1 but not small, since three of them are multiplied."""
    layer = nn.Linear(n_inputs, dim)
    nn.init.orthogonal_(layer.weight, gain=2**0.5)
    return nn.Sequential(layer, nn.Tanh())


def _views(steps: Tensor) -> Tensor:
    """Features of an interval, shape ``(intervals, len(SCALES) + 1)``."""
    fading = (-steps[:, None] / steps.new_tensor(SCALES)).exp()
    return th.cat([steps[:, None].log1p(), fading], dim=1)
