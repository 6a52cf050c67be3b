"""The command ``macro-gym``: record, plan and replay play, extract macros from it, show them."""

import sys
from collections.abc import Callable, Sequence

import tyro

from macro_gym.commands.bank import bank
from macro_gym.commands.extract import extract
from macro_gym.commands.plan import plan
from macro_gym.commands.record import record
from macro_gym.commands.replay import replay
from macro_gym.commands.show import show
from macro_gym.errors import MacroGymError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line ``argv``, the process's own if None; return its exit code."""
    commands: dict[str, Callable[..., None]] = {
        "show": show,
        "plan": plan,
        "record": record,
        "replay": replay,
        "extract": extract,
        "bank": bank,
    }
    try:
        tyro.extras.subcommand_cli_from_dict(
            commands, prog="macro-gym", description=__doc__, args=argv
        )
    except (MacroGymError, OSError) as error:
        print(f"macro-gym: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        words = sys.argv[1:] if argv is None else argv
        resumable = "plan" in words[:1] or "--replan" in words
        advice = "; run the same command again to go on" if resumable else ""
        print(f"stopped{advice}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
