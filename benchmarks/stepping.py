"""Time stepping Breakout against the bare emulator, Gymnasium's wrappers and AtariVectorEnv.

All arms take turns within each round, so that a slowdown of the machine affects all of them; the
result is the median over rounds of each arm's frame rate relative to the bare emulator's in the
same round. Everything runs on one thread (ale-py's AtariVectorEnv on one of its own), with sticky
actions as in ``ALE/Breakout-v5``. Times are CPU time, which other work on the machine hardly
affects, without resets.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import ale_py
import cv2
import gymnasium as gym
import numpy as np
import tyro
from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation

import macro_gym
from benchmarks.frame_rates import Turn, compare
from macro_gym import MacroSet

gym.register_envs(ale_py)
gym.register_envs(macro_gym)

BARE = "ALE.act alone"
FRAMESKIP = 4
STICKY = 0.25


@dataclass(frozen=True)
class Settings:
    """Size of the measurement.

    Args:
        rounds: Rounds; each arm takes one turn in each.
        frames: Minimum number of emulator frames of each arm in a turn.
        seed: Seed of the macros and of the games.
        output: Where the result goes.
        smoke: Two short rounds, to check that it runs.
    """

    rounds: int = 20
    frames: int = 10_000
    seed: int = 0
    output: Path = Path("benchmarks/results/stepping.json")
    smoke: bool = False


def random_macros(length: int, seed: int) -> MacroSet:
    """128 random macros of one length for Breakout."""
    names = tuple(gym.make("ALE/Breakout-v5").unwrapped.get_action_meanings())
    return MacroSet(names, ((0,) * length,)).with_noise(127, np.random.default_rng(seed))


def bare_turns(macros: MacroSet, settings: Settings) -> Iterator[Turn]:
    """Turns of the emulator alone, which is given actions and renders nothing."""
    env = ale_py.AtariEnv("breakout", frameskip=1, repeat_action_probability=STICKY)
    env.reset(seed=settings.seed)
    ale, act = env.ale, env.ale.act
    codes = [action.value for action in ale.getMinimalActionSet()]
    held = cycle([[codes[p] for p in macro for _ in range(FRAMESKIP)] for macro in macros.macros])
    while True:
        frames, seconds = 0, 0.0
        while frames < settings.frames:
            before = ale.getFrameNumber()
            actions = next(held)
            start = time.process_time()
            for action in actions:
                act(action)
            seconds += time.process_time() - start
            # The emulator runs no frames past the end of the game, so its own count is used.
            frames += ale.getFrameNumber() - before
            if ale.game_over():
                ale.reset_game()
        yield frames, seconds


def env_turns(env: gym.Env[Any, Any], actions: list[int], settings: Settings) -> Iterator[Turn]:
    """Turns of an environment that cycles through ``actions``."""
    endless = cycle([np.int64(action) for action in actions])
    env.reset(seed=settings.seed)
    while True:
        frames, seconds = 0, 0.0
        while frames < settings.frames:
            action = next(endless)
            start = time.process_time()
            _, _, terminated, truncated, info = env.step(action)
            seconds += time.process_time() - start
            frames += FRAMESKIP * info.get("duration", 1)
            if terminated or truncated:
                env.reset()
        yield frames, seconds


def vector_turns(actions: list[int], settings: Settings) -> Iterator[Turn]:
    """Turns of ale-py's vector environment with one environment; its resets are not timed."""
    env = ale_py.AtariVectorEnv(
        "breakout", 1, num_threads=1, repeat_action_probability=STICKY, noop_max=0
    )
    endless = cycle([np.array([action]) for action in actions])
    env.reset(seed=settings.seed)
    done = False
    while True:
        frames, seconds = 0, 0.0
        while frames < settings.frames:
            action = next(endless)
            start = time.process_time()
            _, _, terminated, truncated, _ = env.step(action)
            if not done:
                seconds += time.process_time() - start
                frames += FRAMESKIP
            done = bool(terminated[0] or truncated[0])
        yield frames, seconds


def gymnasium_stack() -> gym.Env[Any, Any]:
    """The wrappers that MacroALE replaces, without macros."""
    env = gym.make("ALE/Breakout-v5", frameskip=1, repeat_action_probability=STICKY)
    return FrameStackObservation(AtariPreprocessing(env, noop_max=0, frame_skip=FRAMESKIP), 4)


def arms(settings: Settings) -> dict[str, Callable[[], Turn]]:
    """Each arm as a function that takes one turn."""
    macros = {length: random_macros(length, settings.seed) for length in (8, 4)}
    chosen = [4 + macro for macro in range(128)]
    primitives = [primitive for macro in macros[8].macros for primitive in macro]
    turns = {BARE: bare_turns(macros[8], settings)}
    for length, macro_set in macros.items():
        env = gym.make("MacroALE/Breakout-v5", macros=macro_set, repeat_action_probability=STICKY)
        turns[f"MacroALE, macros of length {length}"] = env_turns(env, chosen, settings)
    for length, macro_set in macros.items():
        env = macro_gym.MacroAction(gymnasium_stack(), macro_set)
        turns[f"Gymnasium's wrappers, macros of length {length}"] = env_turns(env, chosen, settings)
    turns["Gymnasium's wrappers, primitives"] = env_turns(gymnasium_stack(), primitives, settings)
    turns["ale-py's AtariVectorEnv, primitives"] = vector_turns(primitives, settings)
    return {name: partial(next, turn) for name, turn in turns.items()}


def main(settings: Settings) -> None:
    """Measure, print the ratios, and write the result."""
    if settings.smoke:
        settings = replace(settings, rounds=2, frames=200)
    cv2.setNumThreads(1)
    compare(
        arms(settings),
        BARE,
        rounds=settings.rounds,
        frames=settings.frames,
        output=settings.output,
    )


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
