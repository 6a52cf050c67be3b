"""Compare MacroReplayBuffer's time and memory with SB3's buffer and with CleanRL's Python trees.

Priorities: time to sample a batch and update its priorities, with full buffers of a million
decisions whose observations are single numbers, so that trees are timed and not copies of screens.
Screens: bytes per decision and time to sample a batch on Breakout, for random decisions with
primitives only (k=0) and with macros. Adding: time to add one decision from each of many
environments to a full buffer, and how much of it is LZ4. All contenders take turns within each
round; a turn's figure is the median over its batches, which is robust to interruptions. Times are
processor time on one thread.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, cycle
from pathlib import Path
from statistics import median
from typing import Any

import gymnasium as gym
import lz4.block
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
LZ4 = "LZ4 alone, of the observations after"
ARRAYS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")

Times = dict[str, list[float]]
Row = tuple[Any, ...]  # arguments of a replay buffer's ``add``


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
        macros: Numbers of macros, with one play for each.
        environments: Numbers of environments that add decisions, playing with the most macros.
        added: Decisions in the buffers that they add to, a multiple of each of these numbers.
        output: Where the result goes.
        smoke: Small buffers, to check that it runs.
    """

    rounds: int = 15
    batches: int = 50
    batch_size: int = 32
    size: int = 1_000_000
    n_envs: int = 100
    decisions: int = 10_000
    macros: tuple[int, ...] = (0, 128)
    environments: tuple[int, ...] = (1, 16, 64)
    added: int = 2048
    output: Path = Path("benchmarks/results/buffer.json")
    smoke: bool = False


def seconds_of(turns: dict[str, Callable[[], None]], settings: Settings, what: str) -> Times:
    """Seconds per batch of each contender: the median of each turn, by round."""
    seconds: Times = {name: [] for name in turns}
    for _ in tqdm(range(settings.rounds), desc=what, unit="round"):
        for name, batch in turns.items():
            seconds[name].append(median(_seconds(batch) for _ in range(settings.batches)))
    return seconds


def _seconds(batch: Callable[[], None]) -> float:
    start = time.process_time()
    batch()
    return time.process_time() - start


def measure_priorities(settings: Settings) -> dict[str, Any]:
    """Time sampling and updating priorities, ours and in Python."""
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
    """Build our buffer, filled as by a learner's environments, with the given TD errors."""
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


def contenders(env: gym.Env[Any, Any], decisions: int, n_envs: int) -> dict[str, ReplayBuffer]:
    """The buffers to compare on screens."""
    arguments = (decisions, env.observation_space, env.action_space, "cpu", n_envs)
    return {
        SB3: ReplayBuffer(*arguments),
        "macro-gym, uncompressed": MacroReplayBuffer(*arguments, compress=False),
        "macro-gym, compressed": MacroReplayBuffer(*arguments),
    }


def measure_screens(settings: Settings, k: int) -> dict[str, Any]:
    """Measure bytes per decision, and seconds to add one and to sample a batch, on Breakout."""
    env = gym.make("MacroALE/Breakout-v5", k=k)
    buffers = contenders(env, settings.decisions, 1)
    adding: Times = {name: [] for name in buffers}
    durations = []
    for decision in play(env, settings.decisions):
        for name, buffer in buffers.items():
            adding[name].append(_seconds(partial(buffer.add, *decision)))
        durations.append(int(decision[-1][0]["duration"]))
    nbytes = {name: held(buffer) / settings.decisions for name, buffer in buffers.items()}
    turns = {name: partial(_sample, each, settings.batch_size) for name, each in buffers.items()}
    seconds = seconds_of(turns, settings, f"sampling, k={k}")
    return {
        "decisions": settings.decisions,
        "mean_duration": float(np.mean(durations)),
        "bytes_per_decision": nbytes,
        "share_of_sb3s_bytes": {name: size / nbytes[SB3] for name, size in nbytes.items()},
        "seconds_to_add": {name: median(times) for name, times in adding.items()},
        "seconds_to_sample": seconds,
    }


def measure_adding(settings: Settings) -> dict[str, Any]:
    """Measure seconds per decision to add one from each of many environments, on Breakout."""
    env = gym.make("MacroALE/Breakout-v5", k=max(settings.macros))
    decisions = list(play(env, settings.added))
    seconds = {}
    for n_envs in settings.environments:
        turns = adding_turns(contenders(env, settings.added, n_envs), in_rows(decisions, n_envs))
        times = seconds_of(turns, settings, f"adding, {n_envs} environments")
        seconds[n_envs] = {
            name: [each / n_envs for each in rounds] for name, rounds in times.items()
        }
    return {"decisions": settings.added, "seconds_per_decision": seconds}


def adding_turns(
    buffers: dict[str, ReplayBuffer], rows: list[Row]
) -> dict[str, Callable[[], None]]:
    """Turns that each add one row to a full buffer; the last only compresses its new screens."""
    for buffer in buffers.values():
        for row in rows:
            buffer.add(*row)

    def adding(buffer: ReplayBuffer) -> Callable[[], None]:
        ring = cycle(rows)
        return lambda: buffer.add(*next(ring))

    ring = cycle(rows)
    compress = partial(lz4.block.compress, store_size=False)
    alone = {LZ4: lambda: (list(map(compress, next(ring)[1])), None)[1]}
    return {name: adding(buffer) for name, buffer in buffers.items()} | alone


def in_rows(decisions: list[Row], n_envs: int) -> list[Row]:
    """Split one play over ``n_envs`` environments, into rows as a learner would add them."""
    length = len(decisions) // n_envs
    lanes = [decisions[start : start + length] for start in range(0, n_envs * length, length)]
    rows = []
    for row in zip(*lanes, strict=True):
        *arrays, infos = zip(*row, strict=True)
        rows.append((*map(np.concatenate, arrays), list(chain.from_iterable(infos))))
    return rows


def play(env: gym.Env[Any, Any], decisions: int) -> Iterator[Row]:
    """Random decisions, as the arguments that SB3 passes to ``add`` with one environment."""
    actions = np.random.default_rng(0).integers(env.action_space.n, size=(decisions, 1))
    obs, _ = env.reset(seed=0)
    for action in tqdm(actions, desc="playing Breakout", unit="decision", mininterval=1):
        next_obs, reward, terminated, truncated, info = env.step(action[0])
        done = np.array([terminated or truncated])
        yield obs[None], next_obs[None], action, np.array([reward]), done, [info]
        obs = env.reset()[0] if done else next_obs


def _sample(buffer: ReplayBuffer, batch_size: int) -> None:
    buffer.sample(batch_size)


def held(buffer: ReplayBuffer) -> int:
    """Bytes that a full buffer holds."""
    if isinstance(buffer, MacroReplayBuffer):
        return buffer.nbytes
    return sum(getattr(buffer, name).nbytes for name in ARRAYS)


def main(settings: Settings) -> None:
    """Measure, print, and write the result."""
    if settings.smoke:
        settings = replace(settings, rounds=2, batches=3, size=1100, decisions=211, added=128)
    th.set_num_threads(1)
    adding = measure_adding(settings)
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
    for n_envs, times in adding["seconds_per_decision"].items():
        for name, rounds in times.items():
            print(f"{name:39} {n_envs:3} environments {median(rounds) * 1e6:5.1f} µs a decision")
    write_report(
        settings.output,
        {
            "what": "replay: processor seconds to sample a batch and update its priorities, and to "
            "add decisions; bytes of screens",
            "batch_size": settings.batch_size,
            "priorities": priorities,
            "screens": screens,
            "adding": adding,
        },
    )


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
