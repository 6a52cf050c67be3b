"""Write results of benchmarks together with their origin."""

import json
import os
import platform
import shlex
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from macro_gym.files import replacing

PACKAGES = ("ale-py", "gymnasium", "numpy", "sb3-contrib", "stable-baselines3", "torch")


def origin() -> dict[str, Any]:
    """The running command, the machine and the versions of packages."""
    return {
        "command": shlex.join(["python", *sys.orig_argv[1:]]),
        "machine": {"cpu": _cpu(), "cores": os.cpu_count(), "system": platform.platform()},
        "versions": {"python": platform.python_version()} | {p: version(p) for p in PACKAGES},
    }


def write_report(path: Path, results: dict[str, Any]) -> None:
    """Write ``results`` with the command, the machine and the versions, atomically."""
    with replacing(path) as file:
        file.write((json.dumps(origin() | results, indent=2) + "\n").encode())


def _cpu() -> str:
    """Name of the processor, as far as the system provides it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
