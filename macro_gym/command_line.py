"""What the project's commands have in common: subcommands, errors in one line, exit codes."""

import os
import select
import signal
import sys
from collections.abc import Callable, Mapping, Sequence

import tyro

from macro_gym.errors import MacroGymError


def run_commands(
    prog: str,
    description: str | None,
    commands: Mapping[str, Callable[..., None]],
    argv: Sequence[str] | None,
    errors: tuple[type[Exception], ...] = (MacroGymError, OSError),
    advice: str = "",
) -> int:
    """Run one of several subcommands.

    Args:
        prog: The command's name.
        description: What ``--help`` says of it.
        commands: What each subcommand calls, with arguments by its signature.
        argv: The words after the command's name; the process's own if None.
        errors: What is printed in one line.
        advice: What is printed when Ctrl-C stops it; nothing if empty.

    Returns:
        The exit code: 0, or 2 after an error, or what shells give processes that a signal ended:
        130 after Ctrl-C, and 141 where the reader of the output has gone, as with ``| head``.
    """
    try:
        tyro.extras.subcommand_cli_from_dict(
            dict(commands), prog=prog, description=description, args=argv
        )
        print(end="", flush=True)
    except KeyboardInterrupt:
        if advice:
            print(advice, file=sys.stderr)
        return 128 + signal.SIGINT
    except errors as error:
        if isinstance(error, BrokenPipeError) and _reader_is_gone():
            return 128 + signal.SIGPIPE
        print(f"{prog}: {error}", file=sys.stderr)
        return 2
    return 0


def _reader_is_gone() -> bool:
    """Whether nobody reads the output any more; if so, what is left of it goes nowhere."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)  # Asked or not, it tells of a pipe without a reader.
    if not poll.poll(0):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True
