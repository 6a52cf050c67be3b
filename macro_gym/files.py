"""Atomic writing of files: a reader never sees half of one; checks that a place can be written."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from macro_gym.errors import OutputError


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a temporary file next to ``path`` that replaces it if the block succeeds.

    If the block fails, the old file (or its absence) is kept and the temporary file is deleted.

    Args:
        path: The file to write; its folder is created if missing.

    Yields:
        A binary file open for writing.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        # mkstemp makes private files; a result should be as readable as any other new file.
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def require_file(path: str | os.PathLike[str]) -> None:
    """Check, before the work that a file is to keep, that `replacing` can write it.

    Raises:
        OutputError: It is a folder, or in a place that cannot be one.
    """
    if Path(path).is_dir():
        raise OutputError(f"{path} is a folder; give the file another name, or one within it")
    require_folder(Path(path).parent)


def require_folder(path: str | os.PathLike[str]) -> None:
    """Check, before the work that a folder is to keep, that it exists or can be created.

    Raises:
        OutputError: It is a file, or within one.
    """
    whole = Path(path).absolute()
    nearest = next(place for place in (whole, *whole.parents) if place.exists())
    if not nearest.is_dir():
        raise OutputError(f"{path} cannot be a folder: {nearest} is a file; choose another place")


def _umask() -> int:
    """The process's file mode mask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
