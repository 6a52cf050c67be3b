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
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix=".recording-") as temporary:
        whole = Path(temporary, "whole")
        demonstration.save(whole)
        return keep(whole, folder, demonstration.game or "play", ".npz")


def keep(whole: Path, folder: Path, name: str, suffix: str, digits: int = 1) -> Path:
    """Give a file its place, ``<name>-<number><suffix>``, and replace none.

    Args:
        whole: The file, on the same disk as ``folder``.
        folder: Where it goes.
        name: What its name begins with.
        suffix: What its name ends in.
        digits: Digits of its number, at least.

    Returns:
        Its place.
    """
    number = next_number(folder, name, suffix)
    while True:
        path = folder / f"{name}-{number:0{digits}}{suffix}"
        try:
            _place(whole, path)
        except FileExistsError:
            number += 1
        else:
            return path


def _place(whole: Path, path: Path) -> None:
    """Give a file a name that none has.

    Raises:
        FileExistsError: One has it.
    """
    try:
        os.link(whole, path)  # Unlike renaming, it refuses to replace.
    except FileExistsError:
        raise
    except OSError:
        # Of file systems without links: exFAT, some shares. An empty file keeps the name meanwhile.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
        try:
            whole.replace(path)
        except BaseException:
            path.unlink()
            raise


def next_number(folder: Path, name: str, suffix: str = ".npz") -> int:
    """Return the number after the largest of the files ``<name>-<number><suffix>``; 0 for none."""
    pattern = rf"{re.escape(name)}-(\d+){re.escape(suffix)}"
    found = (re.fullmatch(pattern, path.name) for path in folder.glob(f"*{suffix}"))
    return max((int(match[1]) + 1 for match in found if match), default=0)
