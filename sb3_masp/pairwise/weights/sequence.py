"""Weights by a network that reads whole episodes: one per decision, for all before it."""

import torch as th
from torch import Tensor, nn

from sb3_masp.pairwise.sequences import read_in_order
from sb3_masp.pairwise.trajectory import Trajectory
from sb3_masp.pairwise.weights.base import CreditWeights
from sb3_masp.pairwise.weights.features import StateFeatures


class SequenceWeights(CreditWeights):
    """``f(t, k) = w_k``, from all states and rewards of the episode: a Return Generating Model.

    Args:
        features: State features.
        dim: Size of the recurrent network, in each direction.

    Source: Wang, Ye & Liu, arXiv 1905.11591; a bidirectional GRU as the network is ours.
    """

    def __init__(self, features: StateFeatures, dim: int = 32) -> None:
        """Build the network; weights start close to one half."""
        super().__init__()
        self.features = features
        self.network = nn.GRU(features.features_dim + 1, dim, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * dim, 1)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)

    def encode(self, trajectory: Trajectory) -> tuple[Tensor, ...]:
        """The weight w of each decision, shape ``(envs, time)``."""
        features = self.features(trajectory.decided)
        inputs = th.cat([features, trajectory.rewards.reshape(-1, 1)], dim=1)
        weights = self.head(read_in_order(self.network, inputs, trajectory)).sigmoid()
        return (weights.view(trajectory.rewards.shape),)

    def between(
        self, trajectory: Trajectory, rows: slice, later: slice, *encoded: Tensor
    ) -> Tensor:
        """The same weights for all rows."""
        n_rows = trajectory.rewards[:, rows].shape[1]
        return encoded[0][:, None, later].expand(-1, n_rows, -1)
