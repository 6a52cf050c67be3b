"""Weights by table, for numbered states."""

from typing import Any, cast

import numpy as np
import torch as th
from gymnasium import spaces
from numpy.typing import ArrayLike
from torch import Tensor, nn

from macro_gym.errors import LearnerSettingError
from sb3_masp.pairwise.trajectory import Trajectory
from sb3_masp.pairwise.weights.base import CreditWeights


class TableWeights(CreditWeights):
    """``f(s, s′) = sigmoid(η[s, s′])``, which ignores the time between.

    Args:
        n_states: Number of states.

    Source: arXiv 2102.04999, section 5.1.
    """

    def __init__(self, n_states: int) -> None:
        """Start with weights of one half."""
        super().__init__()
        self.logits = nn.Parameter(th.zeros(n_states, n_states))

    def require_states(self, observation_space: spaces.Space[Any]) -> None:
        """Require as many numbered states as there are rows.

        Raises:
            LearnerSettingError: The observations are others.
        """
        _require_numbered(observation_space, len(self.logits))

    def table(self) -> Tensor:
        """The weights of all pairs of states, shape ``(states, states)``."""
        return self.logits.sigmoid()

    def encode(self, trajectory: Trajectory) -> tuple[Tensor, ...]:
        """The table."""
        return (self.table(),)

    def between(
        self, trajectory: Trajectory, rows: slice, later: slice, *encoded: Tensor
    ) -> Tensor:
        """Look up the states."""
        return _looked_up(encoded[0], trajectory, rows, later)


class FixedTableWeights(CreditWeights):
    """A given, fixed table: handcrafted weights, or those that another run has learned.

    Args:
        table: Weights within [0, 1], shape ``(states, states)``.

    Raises:
        LearnerSettingError: The table is not square, or not within [0, 1].
    """

    values: Tensor

    def __init__(self, table: ArrayLike) -> None:
        """Check and store the table."""
        super().__init__()
        self.register_buffer("values", require_weights(table))

    def require_states(self, observation_space: spaces.Space[Any]) -> None:
        """Require as many numbered states as there are rows.

        Raises:
            LearnerSettingError: The observations are others.
        """
        _require_numbered(observation_space, len(self.values))

    def between(
        self, trajectory: Trajectory, rows: slice, later: slice, *encoded: Tensor
    ) -> Tensor:
        """Look up the states."""
        return _looked_up(self.values, trajectory, rows, later)


class ClockWeights(CreditWeights):
    """A table by the steps since the episode began, for episodes whose phases follow a clock.

    Args:
        table: Weights within [0, 1], shape ``(steps, steps)``: rows are the steps before the
            decision that is credited, columns those before the decision that credit is for.

    Raises:
        LearnerSettingError: The table is not square, or not within [0, 1].
    """

    values: Tensor

    def __init__(self, table: ArrayLike) -> None:
        """Check and store the table."""
        super().__init__()
        self.register_buffer("values", require_weights(table))

    def encode(self, trajectory: Trajectory) -> tuple[Tensor, ...]:
        """Check that the table has a row for every step; nothing is encoded.

        Raises:
            LearnerSettingError: An episode is longer than the table.
        """
        steps = int(trajectory.clock.max()) + 1
        if steps > len(self.values):
            raise LearnerSettingError(
                f"the table of weights is for episodes of {len(self.values)} steps, but one has "
                f"come to {steps}; give the environment max_episode_steps, or a larger table"
            )
        return ()

    def between(
        self, trajectory: Trajectory, rows: slice, later: slice, *encoded: Tensor
    ) -> Tensor:
        """Look up the clock."""
        clock = trajectory.clock
        return self.values[clock[:, rows, None], clock[:, None, later]]


def require_weights(table: ArrayLike) -> Tensor:
    """A square table of weights as a tensor.

    Raises:
        LearnerSettingError: It is not square, or an entry is outside [0, 1].
    """
    weights = th.as_tensor(np.asarray(table, np.float32))
    if weights.ndim != 2 or weights.shape[0] != weights.shape[1]:
        raise LearnerSettingError(
            f"the table of weights has shape {tuple(weights.shape)}; it must be square"
        )
    if not ((weights >= 0) & (weights <= 1)).all():
        raise LearnerSettingError(
            f"the table's weights are {weights.min():g} to {weights.max():g}; they must be within "
            "0..1"
        )
    return weights


def _looked_up(table: Tensor, trajectory: Trajectory, rows: slice, later: slice) -> Tensor:
    """The table's entries for pairs of a trajectory's states, shape ``(envs, rows, later)``."""
    states = cast(Tensor, trajectory.observations).long().flatten()
    origins = states[: trajectory.rewards.numel()].view(trajectory.rewards.shape)
    arrivals = states[trajectory.arrivals]
    return table[origins[:, rows, None], arrivals[:, None, later]]


def _require_numbered(observation_space: spaces.Space[Any], n_states: int) -> None:
    """Reject observations other than the numbers of ``n_states`` states.

    Raises:
        LearnerSettingError: The observations are others.
    """
    if not isinstance(observation_space, spaces.Discrete) or observation_space.n != n_states:
        raise LearnerSettingError(
            f"the table of weights is of {n_states} numbered states, but observations are of "
            f"{observation_space}; they must be of Discrete({n_states})"
        )
