"""Shared code of the readers: cut rows into episodes, and raise for bad files or skip them."""

import os
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from macro_gym.demonstrations.demonstration import Demonstration
from macro_gym.errors import DemonstrationError

OnBad = Callable[[DemonstrationError], None]
"""What to do about a bad file; if it returns, reading continues with the next one."""

T = TypeVar("T")


def refuse(error: DemonstrationError) -> None:
    """Stop at a bad file: raise its error."""
    raise error


def from_each(
    files: Iterable[T], read: Callable[[T], Iterable[Demonstration]], on_bad: OnBad
) -> Iterator[Demonstration]:
    """Yield the play in each file; errors of bad files go to ``on_bad``."""
    for file in files:
        try:
            yield from read(file)
        except DemonstrationError as error:
            on_bad(error)


def pieces(
    demonstration: Demonstration, starts: NDArray[np.bool_], kept: NDArray[np.bool_] | None = None
) -> Iterator[Demonstration]:
    """Cut play before each step of ``starts``, and leave out the steps that are not ``kept``.

    Play is also cut where a step is left out, so that no sequence spans a gap.

    Args:
        demonstration: Play of any number of episodes.
        starts: Whether an episode starts with the step, shape ``(steps,)``.
        kept: Whether to keep the step, shape ``(steps,)``; None keeps all.
    """
    steps = len(demonstration.actions)
    if kept is None:
        kept = np.ones(steps, dtype=np.bool_)
    resumed = kept & ~np.concatenate([[True], kept[:-1]])[:steps]
    cuts = np.flatnonzero(starts | resumed | ~kept)
    bounds = np.unique(np.concatenate([[0], cuts, [steps]]))
    for start, end in pairwise(bounds.tolist()):
        if kept[start]:
            yield _part(demonstration, slice(start, end))


def after(ends: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Convert where episodes end to where the next ones start, shape ``(steps,)``."""
    return np.concatenate([[False], ends])[: len(ends)]


def files_below(path: Path, pattern: str) -> list[Path]:
    """Return the files in ``path``, at any depth, whose names match; ``1`` comes before ``10``."""
    found = (file for file in path.rglob("*") if re.fullmatch(pattern, file.name))
    return sorted((file for file in found if file.is_file()), key=natural)


def natural(path: str | os.PathLike[str]) -> list[tuple[int, str]]:
    """Return a sort key that compares the numbers in paths as numbers."""
    parts = re.findall(r"\d+|\D+", os.fspath(path))
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def bytes_of(path: Path) -> bytes:
    """Return a file's content.

    Raises:
        DemonstrationError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DemonstrationError(f"{path} cannot be read: {error}") from error


def zip_members(path: Path) -> list[str]:
    """Return the names of the files in a zip.

    Raises:
        DemonstrationError: It is not a complete zip.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except FileNotFoundError:
        raise
    except Exception as error:  # zipfile and zlib raise a dozen kinds for a bad file
        raise DemonstrationError(f"{path} is not a whole zip: {error}") from error


def zip_member(path: Path, member: str) -> bytes:
    """Return the content of a file in a zip.

    Raises:
        DemonstrationError: It cannot be unpacked.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(member)
    except Exception as error:  # zipfile and zlib raise a dozen kinds for a bad file
        raise DemonstrationError(f"{member} in {path} cannot be unpacked: {error}") from error


def _part(demonstration: Demonstration, span: slice) -> Demonstration:
    """The steps in ``span``."""
    rewards = demonstration.rewards
    return Demonstration(
        demonstration.primitives,
        demonstration.actions[span],
        None if rewards is None else rewards[span],
        demonstration.game,
        demonstration.frameskip,
        demonstration.source,
    )
