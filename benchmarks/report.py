"""What every benchmark's result says of where it comes from."""

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
    """The command that runs, and the machine and the versions that it runs with."""
    return {
        "command": shlex.join(["python", *sys.orig_argv[1:]]),
        "machine": {"cpu": _cpu(), "cores": os.cpu_count(), "system": platform.platform()},
        "versions": {"python": platform.python_version()} | {p: version(p) for p in PACKAGES},
    }


def write_report(path: Path, results: dict[str, Any]) -> None:
    """Write ``results`` with the machine, the versions and the command; whole or not at all."""
    with replacing(path) as file:
        file.write((json.dumps(origin() | results, indent=2) + "\n").encode())


def _cpu() -> str:
    """The processor's name, where the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
