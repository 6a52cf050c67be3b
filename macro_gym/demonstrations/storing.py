"""Store recordings atomically, each in a new file."""

import os
import re
from pathlib import Path
from tempfile import TemporaryDirectory

from macro_gym.demonstrations.demonstration import Demonstration


def store(demonstration: Demonstration, folder: str | os.PathLike[str]) -> Path:
    """Write an episode to ``<game>-<number>.npz``, numbered after the existing files.

    The file is written atomically and never replaces another, even if several processes write to
    the same folder.

    Returns:
        The path of the file.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix=".recording-") as temporary:
        whole = Path(temporary, "whole")
        demonstration.save(whole)
        return keep(whole, folder, demonstration.game or "play", ".npz")


def keep(whole: Path, folder: Path, name: str, suffix: str, digits: int = 1) -> Path:
    """Give a file its final name, ``<name>-<number><suffix>``, replacing none.

    Args:
        whole: The file, on the same disk as ``folder``.
        folder: Folder to put it in.
        name: Start of its name.
        suffix: End of its name.
        digits: Minimum number of digits in its number.

    Returns:
        Its new path.
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
    """Give a file a name that is not taken.

    Raises:
        FileExistsError: It is taken.
    """
    try:
        os.link(whole, path)  # Unlike renaming, linking never replaces a file.
    except FileExistsError:
        raise
    except OSError:
        # File systems without links: exFAT, some shares. An empty file reserves the name meanwhile.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
        try:
            whole.replace(path)
        except BaseException:
            path.unlink()
            raise


def next_number(folder: Path, name: str, suffix: str = ".npz") -> int:
    """Return the number after the largest of the files ``<name>-<number><suffix>``; 0 if none."""
    pattern = rf"{re.escape(name)}-(\d+){re.escape(suffix)}"
    found = (re.fullmatch(pattern, path.name) for path in folder.glob(f"*{suffix}"))
    return max((int(match[1]) + 1 for match in found if match), default=0)
