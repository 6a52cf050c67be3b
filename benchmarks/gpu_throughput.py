"""Measure training throughput on Breakout of SB3's DQN, a single-file DQN and MASPDQN.

Uses a GPU if available. Every contender plays with ε = 0.1 and takes one update on 32 decisions
for every ``decisions_per_update`` decisions, whatever the number of environments. SB3's DQN and the
single-file DQN (`benchmarks.single_file_dqn`, after CleanRL's) play ale-py's own
``AtariVectorEnv``, the fastest available to their users, with its four primitives; MASPDQN plays
primitives and ``k`` macros, so its decisions last longer. *decisions*, *primitives* (steps of four
frames) and *frames* per second are therefore counted separately.

Contenders with the same number of environments take turns in rounds, and results are written after
every turn, so that a stopped run keeps what it has measured. A turn is some updates alone and some
seconds of play with learning. Each number of environments has an equal share of the ``minutes`` and
takes as many rounds as fit, at least one.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch as th
import tyro
from ale_py.vector_env import AtariVectorEnv
from gymnasium.vector import AutoresetMode
from stable_baselines3 import DQN
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.utils import get_device
from tqdm import tqdm

from benchmarks.gpu_page import BASE
from benchmarks.report import write_report
from benchmarks.single_file_dqn import SingleFileDQN
from sb3_masp import MASPDQN, DeviceReplayBuffer
from sb3_masp.make_vec import make_macro_vec_env
from sb3_masp.vec_env import GymnasiumVecEnv

FRAMESKIP = 4


@dataclass(frozen=True)
class Settings:
    """Size of the measurement.

    Args:
        minutes: Time limit, including start-up; a turn that has begun is finished.
        n_envs: Numbers of environments, in this order.
        seconds: Seconds of play with learning in a turn.
        updates: Updates alone in a turn.
        k: Number of macros of MASPDQN.
        fill: Decisions in the replay buffer before the first update.
        buffer_size: Capacity of the replay buffer in decisions.
        decisions_per_update: Decisions per update.
        device: Device of the networks; "auto" uses a GPU if there is one.
        threads: Threads of torch on the CPU; 0 keeps its default.
        output: Where the result goes.
        smoke: One short round of one and of three environments, to check that it runs.
    """

    minutes: float = 7.5
    n_envs: tuple[int, ...] = (16, 1, 64)
    seconds: float = 5.0
    updates: int = 64
    k: int = 128
    fill: int = 2_000
    buffer_size: int = 20_000
    decisions_per_update: int = 4
    device: str = "auto"
    threads: int = 0
    output: Path = Path("benchmarks/results/gpu_throughput.json")
    smoke: bool = False


@dataclass(frozen=True)
class Counts:
    """Counts of a period of play with learning.

    Args:
        seconds: Duration of the period.
        decisions: Decisions over all environments.
        primitives: Primitives run by these decisions.
        updates: Updates of the network.
    """

    seconds: float
    decisions: int
    primitives: int
    updates: int


class Contender(Protocol):
    """A learner with its environments."""

    def play(self, seconds: float) -> Counts:
        """Play and learn for about ``seconds``."""

    def update(self, updates: int) -> None:
        """Take updates without playing."""

    def close(self) -> None:
        """Close the environments."""


class SingleFile:
    """The single-file DQN.

    Args:
        settings: Settings of the measurement.
        n_envs: Number of environments.
        device: Device of the network.
    """

    def __init__(self, settings: Settings, n_envs: int, device: th.device) -> None:
        """Build the learner and fill its replay buffer."""
        envs = atari(n_envs)
        ratio = settings.decisions_per_update
        self.learner = SingleFileDQN(envs, settings.buffer_size, 32, ratio, 0.1, device)
        while self.learner.decisions < settings.fill:
            self.learner.step(learn=False)

    def play(self, seconds: float) -> Counts:
        """Run its loop for ``seconds``."""
        learner, start = self.learner, time.perf_counter()
        decisions, updates = learner.decisions, learner.updates
        while time.perf_counter() < start + seconds:
            learner.step()
        finish(learner.device)
        played = learner.decisions - decisions
        took = time.perf_counter() - start
        return Counts(took, played, played, learner.updates - updates)

    def update(self, updates: int) -> None:
        """Take updates without playing."""
        for _ in range(updates):
            self.learner.update()

    def close(self) -> None:
        """Close the environments."""
        self.learner.envs.close()


class StableBaselines:
    """An SB3 learner: SB3's own, or ours.

    Args:
        model: A learner that has not played yet.
        fill: Decisions in the replay buffer before the first update.
    """

    def __init__(self, model: OffPolicyAlgorithm, fill: int) -> None:
        """Fill the replay buffer."""
        self.model = model
        model.set_logger(configure(None, []))
        model.learn(fill)

    def play(self, seconds: float) -> Counts:
        """Continue learning for ``seconds``."""
        counter, updates = Counter(seconds), self.model._n_updates
        start = time.perf_counter()
        self.model.learn(10**9, callback=counter, reset_num_timesteps=False)
        finish(self.model.device)
        took = time.perf_counter() - start
        return Counts(took, counter.decisions, counter.primitives, self.model._n_updates - updates)

    def update(self, updates: int) -> None:
        """Take updates without playing."""
        learner: Any = self.model
        # With overlapped updates, `train` would only postpone them.
        take = learner._take_updates if isinstance(learner, MASPDQN) else learner.train
        take(updates, 32)

    def close(self) -> None:
        """Close the environments."""
        if self.model.env is not None:
            self.model.env.close()


class Counter(BaseCallback):
    """Counts decisions and primitives, and ends learning when the time is up.

    Args:
        seconds: Seconds until then.
    """

    def __init__(self, seconds: float) -> None:
        """Start counting, and set the deadline."""
        super().__init__()
        self.deadline = time.perf_counter() + seconds
        self.decisions = self.primitives = 0

    def _on_step(self) -> bool:
        """Count a step of all environments."""
        infos = self.locals["infos"]
        self.decisions += len(infos)
        self.primitives += sum(int(info.get("duration", 1)) for info in infos)
        return time.perf_counter() < self.deadline


def atari(n_envs: int) -> AtariVectorEnv:
    """Breakout as vectorised by ale-py, with the rules of ``ALE/Breakout-v5``."""
    return AtariVectorEnv(
        "breakout",
        n_envs,
        autoreset_mode=AutoresetMode.SAME_STEP,
        repeat_action_probability=0.25,
        noop_max=0,
        use_fire_reset=False,
        reward_clipping=True,
    )


def finish(device: th.device) -> None:
    """Wait until the device has finished its work."""
    if device.type == "cuda":
        th.cuda.synchronize(device)


def contenders(
    settings: Settings, n_envs: int, device: th.device
) -> dict[str, Callable[[], Contender]]:
    """Functions that build the contenders, by name; others are compared with the first."""
    ratio = settings.decisions_per_update
    shared: dict[str, Any] = {
        "buffer_size": settings.buffer_size,
        "learning_starts": settings.fill,
        "exploration_initial_eps": 0.1,
        "exploration_final_eps": 0.1,
        "target_update_interval": 1000,
        "device": device,
        "seed": 0,
    }

    def sb3s() -> Contender:
        schedule = {
            "train_freq": max(ratio // n_envs, 1),
            "gradient_steps": max(n_envs // ratio, 1),
        }
        model = DQN("CnnPolicy", GymnasiumVecEnv(atari(n_envs)), **shared, **schedule)
        return StableBaselines(model, settings.fill)

    def ours(**own: Any) -> Callable[[], Contender]:
        def build() -> Contender:
            env = make_macro_vec_env("Breakout", n_envs, k=settings.k)
            model = MASPDQN("CnnPolicy", env, train_freq=(ratio, "decision"), **shared, **own)
            return StableBaselines(model, settings.fill)

        return build

    on_device = {"replay_buffer_class": DeviceReplayBuffer}
    best = {**on_device, "cuda_graph": True} if device.type == "cuda" else {}
    graphs = {"MASPDQN, replay on the device, graphs": ours(**best)}
    return {
        BASE: sb3s,
        "MASPDQN": ours(),
        "CleanRL-style DQN": lambda: SingleFile(settings, n_envs, device),
        "MASPDQN, replay on the device": ours(**on_device),
        **(graphs if best else {}),
        "MASPDQN, all that, overlapped" if best else "MASPDQN, overlapped": ours(
            overlap_updates=True, **best
        ),
    }


@dataclass
class Measured:
    """Measurements of one contender, turn by turn.

    Args:
        updates_per_second: Rates of updates alone.
        counts: Counts of play with learning.
    """

    updates_per_second: list[float]
    counts: list[Counts]

    def rates(self) -> dict[str, float]:
        """Medians over turns."""
        names = ("decisions", "primitives", "updates")
        rates = {
            f"{name}_per_second": float(
                np.median([getattr(count, name) / count.seconds for count in self.counts])
            )
            for name in names
        }
        rates["frames_per_second"] = FRAMESKIP * rates["primitives_per_second"]
        return rates | {"updates_alone_per_second": float(np.median(self.updates_per_second))}


def warm_up(contender: Contender, settings: Settings, device: th.device) -> None:
    """Update and play a while without measuring; graphs are captured in the first 13 updates."""
    contender.update(32 if device.type == "cuda" else 2)
    contender.play(min(1.0, settings.seconds))


def turn(contender: Contender, settings: Settings, device: th.device, measured: Measured) -> None:
    """Measure some updates alone, then play with learning."""
    finish(device)
    start = time.perf_counter()
    contender.update(settings.updates)
    finish(device)
    measured.updates_per_second.append(settings.updates / (time.perf_counter() - start))
    measured.counts.append(contender.play(settings.seconds))


def measure(settings: Settings, device: th.device) -> None:
    """Measure each number of environments for its share of the time, and write every turn."""
    start, total = time.monotonic(), 60 * settings.minutes
    groups: dict[int, dict[str, Measured]] = {}
    with tqdm(total=round(total), unit="s") as bar:

        def written(n_envs: int) -> None:
            bar.set_description(f"{n_envs} environments")
            bar.update(min(round(time.monotonic() - start), round(total)) - bar.n)
            write(settings, device, groups)

        for position, n_envs in enumerate(settings.n_envs):
            share = total * (position + 1) / len(settings.n_envs)
            groups[n_envs] = {}
            measure_group(settings, n_envs, device, start + share, groups[n_envs], written)


def measure_group(
    settings: Settings,
    n_envs: int,
    device: th.device,
    deadline: float,
    measured: dict[str, Measured],
    written: Callable[[int], None],
) -> None:
    """Let the contenders of one number of environments take turns until the deadline."""
    built: dict[str, Contender] = {}
    longest = 0.0
    try:
        for name, build in contenders(settings, n_envs, device).items():
            began = time.monotonic()
            if measured and began + longest > deadline:
                return
            built[name] = build()
            warm_up(built[name], settings, device)
            measured[name] = Measured([], [])
            turn(built[name], settings, device, measured[name])
            longest = max(longest, time.monotonic() - began)
            written(n_envs)
        round_of = len(built) * (settings.seconds + 1)
        while not settings.smoke and time.monotonic() + round_of < deadline:
            for name, contender in built.items():
                turn(contender, settings, device, measured[name])
                written(n_envs)
    finally:
        for contender in built.values():
            contender.close()


def write(settings: Settings, device: th.device, groups: dict[int, dict[str, Measured]]) -> None:
    """Write what has been measured so far."""
    is_gpu = device.type == "cuda"
    result = {
        "what": "learning Breakout end to end; medians over turns, contenders by turns",
        "device": th.cuda.get_device_name(device) if is_gpu else "CPU",
        "threads": th.get_num_threads(),
        "load_average": os.getloadavg()[0],
        "batch_size": 32,
        "decisions_per_update": settings.decisions_per_update,
        "k": settings.k,
        "seconds_in_a_turn": settings.seconds,
        "groups": {
            str(n_envs): {
                name: {"turns": len(each.counts)} | each.rates() for name, each in group.items()
            }
            for n_envs, group in groups.items()
        },
    }
    write_report(settings.output, result)


def show(groups: dict[str, dict[str, dict[str, float]]]) -> None:
    """Print the table."""
    for n_envs, group in groups.items():
        for name, rates in group.items():
            figures = "  ".join(
                f"{rates[f'{unit}_per_second']:9.1f} {unit}/s"
                for unit in ("decisions", "primitives", "updates", "updates_alone")
            )
            print(f"{n_envs:>3} envs  {name:32} {figures}")


def main(settings: Settings) -> None:
    """Measure, write and print."""
    if settings.smoke:
        small: dict[str, Any] = {"minutes": 10.0, "n_envs": (1, 3), "seconds": 0.2, "updates": 2}
        settings = replace(settings, **small, fill=64, buffer_size=256, k=8)
    if settings.threads:
        th.set_num_threads(settings.threads)
    device = get_device(settings.device)
    measure(settings, device)
    show(json.loads(settings.output.read_text())["groups"])


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
