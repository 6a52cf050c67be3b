"""The worker side of `macro_gym.vector.MacroVectorEnv`: a process runs some of the environments."""

import pickle
import signal
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from macro_gym.errors import RestoreError, VectorEnvError
from macro_gym.pickling import comes_back_new

EnvMaker: TypeAlias = Callable[[], gym.Env[Any, Any]]

Request: TypeAlias = tuple[int, str, dict[int, tuple[Any, ...]]]
"""The request's number, a method of `Lanes`, and its arguments for each environment's index."""

Answer: TypeAlias = tuple[int, dict[int, bytes]]
"""The request's number, and for each environment's index a separately pickled `Attempt`."""

Attempt: TypeAlias = tuple[Any, Exception | None, str]
"""Return value, exception, and its traceback as text."""

StepResult: TypeAlias = tuple[float, bool, bool, dict[str, Any]]
"""Reward, terminated, truncated, info."""


class Lanes:
    """Some of a vector environment's environments, by their index in it.

    Args:
        makers: Functions that make each environment.
        autoreset_mode: What happens to an environment whose episode has ended.
    """

    def __init__(self, makers: Mapping[int, EnvMaker], autoreset_mode: AutoresetMode) -> None:
        """Store the arguments; `make` makes the environments."""
        self._makers = makers
        self._autoreset_mode = autoreset_mode
        self._envs: dict[int, gym.Env[Any, Any]] = {}
        self._rows: dict[int, NDArray[Any]] = {}
        self._ended: set[int] = set()

    def make(self, index: int) -> tuple[gym.Space[Any], gym.Space[Any], dict[str, Any], str | None]:
        """Make an environment; return its spaces (observations, actions), metadata, render mode."""
        env = self._envs[index] = self._makers[index]()
        return env.observation_space, env.action_space, env.metadata, env.render_mode

    def share(self, index: int, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        """Write observations, from now on, to row ``index`` of the array in a file."""
        self._rows[index] = np.memmap(path, dtype, "r+", shape=shape)[index : index + 1]

    def reset(self, index: int, seed: int | None, options: dict[str, Any] | None) -> dict[str, Any]:
        """Start an episode; return its info."""
        observation, info = self._envs[index].reset(seed=seed, options=options)
        self._ended.discard(index)
        self._rows[index][0] = observation
        return info

    def step(self, index: int, action: Any) -> StepResult:
        """Take a decision, or reset instead of it or after it, depending on the mode."""
        if index in self._ended and self._autoreset_mode is AutoresetMode.NEXT_STEP:
            return 0.0, False, False, self.reset(index, None, None)
        if index in self._ended:
            raise VectorEnvError(
                "its episode has ended, and autoreset_mode is DISABLED. Reset it first: "
                "reset(options={'reset_mask': mask}) with a boolean array that says which ones."
            )
        observation, reward, terminated, truncated, info = self._envs[index].step(action)
        if terminated or truncated:
            if self._autoreset_mode is AutoresetMode.SAME_STEP:
                final = {"final_obs": observation, "final_info": info}
                return float(reward), terminated, truncated, final | self.reset(index, None, None)
            self._ended.add(index)
        self._rows[index][0] = observation
        return float(reward), terminated, truncated, info

    def call(self, index: int, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return the environment's attribute ``name`` or, if it is a method, its result."""
        attribute = self._envs[index].get_wrapper_attr(name)
        return attribute(*args, **kwargs) if callable(attribute) else attribute

    def set_attr(self, index: int, name: str, value: Any) -> None:
        """Set the environment's attribute ``name``."""
        self._envs[index].set_wrapper_attr(name, value)

    def save(self, index: int) -> tuple[bytes, bool]:
        """Return the environment, pickled in mid-episode, and whether its episode has ended.

        Raises:
            RestoreError: It would be restored as a new environment.
        """
        env = self._envs[index]
        if (name := comes_back_new(env)) is not None:
            raise RestoreError(
                f"{name} is pickled as the arguments of its constructor (EzPickle), so it would "
                "come back at the start of an episode"
            )
        return pickle.dumps(env), index in self._ended

    def mark_ended(self, index: int) -> None:
        """Mark the environment's episode as ended."""
        self._ended.add(index)

    def close(self) -> None:
        """Close the environments that have been made."""
        for env in self._envs.values():
            env.close()


def work(
    channel: Connection,
    callers_end: Connection,
    makers: Mapping[int, EnvMaker],
    autoreset_mode: AutoresetMode,
) -> None:
    """Answer requests until one is None or the caller is gone.

    Args:
        channel: Connection that receives `Request` and sends `Answer`.
        callers_end: The other end, of which a fork has a copy. While that is open, the death of
            the caller goes unnoticed.
        makers: Functions that make each environment, by its index.
        autoreset_mode: What happens to an environment whose episode has ended.
    """
    callers_end.close()
    # Ctrl-C is left to the caller, which closes; and the caller's handlers must not run here.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    lanes = Lanes(makers, autoreset_mode)
    with suppress(EOFError, ConnectionError):
        while (request := channel.recv()) is not None:
            number, method, tasks = request
            function = getattr(lanes, method)
            results = {i: attempt(function, i, *arguments) for i, arguments in tasks.items()}
            channel.send((number, results))
    lanes.close()


def attempt(function: Callable[..., Any], *arguments: Any) -> bytes:
    """Call ``function``; return the pickled `Attempt`."""
    try:
        return pickle.dumps((function(*arguments), None, ""))
    except Exception as error:
        return pickle.dumps((None, _portable(error), traceback.format_exc()))


def outcome(index: int, result: Any, error: Exception | None, text: str) -> Any:
    """Return what environment ``index`` returned, or raise what it raised."""
    if error is not None:
        error.add_note(f"This happened in environment {index} of the vector environment:\n{text}")
        raise error
    return result


def _portable(error: Exception) -> Exception:
    """``error``, or its name and text if it does not survive pickling."""
    try:
        copy = pickle.loads(pickle.dumps(error))
    except Exception:
        copy = None
    if type(copy) is type(error):
        return error
    return VectorEnvError(f"{type(error).__name__}: {error}")
