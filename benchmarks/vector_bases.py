"""Ways to step many environments with macros, as compared by `benchmarks.vector`.

Each is a `Base`: the one used by `MacroVectorEnv`, those that lost to it, and what the machine
could do if no process waited for another.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import cycle
from typing import Any, TypeAlias

import ale_py
import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

import macro_gym
from macro_gym import MacroSet
from macro_gym.vector import MacroVectorEnv

gym.register_envs(macro_gym)

GAME = "MacroALE/Breakout-v5"
STICKY = 0.25

Durations: TypeAlias = NDArray[np.int64]
"""Primitives that each environment ran, shape ``(environments,)``; 0 where it was reset."""


@dataclass(frozen=True)
class Base:
    """A way to step all environments.

    Args:
        decide: Takes an action for each environment, shape ``(environments,)``.
        close: Closes it.
        pids: Processes that it runs besides this one.
        whole_turns: Whether it takes all decisions of a turn at once, ``decisions`` for each
            environment one after the other.
    """

    decide: Callable[[NDArray[np.int64]], Durations]
    close: Callable[[], object]
    pids: Sequence[int] = ()
    whole_turns: bool = False


class Several(gym.Wrapper[Any, Any, Any, Any]):
    """Several environments that are played independently of others, a turn at a time."""

    def __init__(self, number: int, macros: MacroSet) -> None:
        """Make and reset them."""
        self._envs = [gym.make(GAME, macros=macros) for _ in range(number)]
        for seed, env in enumerate(self._envs):
            env.reset(seed=seed)
        super().__init__(self._envs[0])

    def play(self, actions: NDArray[np.int64]) -> Durations:
        """Take decisions, cycling through the environments."""
        envs = cycle(self._envs)
        return np.array([_decide(env, action) for env, action in zip(envs, actions, strict=False)])


def one(n_envs: int, macros: MacroSet) -> Base:
    """One environment, which takes all decisions one after the other."""
    env = gym.make(GAME, macros=macros)
    env.reset(seed=0)

    def decide(actions: NDArray[np.int64]) -> Durations:
        return np.array([_decide(env, action) for action in actions])

    return Base(decide, env.close)


def processes(n_envs: int, macros: MacroSet, **settings: Any) -> Base:
    """`MacroVectorEnv`, or the vector environment of Gymnasium that ``settings`` select."""
    envs = gym.make_vec(GAME, n_envs, macros=macros, **settings)
    envs.reset(seed=0)

    def decide(actions: NDArray[np.int64]) -> Durations:
        infos = envs.step(actions)[-1]
        return infos.get("duration", np.zeros(n_envs, np.int64))

    return Base(decide, envs.close, [process.pid for process in envs.unwrapped.processes])


def independent(n_envs: int, macros: MacroSet, n_cores: int, each: int) -> Base:
    """A process per core, with ``each`` environments; none waits for another within a turn."""
    envs = MacroVectorEnv([partial(Several, each, macros)] * n_cores, num_workers=n_cores)

    def decide(actions: NDArray[np.int64]) -> Durations:
        return np.concatenate(envs.call("play", actions[::n_cores]))

    return Base(decide, envs.close, [process.pid for process in envs.processes], whole_turns=True)


def threads(n_envs: int, macros: MacroSet, n_threads: int) -> Base:
    """Threads of this process, which run one at a time: ale-py holds the GIL while it emulates."""
    envs = [gym.make(GAME, macros=macros) for _ in range(n_envs)]
    for seed, env in enumerate(envs):
        env.reset(seed=seed)
    pool = ThreadPoolExecutor(n_threads)

    def decide(actions: NDArray[np.int64]) -> Durations:
        return np.array(list(pool.map(_decide, envs, actions)))

    return Base(decide, pool.shutdown)


def ale_lanes(n_envs: int, macros: MacroSet) -> Base:
    """One of ale-py's vector environments for each, with one thread; every step is rendered."""
    lanes = [_ale_vector(1, 1) for _ in range(n_envs)]
    for seed, lane in enumerate(lanes):
        lane.reset(seed=seed)
    ended = np.zeros(n_envs, bool)

    def decide(actions: NDArray[np.int64]) -> Durations:
        scripts = [macros.expand(int(action)) for action in actions]
        resets, durations = ended.copy(), np.zeros(n_envs, np.int64)
        ended[:] = False
        running = list(range(n_envs))
        while running:
            for index in running:
                lanes[index].send(np.array([scripts[index][durations[index]]]))
            for index in running:
                _, _, terminated, truncated, _ = lanes[index].recv()
                durations[index] += 1
                ended[index] = terminated[0] or truncated[0]
            running = [
                i for i in running if not (resets[i] or ended[i] or durations[i] == len(scripts[i]))
            ]
        return np.where(resets, 0, durations)

    return Base(decide, lanes.clear)


def envpool_lanes(n_envs: int, macros: MacroSet, n_threads: int) -> Base:
    """EnvPool, with the next action sent whenever a step is done; every step is rendered."""
    import envpool

    pool = envpool.make_gymnasium(
        "Breakout-v5",
        num_envs=n_envs,
        batch_size=1,
        num_threads=n_threads,
        noop_max=1,
        repeat_action_probability=STICKY,
    )
    pool.async_reset()
    for _ in range(n_envs):
        pool.recv()
    ended = np.zeros(n_envs, bool)

    def decide(actions: NDArray[np.int64]) -> Durations:
        scripts = [macros.expand(int(action)) for action in actions]
        resets, durations = ended.copy(), np.zeros(n_envs, np.int64)
        ended[:] = False
        pool.send(np.array([script[0] for script in scripts]), env_id=np.arange(n_envs))
        running = n_envs
        while running:
            _, _, terminated, truncated, info = pool.recv()
            index = int(info["env_id"][0])
            durations[index] += 1
            ended[index] = terminated[0] or truncated[0]
            if resets[index] or ended[index] or durations[index] == len(scripts[index]):
                running -= 1
            else:
                pool.send(np.array([scripts[index][durations[index]]]), env_id=info["env_id"])
        return np.where(resets, 0, durations)

    return Base(decide, pool.close)


def ale_primitives(n_envs: int, macros: MacroSet, n_threads: int) -> Base:
    """ale-py's vector environment without macros: the speed to match."""
    vector = _ale_vector(n_envs, n_threads)
    vector.reset(seed=0)
    ended = np.zeros(n_envs, bool)

    def decide(actions: NDArray[np.int64]) -> Durations:
        durations = np.zeros(n_envs, np.int64)
        for position in range(macros.max_length):
            scripts = [macros.expand(int(action)) for action in actions]
            primitives = [script[position % len(script)] for script in scripts]
            durations += ~ended
            _, _, terminated, truncated, _ = vector.step(np.array(primitives))
            ended[:] = terminated | truncated
        return durations

    return Base(decide, vector.close)


def bases(n_envs: int, n_cores: int) -> dict[str, Callable[[MacroSet], Base]]:
    """Functions that build the bases, by name; EnvPool only if it is installed."""
    found = {
        "one MacroALE": partial(one, n_envs),
        "one MacroALE a core, independent": partial(independent, n_envs, n_cores=n_cores, each=1),
        "several a core, independent": partial(
            independent, n_envs, n_cores=n_cores, each=-(-n_envs // n_cores)
        ),
        "MacroVectorEnv": partial(processes, n_envs, num_workers=n_cores),
        "MacroVectorEnv, two processes a core": partial(processes, n_envs, num_workers=2 * n_cores),
        "MacroVectorEnv, a process for each": partial(processes, n_envs, num_workers=n_envs),
        "Gymnasium's AsyncVectorEnv": partial(processes, n_envs, vectorization_mode="async"),
        "threads": partial(threads, n_envs, n_threads=n_cores),
        "an AtariVectorEnv for each": partial(ale_lanes, n_envs),
        "EnvPool": partial(envpool_lanes, n_envs, n_threads=n_cores),
        "ale-py's AtariVectorEnv, primitives": partial(ale_primitives, n_envs, n_threads=n_cores),
    }
    if find_spec("envpool") is None:
        del found["EnvPool"]
    return found


def _decide(env: gym.Env[Any, Any], action: np.int64) -> int:
    """Take a decision, and reset if it ends the episode; return its duration."""
    _, _, terminated, truncated, info = env.step(action)
    if terminated or truncated:
        env.reset()
    return int(info["duration"])


def _ale_vector(n_envs: int, n_threads: int) -> ale_py.AtariVectorEnv:
    """ale-py's vector environment, with the same game and stickiness."""
    return ale_py.AtariVectorEnv(
        "breakout",
        n_envs,
        num_threads=n_threads,
        repeat_action_probability=STICKY,
        noop_max=0,
        use_fire_reset=False,
    )
