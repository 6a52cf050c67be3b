"""Faster updates, the same to rounding, for learners that need not equal one of SB3's."""

from typing import Any, TypeVar

import torch as th
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from torch.optim import Adam, AdamW, Optimizer

from sb3_masp.samples import MacroReplaySamples

VANISHING = 1e-30
"""Adam's moments below this are set to zero; numbers are denormal below 1e-38."""

Samples = TypeVar("Samples", MacroReplaySamples, ReplayBufferSamples)


def channels_last(batch: Samples) -> Samples:
    """The same batch with images in channels-last layout, which CPUs convolve faster."""
    return batch._replace(
        observations=_channels_last(batch.observations),
        next_observations=_channels_last(batch.next_observations),
    )


def fuse(optimizer: Optimizer) -> None:
    """Make Adam use torch's fused kernel, one pass over memory, unless configured otherwise."""
    if type(optimizer) in (Adam, AdamW):
        for group in optimizer.param_groups:
            chosen = group["foreach"] is not None or group["fused"] is not None
            if not chosen and not group["differentiable"]:
                group["fused"] = True


def drop_vanishing(optimizer: Optimizer) -> None:
    """Set moments of Adam to zero where they are below 1e-30, on the CPU.

    Moments of weights that no longer get gradients, such as those of dead units, shrink until they
    are denormal, and CPUs take many times as long to compute with such numbers: within a thousand
    updates on Breakout a third of the moments were denormal, and an update took a fifth longer.
    Moments this small move no weight by more than rounding.
    """
    for state in optimizer.state.values():
        for name in ("exp_avg", "exp_avg_sq"):
            moment = state.get(name)
            if moment is not None and moment.is_cpu:
                moment.masked_fill_(moment.abs() < VANISHING, 0)


def _channels_last(observations: Any) -> Any:
    """The same for observations; those on a device, and other than images, stay unchanged."""
    if isinstance(observations, dict):
        return {key: _channels_last(part) for key, part in observations.items()}
    if not observations.is_cpu or observations.ndim != 4:
        return observations
    return observations.contiguous(memory_format=th.channels_last)
