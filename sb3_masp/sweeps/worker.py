"""The worker of a sweep: completes one run, and reports on it in the run's folder.

It works only on folders, so that any process with access to them can do it: a child of the command,
or a worker of a cluster.
"""

import fcntl
import io
import json
import os
import re
import socket
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from macro_gym.files import replacing
from sb3_masp import run
from sb3_masp.sweeps.declaration import SweepError

RETRIES = 3
"""How often a run whose process dies is resumed from its checkpoint."""
PATIENCE = 30.0
"""Seconds to wait for another process to release a run's folder."""


@dataclass(frozen=True)
class State:
    """Progress of a run, as its worker last wrote it.

    Args:
        share: Share of the frames that is done.
        seconds: Time at work, over all attempts.
        attempts: How often it was started or resumed.
        pid: Id of the process.
        host: Name of its machine.
        error: The error that ended it, if any.
    """

    share: float = 0.0
    seconds: float = 0.0
    attempts: int = 0
    pid: int = 0
    host: str = ""
    error: str = ""


def read_state(folder: Path) -> State:
    """Read the state of the run in ``folder``; the initial one if there is none."""
    try:
        return State(**json.loads((folder / "worker.json").read_text()))
    except FileNotFoundError:
        return State()


def write_state(folder: Path, state: State) -> None:
    """Write the state, atomically."""
    with replacing(folder / "worker.json") as file:
        file.write((json.dumps(asdict(state)) + "\n").encode())


def is_finished(folder: Path) -> bool:
    """Whether the run has written its model, which it writes last."""
    return (folder / "model.zip").exists()


def see_through(config: run.TrainConfig, output: Path) -> None:
    """Start or resume a run, and complete it; a finished run is left as it is.

    Its output goes to ``log.txt`` in its folder; an error goes there too, and to its state.

    Args:
        config: Settings of the run.
        output: Folder of the sweep.

    Raises:
        SweepError: The folder is not here, or another process is at work on the run.
    """
    if not output.is_dir():
        raise SweepError(f"{socket.gethostname()} has no {output}: it must be a shared folder")
    folder = config.folder
    with _alone_in(folder), (folder / "log.txt").open("a", buffering=1) as log:
        if is_finished(folder):
            return
        word = _Word(folder, log)
        with redirect_stdout(word), redirect_stderr(word):
            try:
                if (folder / "config.json").exists():
                    run.resume(folder)
                else:
                    run.train(config)
            except Exception as error:
                traceback.print_exc()
                word.leave(error=f"{type(error).__name__}: {error}")
            else:
                word.leave(share=1.0)


class _Word(io.TextIOBase):
    """Receives a run's output: its progress bar becomes its state, the rest goes to its log."""

    def __init__(self, folder: Path, log: io.TextIOBase) -> None:
        """Record that an attempt has started."""
        self._folder = folder
        self._log = log
        self._before = read_state(folder)
        self._begun = time.monotonic()
        self._percent = ""
        self._state = replace(
            self._before,
            attempts=self._before.attempts + 1,
            pid=os.getpid(),
            host=socket.gethostname(),
            error="",
        )
        self.leave()

    def leave(self, share: float | None = None, error: str = "") -> None:
        """Write the state."""
        self._state = replace(
            self._state,
            share=self._state.share if share is None else share,
            seconds=round(self._before.seconds + time.monotonic() - self._begun, 1),
            error=error,
        )
        write_state(self._folder, self._state)

    def write(self, text: str) -> int:
        """Turn the bar's percentages into the state, and log all else."""
        bar = re.match(r"\r.*?(\d+)%\|", text)
        if bar is None:
            self._log.write(text.strip("\r"))
        elif bar[1] != self._percent:
            self._percent = bar[1]
            self.leave(share=int(bar[1]) / 100)
        return len(text)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Lock a run's folder; if the process dies, the lock is released.

    Raises:
        SweepError: Another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        end = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise SweepError(
                        f"another process is at work on {folder}; is the sweep running twice?"
                    ) from None
            time.sleep(0.1)
        yield
