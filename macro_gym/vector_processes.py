"""The caller side of `macro_gym.vector.MacroVectorEnv`: start its processes and talk to them."""

import multiprocessing
import os
import pickle
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from typing import Any, NoReturn

from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import CloudpickleWrapper

from macro_gym.errors import EnvironmentSettingError, VectorEnvError
from macro_gym.vector_lanes import Attempt, EnvMaker, outcome, work

SECONDS_TO_CLOSE = 10.0


class Processes:
    """Starts processes, sends them requests for environments, and ends them.

    Environment ``i`` is in process ``i % number``. Requests are numbered, so that the answers to an
    interrupted one are not taken for those to the next. After an interruption in the middle of a
    message, or when only some processes have theirs, it cannot continue; these moments are far
    shorter than the waiting.

    Args:
        env_fns: Functions that make each environment.
        number: Number of processes.
        autoreset_mode: What happens to an environment whose episode has ended.
        context: How processes are started; ``None`` for ``"fork"`` on Linux and for Python's
            default elsewhere.
    """

    def __init__(
        self,
        env_fns: Sequence[EnvMaker],
        number: int,
        autoreset_mode: AutoresetMode,
        context: str | None,
    ) -> None:
        """Start the processes."""
        if context is None and sys.platform == "linux":
            context = "fork"
        self.processes: list[Any] = []
        self._indices = range(len(env_fns))
        self._channels: list[Connection] = []
        self._owner = os.getpid()
        self._request = 0
        self._amid_message = False
        start = multiprocessing.get_context(context)
        try:
            for worker in range(number):
                mine = self._indices[worker::number]
                makers = {index: CloudpickleWrapper(env_fns[index]) for index in mine}
                self._start(start, makers, autoreset_mode)
        except BaseException:
            self.close()
            raise

    def ask(self, method: str, tasks: Mapping[int, tuple[Any, ...]]) -> dict[int, Any]:
        """Call ``method`` of `Lanes` for environments; return their results by index.

        Args:
            method: Name of the method.
            tasks: Its arguments for each environment, by the environment's index.
        """
        return self.receive(self.send(method, tasks))

    def send(self, method: str, tasks: Mapping[int, tuple[Any, ...]]) -> list[int]:
        """Send what `ask` asks; return the processes that have something to do, for `receive`."""
        if self._amid_message:
            raise VectorEnvError(
                "the vector environment was interrupted, as by Ctrl-C, in the middle of a message "
                "between processes, and cannot continue; close it and make another"
            )
        self._request += 1
        parts: dict[int, dict[int, tuple[Any, ...]]] = {}
        for index, arguments in tasks.items():
            parts.setdefault(index % len(self.processes), {})[index] = arguments
        messages = {
            worker: ForkingPickler.dumps((self._request, method, part))
            for worker, part in parts.items()
        }
        with self._all_or_nothing():
            for worker, message in messages.items():
                self._transfer(worker, self._channels[worker].send_bytes, message)
        return list(parts)

    def receive(self, workers: Sequence[int]) -> dict[int, Any]:
        """Return the environments' results by index, in order."""
        waiting: dict[Any, int] = {self._channels[worker]: worker for worker in workers}
        attempts: dict[int, Attempt] = {}
        while waiting:
            for channel in wait(waiting):
                worker = waiting[channel]
                with self._all_or_nothing():
                    message = self._transfer(worker, self._channels[worker].recv_bytes)
                request, part = pickle.loads(message)
                if request == self._request:
                    # Unpickled now, while other processes are still at work.
                    attempts |= {
                        index: pickle.loads(attempted) for index, attempted in part.items()
                    }
                    del waiting[channel]
        return {index: outcome(index, *attempts[index]) for index in sorted(attempts)}

    def close(self) -> None:
        """Close the environments and end the processes.

        A process that does not end is killed, and so are all if a message was interrupted, since
        one of them may be waiting for the rest of it.
        """
        if os.getpid() != self._owner:  # in a fork of the caller, this is a mere copy
            return
        for channel in self._channels:
            with suppress(OSError):
                channel.send(None)
        deadline = time.monotonic() + (0.0 if self._amid_message else SECONDS_TO_CLOSE)
        for process in self.processes:
            process.join(max(deadline - time.monotonic(), 0))
            if process.is_alive():
                process.kill()
                process.join()
        for channel in self._channels:
            channel.close()

    def _start(
        self, start: Any, makers: Mapping[int, EnvMaker], autoreset_mode: AutoresetMode
    ) -> None:
        """Start the next process."""
        channel, theirs = start.Pipe()
        process = start.Process(
            target=work, args=(theirs, channel, makers, autoreset_mode), daemon=True
        )
        with warnings.catch_warnings():
            # From Python 3.12 on; the forked process uses none of the threads that it lacks.
            warnings.filterwarnings("ignore", "This process.*fork", DeprecationWarning)
            process.start()
        theirs.close()
        self.processes.append(process)
        self._channels.append(channel)

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """Remember whether a transfer of messages is interrupted."""
        self._amid_message = True
        yield
        self._amid_message = False

    def _transfer(self, worker: int, transfer: Callable[..., Any], *message: Any) -> Any:
        """Send or receive a message."""
        try:
            return transfer(*message)
        except (EOFError, OSError):
            self._amid_message = False
            self._report_death(worker)

    def _report_death(self, worker: int) -> NoReturn:
        """Raise an error with what is known about a process that died."""
        process = self.processes[worker]
        process.join(SECONDS_TO_CLOSE)
        indices = ", ".join(map(str, self._indices[worker :: len(self.processes)]))
        raise VectorEnvError(
            f"process {worker}, which ran the environments {indices}, has died with exit code "
            f"{process.exitcode} (a negative one is the signal that killed it). Was the memory "
            "used up? The vector environment cannot continue; close it and make another."
        )


def number_of_processes(asked: int | None, num_envs: int) -> int:
    """Return ``asked`` or one process per usable core, but at most one per environment.

    Raises:
        EnvironmentSettingError: ``asked`` or ``num_envs`` is less than 1.
    """
    if num_envs < 1:
        raise EnvironmentSettingError("num_envs is 0; a vector environment has at least one")
    if asked is None:
        asked = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    if asked < 1:
        raise EnvironmentSettingError(f"num_workers is {asked}; it must be at least 1")
    return min(asked, num_envs)
