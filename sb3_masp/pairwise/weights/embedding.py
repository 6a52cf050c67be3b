"""Weights by a network, for states of any kind."""

import torch as th
from torch import Tensor, nn

from sb3_masp.pairwise.trajectory import Trajectory
from sb3_masp.pairwise.weights.base import CreditWeights
from sb3_masp.pairwise.weights.features import StateFeatures

SCALES = (1.0, 4.0, 16.0, 64.0, 256.0)
"""Steps over which the network's view of an interval fades."""


class EmbeddingWeights(CreditWeights):
    """``f = sigmoid(w · (a(S_t) ⊙ b(S_k) ⊙ c(k − t)) + bias)``.

    Args:
        features: What reads a state, for both embeddings.
        dim: Length of the embeddings.

    Source: arXiv 2102.04999, section 5.2; sizes, and how the interval is read, are ours.
    """

    def __init__(self, features: StateFeatures, dim: int = 32) -> None:
        """Build the embeddings; weights begin close to one half."""
        super().__init__()
        self.features = features
        self.origin = _embedding(features.features_dim, dim)
        self.arrival = _embedding(features.features_dim, dim)
        self.interval = _embedding(len(SCALES) + 1, dim)
        self.head = nn.Linear(dim, 1)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)

    def encode(self, trajectory: Trajectory) -> tuple[Tensor, ...]:
        """Embeddings of the states decided in, of those arrived at, and of all intervals."""
        features = self.features(trajectory.observations)
        envs, time = trajectory.rewards.shape
        origins = self.origin(features[: envs * time]).view(envs, time, -1)
        arrivals = self.arrival(features)[trajectory.arrivals]
        ends = trajectory.clock + trajectory.durations
        steps = th.arange(int(ends.max() - trajectory.clock.min()) + 1, device=ends.device)
        return origins, arrivals, self.interval(_views(steps.to(features.dtype)))

    def between(
        self, trajectory: Trajectory, rows: slice, later: slice, *encoded: Tensor
    ) -> Tensor:
        """Multiply the three and map them to a number."""
        origins, arrivals, intervals = encoded
        ends = trajectory.clock + trajectory.durations
        steps = (ends[:, None, later] - trajectory.clock[:, rows, None]).clamp(min=0)
        weighed = origins[:, rows] * self.head.weight[0]
        of_states = weighed[:, :, None] * arrivals[:, None, later]
        products = (of_states * intervals[steps]).sum(dim=-1)
        return (products + self.head.bias).sigmoid()


def _embedding(n_inputs: int, dim: int) -> nn.Sequential:
    """A small network whose outputs are of unit size, or about that."""
    return nn.Sequential(
        nn.Linear(n_inputs, dim), nn.ReLU(), nn.Linear(dim, dim), nn.LayerNorm(dim)
    )


def _views(steps: Tensor) -> Tensor:
    """An interval as a network can read it, shape ``(intervals, SCALES + 1)``."""
    fading = [(-steps / scale).exp() for scale in SCALES]
    return th.stack([steps.log1p(), *fading], dim=1)
