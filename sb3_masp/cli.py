"""The command ``masp``: train learners on macro environments, and see what they learned."""

import sys
from collections.abc import Callable, Sequence

import gymnasium as gym
import tyro

from macro_gym.errors import MacroGymError
from sb3_masp.commands.evaluate import evaluate
from sb3_masp.commands.similarity import similarity
from sb3_masp.commands.sweep import sweep
from sb3_masp.commands.train import train
from sb3_masp.commands.weights import weights


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line ``argv``, the process's own if None; return its exit code."""
    commands: dict[str, Callable[..., None]] = {
        "train": train,
        "evaluate": evaluate,
        "similarity": similarity,
        "weights": weights,
        "sweep": sweep,
    }
    try:
        tyro.extras.subcommand_cli_from_dict(commands, prog="masp", description=__doc__, args=argv)
    except KeyboardInterrupt:
        return 130
    except (MacroGymError, OSError, gym.error.Error) as error:
        print(f"masp: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
