"""Time stepping Airstriker against the bare emulator, RetroEnv and Gymnasium's wrappers.

All arms take turns within each round; the result is the median over rounds of each arm's frame
rate relative to the bare emulator's in the same round. stable-retro runs one emulator per process,
so all arms share one. Every turn repeats the game's first frames, so that all arms emulate the
same. Times are CPU time, without resets.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import cv2
import gymnasium as gym
import numpy as np
import tyro
from gymnasium.wrappers import (
    FrameStackObservation,
    GrayscaleObservation,
    MaxAndSkipObservation,
    ResizeObservation,
    StickyAction,
    TransformAction,
)

from benchmarks.frame_rates import Turn, compare
from macro_gym import MacroAction, MacroSet
from macro_gym.buttons import button_row
from macro_gym.retro import MacroRetroEnv
from macro_gym.retro_games import integration

GAME = "Airstriker-Genesis-v0"
BARE = "em.step alone"
FRAMESKIP = 4
STICKY = 0.25


@dataclass(frozen=True)
class Settings:
    """Size of the measurement.

    Args:
        rounds: Rounds; each arm takes one turn in each.
        frames: Minimum number of emulator frames of each arm in a turn.
        episode: Frames after which the game is restarted.
        seed: Seed of the macros and of the games.
        output: Where the result goes.
        smoke: Two short rounds, to check that it runs.
    """

    rounds: int = 20
    frames: int = 3_000
    episode: int = 900
    seed: int = 0
    output: Path = Path("benchmarks/results/retro_stepping.json")
    smoke: bool = False


def random_macros(length: int, seed: int) -> MacroSet:
    """128 random macros of one length, over all button combinations that the game allows."""
    names = integration(GAME).combinations()
    return MacroSet(names, ((0,) * length,)).with_noise(127, np.random.default_rng(seed))


def bare_turns(emulator: Any, reset: Any, macros: MacroSet, settings: Settings) -> Iterator[Turn]:
    """Turns of the emulator alone, which is given buttons to hold and not observed."""
    buttons = integration(GAME).buttons
    rows = [button_row(name, buttons) for name in macros.primitives]
    held = cycle([[rows[primitive] for primitive in macro] for macro in macros.macros])
    while True:
        seconds = 0.0
        for start in range(0, settings.frames, settings.episode):
            reset()
            frames = 0
            while frames < min(settings.episode, settings.frames - start):
                steps = next(held)
                began = time.process_time()
                for row in steps:
                    emulator.set_button_mask(row, 0)
                    for _ in range(FRAMESKIP):
                        emulator.step()
                seconds += time.process_time() - began
                frames += FRAMESKIP * len(steps)
        yield settings.frames, seconds


def env_turns(
    env: gym.Env[Any, Any], actions: list[int], frames_per_primitive: int, settings: Settings
) -> Iterator[Turn]:
    """Turns of an environment that cycles through ``actions``."""
    endless = cycle([np.int64(action) for action in actions])
    while True:
        total, seconds = 0, 0.0
        while total < settings.frames:
            env.reset(seed=settings.seed)
            frames, ended = 0, False
            while frames < min(settings.episode, settings.frames - total) and not ended:
                action = next(endless)
                began = time.process_time()
                _, _, terminated, truncated, info = env.step(action)
                seconds += time.process_time() - began
                frames += frames_per_primitive * info.get("duration", 1)
                ended = terminated or truncated
            total += frames
        yield total, seconds


def discrete(retro_env: Any) -> gym.Env[Any, Any]:
    """RetroEnv with the button combinations that the game allows as discrete actions."""
    known = integration(GAME)
    rows = [button_row(name, known.buttons) for name in known.combinations()]
    space = gym.spaces.Discrete(len(rows))
    return TransformAction(retro_env, lambda action: rows[int(action)], space)


def gymnasium_stack(retro_env: Any) -> gym.Env[Any, Any]:
    """The wrappers that MacroRetro replaces, without macros."""
    env = MaxAndSkipObservation(StickyAction(discrete(retro_env), STICKY), FRAMESKIP)
    return FrameStackObservation(ResizeObservation(GrayscaleObservation(env), (84, 84)), 4)


def arms(settings: Settings) -> dict[str, Callable[[], Turn]]:
    """Each arm as a function that takes one turn."""
    macros = {length: random_macros(length, settings.seed) for length in (8, 4)}
    n_primitives = len(macros[8].primitives)
    chosen = [n_primitives + macro for macro in range(128)]
    primitives = [primitive for macro in macros[8].macros for primitive in macro]
    env = MacroRetroEnv(GAME, macros=macros[8], repeat_action_probability=STICKY)
    retro_env = env.retro_env
    turns = {BARE: bare_turns(retro_env.em, retro_env.reset, macros[8], settings)}
    turns["MacroRetro, macros of length 8"] = env_turns(env, chosen, FRAMESKIP, settings)
    turns["MacroRetro, macros of length 4"] = _with_macros(env, macros[4], chosen, settings)
    turns["MacroRetro, primitives"] = _with_macros(env, macros[8], primitives, settings)
    stack = MacroAction(gymnasium_stack(retro_env), macros[8])
    turns["Gymnasium's wrappers, macros of length 8"] = env_turns(
        stack, chosen, FRAMESKIP, settings
    )
    turns["RetroEnv, frames"] = env_turns(discrete(retro_env), primitives, 1, settings)
    return {name: partial(next, turn) for name, turn in turns.items()}


def _with_macros(
    env: MacroRetroEnv, macros: MacroSet, actions: list[int], settings: Settings
) -> Iterator[Turn]:
    """Turns of the same environment with other macros, as a process can only have one."""
    turns = env_turns(env, actions, FRAMESKIP, settings)
    while True:
        before, env.macro_set = env.macro_set, macros
        turn = next(turns)
        env.macro_set = before
        yield turn


def main(settings: Settings) -> None:
    """Measure, print the ratios, and write the result."""
    if settings.smoke:
        settings = replace(settings, rounds=2, frames=160, episode=96)
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
