"""The ``macro-gym`` command: record, plan and replay play, extract macros from it, show them."""

import sys
from collections.abc import Callable, Sequence

from macro_gym.command_line import run_commands
from macro_gym.commands.bank import bank
from macro_gym.commands.extract import extract
from macro_gym.commands.plan import plan
from macro_gym.commands.record import record
from macro_gym.commands.replay import replay
from macro_gym.commands.show import show

COMMANDS: dict[str, Callable[..., None]] = {
    "show": show,
    "plan": plan,
    "record": record,
    "replay": replay,
    "extract": extract,
    "bank": bank,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line ``argv``, ``sys.argv`` if None; return the exit code."""
    words = sys.argv[1:] if argv is None else argv
    resumable = "plan" in words[:1] or "--replan" in words
    advice = "stopped" + ("; run the same command again to resume" if resumable else "")
    return run_commands("macro-gym", __doc__, COMMANDS, argv, advice=advice)


if __name__ == "__main__":
    sys.exit(main())
