"""Available memory, and sizes as text."""

import importlib
import os
import warnings


def available_memory() -> int | None:
    """Memory in bytes that is available without swapping; None if unknown."""
    try:
        return int(importlib.import_module("psutil").virtual_memory().available)
    except ImportError:
        pass
    try:
        with open("/proc/meminfo") as lines:
            sizes = dict(line.split(":", 1) for line in lines)
        return int(sizes["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def readable(nbytes: float) -> str:
    """A size with its unit, to a tenth.

    Example:
        >>> readable(6_000_000_000)
        '5.6 GiB'
    """
    for unit in ("B", "KiB", "MiB"):
        if nbytes < 1024:
            return f"{nbytes:.1f} {unit}"
        nbytes /= 1024
    return f"{nbytes:.1f} GiB"


def beside_what_is_free(statement: str) -> str:
    """``statement``, followed by the free memory if it is known."""
    free = available_memory()
    return statement if free is None else f"{statement}; {readable(free)} free"


def warn_if_more_than_free(nbytes: int, statement: str) -> None:
    """Warn in advance if learning would run out of memory."""
    free = available_memory()
    if free is not None and nbytes > free:
        warnings.warn(
            f"{statement}. Learning will run out of memory before the buffer is full; choose a "
            "smaller buffer_size.",
            stacklevel=3,
        )
