"""Whether processes have ended."""

import time
from pathlib import Path


def gone(pid):
    """Whether a process is no more, or dead and left for its parent (of which we are none)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


def soon(condition, seconds=20):
    """Whether a condition comes true."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()
