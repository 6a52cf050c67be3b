"""MacroReplaySamples: a batch from a replay buffer that knows how long decisions last."""

from typing import Any, NamedTuple

import numpy as np
import torch as th
from numpy.typing import NDArray


class MacroReplaySamples(NamedTuple):
    """A batch of decisions; the first six fields are those of SB3's ``ReplayBufferSamples``.

    Args:
        observations: Observations before the decision, shape ``(batch, *shape)``; by key for Dict
            spaces.
        actions: Shape ``(batch, 1)``.
        next_observations: Observations after the last decision of the n-step window.
        dones: Whether the episode terminated there (1) or may be bootstrapped (0),
            shape ``(batch, 1)``.
        rewards: Discounted return within the window, ``R``, shape ``(batch, 1)``.
        discounts: ``γ^τ`` over the window, the bootstrap's discount, shape ``(batch, 1)``.
        weights: Importance weights over the batch's largest; ones if uniform; ``(batch, 1)``.
        indices: Indices of the decisions, for `MacroReplayBuffer.update_priorities`, ``(batch,)``.
    """

    observations: Any
    actions: th.Tensor
    next_observations: Any
    dones: th.Tensor
    rewards: th.Tensor
    discounts: th.Tensor
    weights: th.Tensor
    indices: NDArray[np.int64]


def sent(array: NDArray[Any], device: th.device) -> th.Tensor:
    """``array`` as a tensor on the device; copies to a GPU are asynchronous.

    torch keeps the pinned memory until the copy is done, so that nothing needs to wait for it.
    """
    tensor = th.from_numpy(array)
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    # Takes half as long as SB3's to_torch where there is nothing to move.
    return tensor if device.type == "cpu" else tensor.to(device)
