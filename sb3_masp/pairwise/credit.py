"""Credit that pairwise weights assign along a trajectory: weighted sums, and their baseline."""

from collections.abc import Mapping
from typing import NamedTuple

import torch as th
from torch import Tensor

from sb3_masp.pairwise.trajectory import Trajectory, td_errors
from sb3_masp.pairwise.weighted_returns import WeightedReturns
from sb3_masp.pairwise.weights import CreditWeights, weighted_sum


class Credit(NamedTuple):
    """Weighted sums along a trajectory and what belongs to them, each of shape ``(envs, time)``.

    Args:
        credited: What the weights sum: TD errors or rewards.
        sums: The weighted sums, differentiable in η if the weights are learned.
        baseline: What is subtracted from them.
        losses: Losses of the return predictors, by name; ``()`` each.
    """

    credited: Tensor
    sums: Tensor
    baseline: Tensor
    losses: Mapping[str, Tensor]


def credit_of(
    trajectory: Trajectory, weights: CreditWeights, learned: bool, returns: WeightedReturns | None
) -> Credit:
    """Compute the weighted sums of what follows each decision.

    Args:
        trajectory: The decisions.
        weights: f_η.
        learned: Whether the sums are to be differentiable in η.
        returns: Predictors for sums of rewards; if None, TD errors are summed.
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
