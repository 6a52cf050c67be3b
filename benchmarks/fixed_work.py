"""Time a fixed piece of work in a separate process, as a measure of the machine's speed.

A long measurement cannot tell a learner that slows down from a machine that does. Between its
samples it can therefore time this work, on one thread: passes of a network and frames of an
emulator, like those of a learner on Atari but independent of the state of the learner's process.
"""

import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import cache

import numpy as np
import torch as th
from ale_py import ALEInterface, LoggerMode, roms
from gymnasium.spaces import Box
from stable_baselines3.common.torch_layers import NatureCNN

PASSES = 4
"""Forward and backward passes of a Nature CNN, on 32 observations each."""

FRAMES = 100
"""Frames of Breakout."""


@contextmanager
def fixed_work() -> Iterator[Callable[[], float]]:
    """Provide a function that has the work done and returns the seconds that it took.

    Raises:
        BrokenProcessPool: From that function, if its process was killed.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, th.set_num_threads, (1,)) as pool:
        yield lambda: pool.submit(_timed).result()


def _timed() -> float:
    """Do the work twice and time the second run, since the first depends on what is cached."""
    _work()
    begun = time.perf_counter()
    _work()
    return time.perf_counter() - begun


def _work() -> None:
    """Do both parts of the work."""
    emulator, network, observations = _prepared()
    for _ in range(PASSES):
        network(observations).square().mean().backward()
    emulator.reset_game()
    for frame in range(FRAMES):
        emulator.act(1 + frame // 10 % 3)


@cache
def _prepared() -> tuple[ALEInterface, NatureCNN, th.Tensor]:
    """Build the emulator, the network and its observations."""
    th.manual_seed(0)
    ALEInterface.setLoggerMode(LoggerMode.Error)
    emulator = ALEInterface()
    emulator.setInt("random_seed", 0)
    emulator.setFloat("repeat_action_probability", 0.0)
    emulator.loadROM(roms.get_rom_path("breakout"))
    network = NatureCNN(Box(0, 255, (4, 84, 84), np.uint8))
    return emulator, network, th.rand(32, 4, 84, 84)
