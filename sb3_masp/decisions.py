"""Decisions as reported by a macro environment: durations and the primitives' rewards."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from macro_gym.errors import ReplayBufferError


def primitive_rewards(
    infos: Sequence[Mapping[str, Any]], rewards: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Read the rewards of each decision's primitives from the ``info`` of a macro environment.

    Args:
        infos: May contain ``duration`` and ``primitive_rewards``; otherwise a decision is one
            primitive.
        rewards: Sums of the rewards of each decision's primitives, shape ``(decisions,)``.

    Returns:
        Rewards of the primitives, shape ``(decisions, longest)``, zero after the last one that
        ran, and durations, shape ``(decisions,)``.

    Raises:
        ReplayBufferError: The duration, the primitives' rewards and the reward do not match.
    """
    durations = np.array([info.get("duration", 1) for info in infos], dtype=np.int64)
    paid = [
        info.get("primitive_rewards", (reward,))[:duration]
        for info, reward, duration in zip(infos, rewards, durations.tolist(), strict=True)
    ]
    _require_one_each(infos, durations, np.fromiter(map(len, paid), np.int64, len(paid)))
    table = np.zeros((len(paid), durations.max()))
    table[np.arange(table.shape[1]) < durations[:, None]] = np.concatenate(paid)
    _require_sums(table, durations, rewards)
    return table, durations


def _require_one_each(
    infos: Sequence[Mapping[str, Any]], durations: NDArray[np.int64], lengths: NDArray[np.int64]
) -> None:
    """Reject decisions with fewer rewards than primitives, or with no primitive."""
    for env in ((lengths != durations) | (lengths == 0)).nonzero()[0]:
        given = len(infos[env].get("primitive_rewards", ("the reward",)))
        raise ReplayBufferError(
            f"infos[{env}] says duration {durations[env]}, but has {given} "
            "primitive_rewards; a macro environment gives both, of 1 primitive or more"
        )


def _require_sums(
    table: NDArray[np.float64], durations: NDArray[np.int64], rewards: NDArray[np.float64]
) -> None:
    """Reject decisions whose reward is not the sum of their primitives' rewards."""
    sums = table.sum(axis=1)
    # Both were rounded to float32, and the terms may cancel in the sum.
    rounding = 1e-5 * np.abs(table).sum(axis=1)
    for env in (np.abs(sums - rewards) > rounding).nonzero()[0]:
        raise ReplayBufferError(
            f"infos[{env}]: primitive_rewards sum to {sums[env]:g} over duration "
            f"{durations[env]}, but the reward is {rewards[env]:g}. Is there a reward wrapper, "
            "such as ClipRewardEnv, around the macro environment? Put it inside, or clip in the "
            "learner with clip_rewards=True."
        )
