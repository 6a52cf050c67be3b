"""Time and weigh MacroReplayBuffer against SB3's buffer and against CleanRL's Python trees.

Priorities: sampling and then updating the priorities of a batch, from full buffers of a million
decisions whose observations are single numbers, so that trees are timed and not copies of screens.
Screens: bytes per decision and time to sample a batch on the emulator's Breakout, of random
decisions among primitives alone (k=0) and with macros. All contenders take turns within each
round; a turn's figure is the median over its batches, which interruptions by others do not move.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
import tyro
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer
from tqdm import tqdm

import macro_gym  # noqa: F401  # registers the ids
from benchmarks.python_trees import PythonReplay
from benchmarks.report import write_report
from sb3_masp import MacroReplayBuffer

ALPHA, BETA, N_STEPS = 0.5, 0.4, 3  # those of CleanRL's Rainbow
SB3 = "SB3's ReplayBuffer"
ARRAYS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")

Times = dict[str, list[float]]


@dataclass(frozen=True)
class Settings:
    """Size of the measurement.

    Args:
        rounds: Rounds; each contender takes one turn in each.
        batches: Batches of each contender in a turn.
        batch_size: Decisions in a batch.
        size: Decisions in the buffers with priorities, a multiple of n_envs.
        n_envs: Environments that fill them.
        decisions: Decisions of Breakout.
        macros: How many macros, one play for each number.
        output: Where the result goes.
        smoke: Small buffers, to see that it runs.
    """

    rounds: int = 15
    batches: int = 50
    batch_size: int = 32
    size: int = 1_000_000
    n_envs: int = 100
    decisions: int = 10_000
    macros: tuple[int, ...] = (0, 128)
    output: Path = Path("benchmarks/results/buffer.json")
    smoke: bool = False


def seconds_of(turns: dict[str, Callable[[], None]], settings: Settings, what: str) -> Times:
    """Seconds a batch of each contender: the median of each turn, by round."""
    seconds: Times = {name: [] for name in turns}
    for _ in tqdm(range(settings.rounds), desc=what, unit="round"):
        for name, batch in turns.items():
            seconds[name].append(median(_seconds(batch) for _ in range(settings.batches)))
    return seconds


def _seconds(batch: Callable[[], None]) -> float:
    start = time.perf_counter()
    batch()
    return time.perf_counter() - start


def measure_priorities(settings: Settings) -> dict[str, Any]:
    """Sampling and updating priorities, ours and in Python."""
    rng = np.random.default_rng(0)
    td_errors = rng.exponential(size=settings.size)
    ours = full_buffer(settings, td_errors)
    fields = (
        np.zeros((settings.size, 1), np.float32),
        np.zeros(settings.size, np.int64),
        np.zeros(settings.size, np.float32),
        np.zeros((settings.size, 1), np.float32),
        np.zeros(settings.size, np.bool_),
    )
    theirs = PythonReplay(fields, td_errors, ALPHA, BETA)

    def batch_of_ours() -> None:
        samples = ours.sample(settings.batch_size)
        ours.update_priorities(samples.indices, rng.exponential(size=settings.batch_size))

    def batch_of_theirs() -> None:
        entries, *_ = theirs.sample(settings.batch_size)
        theirs.update_priorities(entries, rng.exponential(size=settings.batch_size))

    seconds = seconds_of(
        {"macro-gym": batch_of_ours, "CleanRL's Python trees": batch_of_theirs},
        settings,
        "priorities",
    )
    slower, faster = seconds["CleanRL's Python trees"], seconds["macro-gym"]
    ratio = median(a / b for a, b in zip(slower, faster, strict=True))
    return {"decisions": settings.size, "ratio": ratio, "seconds": seconds}


def full_buffer(settings: Settings, td_errors: np.ndarray) -> MacroReplayBuffer:
    """Our buffer, filled by environments as a learner's would be, with these errors."""
    n_envs = settings.n_envs
    buffer = MacroReplayBuffer(
        settings.size,
        spaces.Box(-1, 1, (1,)),
        spaces.Discrete(4),
        "cpu",
        n_envs,
        prioritized=True,
        priority_exponent=ALPHA,
        importance_exponent=BETA,
        n_steps=N_STEPS,
    )
    obs, numbers, infos = np.zeros((n_envs, 1)), np.zeros(n_envs), [{}] * n_envs
    for _ in tqdm(range(settings.size // n_envs), desc="filling", unit="row", mininterval=1):
        buffer.add(obs, obs, numbers, numbers, numbers, infos)
    buffer.update_priorities(np.arange(settings.size), td_errors)
    return buffer


def measure_screens(settings: Settings, k: int) -> dict[str, Any]:
    """Bytes per decision, and seconds to add one and to sample a batch, on Breakout."""
    env = gym.make("MacroALE/Breakout-v5", k=k)
    arguments = (settings.decisions, env.observation_space, env.action_space, "cpu")
    buffers: dict[str, ReplayBuffer] = {
        SB3: ReplayBuffer(*arguments),
        "macro-gym, uncompressed": MacroReplayBuffer(*arguments, compress=False),
        "macro-gym, compressed": MacroReplayBuffer(*arguments),
    }
    adding: Times = {name: [] for name in buffers}
    durations = fill(env, buffers, adding, settings.decisions)
    nbytes = {name: held(buffer) / settings.decisions for name, buffer in buffers.items()}

    def sampling(buffer: ReplayBuffer) -> Callable[[], None]:
        return lambda: (buffer.sample(settings.batch_size), None)[1]

    turns = {name: sampling(buffer) for name, buffer in buffers.items()}
    seconds = seconds_of(turns, settings, f"sampling, k={k}")
    return {
        "decisions": settings.decisions,
        "mean_duration": float(np.mean(durations)),
        "bytes_per_decision": nbytes,
        "share_of_sb3s_bytes": {name: size / nbytes[SB3] for name, size in nbytes.items()},
        "seconds_to_add": {name: median(times) for name, times in adding.items()},
        "seconds_to_sample": seconds,
    }


def fill(
    env: gym.Env[Any, Any], buffers: dict[str, ReplayBuffer], adding: Times, decisions: int
) -> list[int]:
    """Add random decisions to all ``buffers``; returns how long they lasted."""
    actions = np.random.default_rng(0).integers(env.action_space.n, size=(decisions, 1))
    obs, _ = env.reset(seed=0)
    durations = []
    for action in tqdm(actions, desc="playing Breakout", unit="decision", mininterval=1):
        next_obs, reward, terminated, truncated, info = env.step(action[0])
        done = np.array([terminated or truncated])
        for name, buffer in buffers.items():
            start = time.perf_counter()
            buffer.add(obs[None], next_obs[None], action, np.array([reward]), done, [info])
            adding[name].append(time.perf_counter() - start)
        durations.append(int(info["duration"]))
        obs = env.reset()[0] if done else next_obs
    return durations


def held(buffer: ReplayBuffer) -> int:
    """Bytes that a full buffer holds."""
    if isinstance(buffer, MacroReplayBuffer):
        return buffer.nbytes
    return sum(getattr(buffer, name).nbytes for name in ARRAYS)


def main(settings: Settings) -> None:
    """Measure, print, and write the result."""
    if settings.smoke:
        settings = replace(settings, rounds=2, batches=3, size=1100, decisions=211)
    th.set_num_threads(1)
    screens = {f"k={k}": measure_screens(settings, k) for k in settings.macros}
    priorities = measure_priorities(settings)
    for name, times in priorities["seconds"].items():
        print(f"{name:30} {median(times) * 1e6:7.0f} µs to sample and update priorities")
    for play, result in screens.items():
        for name, size in result["bytes_per_decision"].items():
            share, added = result["share_of_sb3s_bytes"][name], result["seconds_to_add"][name]
            sampled = median(result["seconds_to_sample"][name])
            print(
                f"{name:24} {play:6} {size:8.0f} B a decision ({share:.3f} of SB3's), "
                f"{added * 1e6:5.0f} µs to add, {sampled * 1e6:5.0f} µs to sample"
            )
    write_report(
        settings.output,
        {
            "what": "replay: seconds to sample a batch and update its priorities; bytes of screens",
            "batch_size": settings.batch_size,
            "priorities": priorities,
            "screens": screens,
        },
    )


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
