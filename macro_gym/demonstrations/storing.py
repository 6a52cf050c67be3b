"""Files for recordings: a new one for each, whole or not there."""

import os
import re
from pathlib import Path
from tempfile import TemporaryDirectory

from macro_gym.demonstrations.demonstration import Demonstration


def store(demonstration: Demonstration, folder: str | os.PathLike[str]) -> Path:
    """Write an episode to ``<game>-<number>.npz``, the number after those that are there.

    The file is whole or not there, and no other is ever replaced, also when several processes
    write to the same folder.

    Returns:
        The file.
    """
    folder = Path(folder)
    name = demonstration.game or "play"
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix=".recording-") as temporary:
        whole = Path(temporary, "whole")
        demonstration.save(whole)
        number = next_number(folder, name)
        while True:
            path = folder / f"{name}-{number}.npz"
            try:
                os.link(whole, path)  # Unlike renaming, it refuses to replace.
            except FileExistsError:
                number += 1
            else:
                return path


def next_number(folder: Path, name: str) -> int:
    """Return the number after the largest among the files ``<name>-<number>.npz``; 0 for none."""
    pattern = rf"{re.escape(name)}-(\d+)\.npz"
    found = (re.fullmatch(pattern, path.name) for path in folder.glob("*.npz"))
    return max((int(match[1]) + 1 for match in found if match), default=0)
