"""Resample play at 60 Hz, or any frameskip, to an agent's larger frameskip."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from macro_gym.demonstrations.demonstration import Demonstration
from macro_gym.errors import FrameSkipError


def resample(demonstration: Demonstration, frameskip: int) -> Demonstration:
    """Return the play in steps of ``frameskip`` frames.

    Each block of old steps becomes one step, with the block's most frequent action; ties go to the
    action that comes first in the block, which an agent deciding there would have started with. Its
    reward is the sum of theirs. An incomplete last block becomes a step like any other, so that no
    reward is lost.

    Args:
        demonstration: Play whose frameskip divides ``frameskip``.
        frameskip: Frames per step of the result.

    Raises:
        FrameSkipError: The play's frameskip is unknown, or does not divide ``frameskip``.

    Example:
        >>> names, frames = ("NOOP", "LEFT"), np.array([0, 1, 1, 1, 0, 0, 1, 1, 1])
        >>> resample(Demonstration(names, frames, frameskip=1), 4).actions
        array([1, 0, 1])
    """
    if frameskip == demonstration.frameskip:
        return demonstration
    if frameskip < 1 or not demonstration.frameskip or frameskip % demonstration.frameskip:
        raise FrameSkipError(
            f"frameskip is {frameskip}, but the play ({demonstration.source or 'of unknown source'}"
            f") has {demonstration.frameskip or 'an unknown number of'} frames a step; only a "
            "multiple of a known number can be made of it"
        )
    block = frameskip // demonstration.frameskip
    rewards = demonstration.rewards
    return replace(
        demonstration,
        actions=_majority(np.asarray(demonstration.actions), block),
        rewards=None if rewards is None else _sums(rewards, block),
        frameskip=frameskip,
    )


def _majority(actions: NDArray[np.uint8], block: int) -> NDArray[np.uint8]:
    """The most frequent action of each block; ties go to the first."""
    blocks = _blocks(actions.astype(np.int64), block, -1)
    counts = (blocks[:, :, None] == blocks[:, None, :]).sum(axis=2)
    best = np.argmax(np.where(blocks >= 0, counts, 0), axis=1)
    majority: NDArray[np.uint8] = blocks[np.arange(len(blocks)), best].astype(actions.dtype)
    return majority


def _sums(rewards: NDArray[np.float32], block: int) -> NDArray[np.float32]:
    """The sum of each block."""
    sums: NDArray[np.float64] = _blocks(rewards.astype(np.float64), block, 0).sum(axis=1)
    return sums.astype(np.float32)


def _blocks(steps: NDArray[Any], block: int, fill: int) -> NDArray[Any]:
    """The steps in rows of ``block``, the last row padded; shape ``(blocks, block)``."""
    filled = np.pad(steps, (0, -len(steps) % block), constant_values=fill)
    return filled.reshape(-1, block)
