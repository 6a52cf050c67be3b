"""Base class of tables of runs that can be interrupted and resumed."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from benchmarks.report import origin, write_report
from macro_gym.errors import MacroGymError
from sb3_masp.sweeps.results import write_table

Run = TypeVar("Run")
Found = TypeVar("Found")


class ExperimentError(MacroGymError, ValueError):
    """Settings of an experiment that do not fit its results or each other."""


class RunTable(ABC, Generic[Run, Found]):
    """A table of runs with the same settings, written whenever a run is added.

    A JSON file of the same name beside it holds the settings, command, machine and versions; if
    several commands added rows, those of the earlier ones too.

    Args:
        path: The CSV file; its rows are kept.
        settings: Settings shared by all runs, which JSON can represent.

    Raises:
        ExperimentError: The file's rows have other settings.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        """Read existing rows and check their settings."""
        self.path = path
        self.settings = json.loads(json.dumps(settings))
        self.rows = self.read(path)
        about = path.with_suffix(".json")
        if self.rows and about.exists():
            require_same(path, json.loads(about.read_text())["settings"], self.settings)

    @staticmethod
    @abstractmethod
    def read(path: Path) -> dict[Run, Found]:
        """Read the runs of a file; empty if there is none."""

    @staticmethod
    @abstractmethod
    def lines(run: Run, found: Found) -> list[dict[str, Any]]:
        """The rows of a run in the file, at least one."""

    def add(self, run: Run, found: Found) -> None:
        """Add a run, sort the table and write it."""
        self.rows = dict(sorted((self.rows | {run: found}).items()))
        table = [line for entry in self.rows.items() for line in self.lines(*entry)]
        write_table(self.path, table, list(self.lines(run, found)[0]))

    def note_origin(self) -> None:
        """Write the settings, and the origin of the rows of this and of earlier commands."""
        about, now = self.path.with_suffix(".json"), origin()
        before = json.loads(about.read_text()) if self.rows and about.exists() else None
        earlier = [*before.get("earlier", []), {n: before[n] for n in now}] if before else []
        others = [one for one in earlier if one != now]
        write_report(about, {"settings": self.settings, "earlier": others})


def require_same(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to mix rows of different settings.

    Raises:
        ExperimentError: The settings differ.
    """
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    if names:
        said = ", ".join(f"{n} was {before.get(n)!r} and is {now.get(n)!r}" for n in names)
        raise ExperimentError(
            f"the rows of {path} are of other settings: {said}. Choose another --output, or remove "
            "that file to run everything again"
        )


def number(text: str) -> float:
    """Parse a number as int or float, as it was written, so that existing rows do not change."""
    return int(text) if text.removeprefix("-").isdigit() else float(text)
