"""Resampling: frames become steps by majority, and no reward is lost."""

from collections import Counter

import numpy as np
import pytest

from macro_gym.demonstrations import Demonstration
from macro_gym.demonstrations.resample import resample
from macro_gym.errors import FrameSkipError

NAMES = ("NOOP", "FIRE", "LEFT", "RIGHT", "UP")


def frames(actions, rewards=None, frameskip=1):
    return Demonstration(NAMES, np.array(actions, dtype=np.uint8), rewards, "Pong", frameskip)


def naive(actions, block):
    steps = []
    for start in range(0, len(actions), block):
        counts = Counter(actions[start : start + block])  # keeps the order of appearance
        steps.append(max(counts, key=counts.get))  # the first of the most frequent
    return steps


@pytest.mark.parametrize("block", [2, 3, 4, 5, 7])
def test_steps_are_the_majority_of_their_frames_as_counted_one_by_one(block):
    rng = np.random.default_rng(block)
    actions = rng.integers(5, size=1009)
    rewards = rng.integers(-3, 9, size=1009).astype(np.float32)
    play = resample(frames(actions, rewards), block)
    assert play.actions.tolist() == naive(actions.tolist(), block)
    assert play.rewards.tolist() == [rewards[i : i + block].sum() for i in range(0, 1009, block)]
    assert play.score == rewards.sum()
    assert (play.frameskip, play.primitives, play.game) == (block, NAMES, "Pong")


def test_of_equally_frequent_actions_the_first_in_the_block_wins():
    assert resample(frames([3, 1, 1, 3, 1, 3, 3, 1, 0, 4, 2, 1]), 4).actions.tolist() == [3, 1, 0]


def test_a_last_incomplete_block_is_a_step_of_its_own():
    play = resample(frames([1, 1, 1, 1, 0, 2, 2], np.ones(7, np.float32)), 4)
    assert play.actions.tolist() == [1, 2]
    assert play.rewards.tolist() == [4, 3]


def test_steps_of_several_frames_can_be_resampled_again():
    actions = np.random.default_rng(0).integers(2, size=96)
    once = resample(frames(actions, frameskip=2), 6)
    assert once.actions.tolist() == naive(actions.tolist(), 3)
    assert resample(once, 6) is once


@pytest.mark.parametrize(("old", "new"), [(0, 4), (4, 6), (4, 2), (1, 0), (1, -1)])
def test_what_cannot_be_resampled_is_refused(old, new):
    with pytest.raises(FrameSkipError, match=rf"frameskip is {new}, but the play"):
        resample(frames([0, 1], frameskip=old), new)


def test_play_without_steps_stays_without():
    assert len(resample(frames([]), 4).actions) == 0
