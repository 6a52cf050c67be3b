"""Returns over decisions of several steps: ``R = Σ_{i<τ} γ^i r_i``, bootstrapped with ``γ^τ``."""

import numpy as np
from numpy.typing import NDArray


def decision_returns(
    primitive_rewards: NDArray[np.float64], durations: NDArray[np.int64], gamma: float
) -> NDArray[np.float64]:
    """Discounted return within each decision: ``Σ_{i<τ} γ^i r_i``.

    Args:
        primitive_rewards: Reward of each primitive, shape ``(batch, longest)``; entries from
            ``durations`` on are ignored.
        durations: τ, primitive steps of each decision, shape ``(batch,)``.
        gamma: Discount per primitive step.

    Returns:
        Returns, shape ``(batch,)``.

    Source: the reward of an option, Sutton, Precup & Singh 1999, section 2.
    """
    steps = np.arange(primitive_rewards.shape[1])
    ran = steps < durations[:, None]
    returns: NDArray[np.float64] = np.where(ran, primitive_rewards * gamma**steps, 0.0).sum(axis=1)
    return returns


def window_lengths(goes_on: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Length of each n-step window in decisions, up to the first that it may not continue past.

    Args:
        goes_on: Whether a window may continue past each decision but its last one, shape
            ``(batch, n_steps - 1)``.

    Returns:
        Lengths within ``1..n_steps``, shape ``(batch,)``.
    """
    lengths: NDArray[np.int64] = 1 + np.logical_and.accumulate(goes_on, axis=1).sum(axis=1)
    return lengths


def n_step_returns(
    returns: NDArray[np.float32],
    durations: NDArray[np.int32],
    lengths: NDArray[np.int64],
    gamma: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return of each window of decisions, and the discount of its bootstrap.

    ``R = Σ_j γ^(τ_0 + … + τ_{j−1}) R_j`` and ``γ^(τ_0 + … + τ_last)``: the same as the n-step
    return over the windows' primitive steps.

    Args:
        returns: Return within each decision, shape ``(batch, n_steps)``.
        durations: τ of each decision, shape ``(batch, n_steps)``.
        lengths: Decisions that count in each window, shape ``(batch,)``.
        gamma: Discount per primitive step.

    Returns:
        Returns and discounts, each of shape ``(batch, 1)``, computed in float32 and in the order of
        SB3's ``NStepReplayBuffer``, whose values they equal if every decision is one step.
    """
    within = np.arange(returns.shape[1]) < lengths[:, None]
    counted = durations * within
    ends = counted.cumsum(axis=1)
    starts = ends - counted
    discounted = returns * gamma ** starts.astype(np.float32) * within
    return (
        discounted.sum(axis=1, keepdims=True),
        gamma ** ends[:, -1:].astype(np.float32),
    )
