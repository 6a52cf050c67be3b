"""Shared code of the project's commands: subcommands, one-line errors, exit codes."""

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
        description: Text for ``--help``.
        commands: The function that each subcommand calls; its signature defines the arguments.
        argv: Arguments after the command's name; from ``sys.argv`` if None.
        errors: Exceptions reported in one line.
        advice: Message printed when Ctrl-C stops the command; none if empty.

    Returns:
        The exit code: 0, 2 after an error, or the shell's code for a process ended by a signal: 130
        after Ctrl-C, and 141 if the reader of the output is gone, as with ``| head``.
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


def find_modules_here() -> None:
    """Have modules found in the folder that the command is run in, too: the user's own."""
    if "" not in sys.path:
        sys.path.append("")


def _reader_is_gone() -> bool:
    """Whether nobody reads the output any more; if so, discard the rest of it."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)  # Even with no events, it reports a pipe without reader.
    if not poll.poll(0):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True
