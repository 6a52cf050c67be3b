"""The command ``masp``: train learners on macro environments and inspect what they learned."""

import sys
from collections.abc import Callable, Sequence

import gymnasium as gym

from macro_gym.command_line import find_modules_here, run_commands
from macro_gym.errors import MacroGymError
from sb3_masp.commands.evaluate import evaluate
from sb3_masp.commands.similarity import similarity
from sb3_masp.commands.sweep import sweep
from sb3_masp.commands.train import train
from sb3_masp.commands.weights import weights

COMMANDS: dict[str, Callable[..., None]] = {
    "train": train,
    "evaluate": evaluate,
    "similarity": similarity,
    "weights": weights,
    "sweep": sweep,
}
ERRORS = (MacroGymError, OSError, gym.error.Error)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line ``argv`` (the process's own if None) and return its exit code."""
    find_modules_here()
    return run_commands("masp", __doc__, COMMANDS, argv, errors=ERRORS)


if __name__ == "__main__":
    sys.exit(main())
