"""Tables of runs that go on where they were left: what all of them do, whatever a run is."""

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
    """Results that do not go together."""


class RunTable(ABC, Generic[Run, Found]):
    """A table of runs, of the same settings all, that is written whenever a run is added.

    The settings and the command, the machine and the versions stand beside it, in a JSON file of
    the same name; where rows were added by several commands, the earlier ones, too.

    Args:
        path: The CSV; what it holds is taken up.
        settings: What all runs have in common, as JSON has it.

    Raises:
        ExperimentError: The file's rows are of other settings.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        """Read what is there."""
        self.path = path
        self.settings = json.loads(json.dumps(settings))
        self.rows = self.read(path)
        about = path.with_suffix(".json")
        if self.rows and about.exists():
            require_same(path, json.loads(about.read_text())["settings"], self.settings)

    @staticmethod
    @abstractmethod
    def read(path: Path) -> dict[Run, Found]:
        """What a file says of its runs; nothing where there is none."""

    @staticmethod
    @abstractmethod
    def lines(run: Run, found: Found) -> list[dict[str, Any]]:
        """What stands in the file of a run, at least a line."""

    def add(self, run: Run, found: Found) -> None:
        """Add a run, in their order, and write all."""
        self.rows = dict(sorted((self.rows | {run: found}).items()))
        table = [line for entry in self.rows.items() for line in self.lines(*entry)]
        write_table(self.path, table, list(self.lines(run, found)[0]))

    def note_origin(self) -> None:
        """Write where rows come from, from now on and before, and of which settings they are."""
        about, now = self.path.with_suffix(".json"), origin()
        before = json.loads(about.read_text()) if self.rows and about.exists() else None
        earlier = [*before.get("earlier", []), {n: before[n] for n in now}] if before else []
        others = [one for one in earlier if one != now]
        write_report(about, {"settings": self.settings, "earlier": others})


def require_same(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to mix rows of different settings.

    Raises:
        ExperimentError: They differ.
    """
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    if names:
        said = ", ".join(f"{n} was {before.get(n)!r} and is {now.get(n)!r}" for n in names)
        raise ExperimentError(
            f"the rows of {path} are of other settings: {said}. Choose another --output, or remove "
            "that file to run everything again"
        )


def number(text: str) -> float:
    """A number of the type that was written, so that what is taken up is written as before."""
    return int(text) if text.removeprefix("-").isdigit() else float(text)
