"""Reward redistribution: rewards move to the decisions that raise the predicted return."""

from typing import Any, cast

import torch as th
from gymnasium import spaces
from stable_baselines3.common.preprocessing import get_flattened_obs_dim, preprocess_obs
from torch import Tensor, nn

from sb3_masp.pairwise.sequences import read_in_order
from sb3_masp.pairwise.trajectory import Trajectory
from sb3_masp.pairwise.weights.features import StateFeatures


class ReturnPredictor(nn.Module):
    """Predicts, after every decision, the total reward of its episode.

    Args:
        features: State features.
        action_space: Action space of the decisions.
        dim: Size of the recurrent network.

    Source: the idea of RUDDER, arXiv 1806.07857; a GRU, trained on the latest rollout, is ours.
    """

    def __init__(
        self, features: StateFeatures, action_space: spaces.Space[Any], dim: int = 32
    ) -> None:
        """Build the network, which predicts zero at first."""
        super().__init__()
        self.features = features
        self.action_space = action_space
        n_inputs = features.features_dim + get_flattened_obs_dim(action_space)
        self.network = nn.GRU(n_inputs, dim, batch_first=True)
        self.head = nn.Linear(dim, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, trajectory: Trajectory) -> Tensor:
        """Predicted sums of the segments' rewards, ``(envs, time)``."""
        features = self.features(trajectory.decided)
        taken = cast(Tensor, preprocess_obs(trajectory.actions, self.action_space))
        inputs = th.cat([features, taken.view(len(features), -1).to(features.dtype)], dim=1)
        found: Tensor = self.head(read_in_order(self.network, inputs, trajectory))
        return found.view(trajectory.rewards.shape)


def stretch_sums(rewards: Tensor, trajectory: Trajectory) -> Tensor:
    """Total reward of each decision's segment of an episode, ``(envs, time)``."""
    sums = th.zeros_like(rewards).scatter_add(1, trajectory.episodes, rewards)
    return sums.gather(1, trajectory.episodes)


def redistributed(predictions: Tensor, rewards: Tensor, trajectory: Trajectory) -> Tensor:
    """Differences between predictions, plus the prediction error at each segment's end.

    Args:
        predictions: Predicted sum of the segment's rewards after each decision, ``(envs, time)``.
        rewards: The rewards, ``(envs, time)``.
        trajectory: The trajectory, which defines the segments.

    Returns:
        Rewards with the same sum in every segment, shape ``(envs, time)``.
    """
    before = nn.functional.pad(predictions[:, :-1], (1, 0))
    first = nn.functional.pad(trajectory.last[:, :-1], (1, 0), value=True)
    moved = predictions - before.masked_fill(first, 0)
    return moved + (stretch_sums(rewards, trajectory) - predictions) * trajectory.last
