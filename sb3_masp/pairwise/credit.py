"""What pairwise weights make of a trajectory: sums, and what is taken off them."""

from collections.abc import Mapping
from typing import NamedTuple

import torch as th
from torch import Tensor

from sb3_masp.pairwise.trajectory import Trajectory, td_errors
from sb3_masp.pairwise.weighted_returns import WeightedReturns
from sb3_masp.pairwise.weights import CreditWeights, weighted_sum


class Credit(NamedTuple):
    """What weights make of a trajectory, each of shape ``(envs, time)``.

    Args:
        credited: What they sum: TD errors or rewards.
        sums: The weighted sums, with a graph to η if the weights are learned.
        baseline: What is taken off them.
        losses: Of what predicts returns, by name; ``()`` each.
    """

    credited: Tensor
    sums: Tensor
    baseline: Tensor
    losses: Mapping[str, Tensor]


def credit_of(
    trajectory: Trajectory, weights: CreditWeights, learned: bool, returns: WeightedReturns | None
) -> Credit:
    """Sum what follows each decision by the weights.

    Args:
        trajectory: The decisions.
        weights: f_η.
        learned: Whether the sums are to have a graph to η.
        returns: What predicts sums of rewards; TD errors are summed if None.
    """
    of_rewards: Mapping[str, Tensor] = {}
    if returns is None:
        credited = td_errors(trajectory)
    else:
        credited, of_rewards = returns.credited(trajectory)
    with th.set_grad_enabled(learned):
        sums = weighted_sum(weights, trajectory, credited)
    if returns is None:
        return Credit(credited, sums, th.zeros_like(credited), {})
    baseline, of_baseline = returns.baseline(trajectory, sums.detach())
    return Credit(credited, sums, baseline, {**of_rewards, **of_baseline})
