"""A table of runs: what a run is, what it came to, and which of them are reported."""

import csv
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from benchmarks.report import write_report
from macro_gym.errors import MacroGymError
from sb3_masp.sweeps.results import write_table

FIRST_TUNING_SEED = 100
"""Seeds from here on choose strengths and are never reported."""


class ExperimentError(MacroGymError, ValueError):
    """Results that do not go together."""


@dataclass(frozen=True, order=True)
class Cell:
    """Where arms are compared.

    Args:
        problem: Its name.
        k: Macros.
        share: How much of them is of use.
        updates: What updates are counted in: ``"decision"`` or ``"step"``.
    """

    problem: str
    k: int
    share: float
    updates: str


@dataclass(frozen=True, order=True)
class Run:
    """One run.

    Args:
        cell: Where; without macros for an arm that has none.
        arm: Its name.
        strength: One of the arm's; empty if it has none.
        seed: Of everything.
    """

    cell: Cell
    arm: str
    strength: str
    seed: int

    @property
    def is_reported(self) -> bool:
        """Whether its seed is one of those that arms are compared by."""
        return self.seed < FIRST_TUNING_SEED

    @property
    def key(self) -> dict[str, Any]:
        """What its row begins with."""
        own = asdict(self)
        return own.pop("cell") | own


Rows = Mapping[Run, Mapping[str, float]]

KEY = (*(field.name for field in fields(Cell)), "arm", "strength", "seed")


class Results:
    """A table of runs, of the same settings all, that is written whenever a row is added.

    The settings, the command and the versions stand beside it, in a JSON file of the same name.

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
        self.rows = read_rows(path)
        about = path.with_suffix(".json")
        if self.rows and about.exists():
            before = json.loads(about.read_text())["settings"]
            require_same(path, before, self.settings)

    def add(self, run: Run, result: Mapping[str, float]) -> None:
        """Add a row, in the order of the runs, and write all."""
        self.rows = dict(sorted((self.rows | {run: dict(result)}).items()))
        table = [run.key | row for run, row in self.rows.items()]
        write_table(self.path, table, (*KEY, *result))

    def note_origin(self) -> None:
        """Write where the table comes from, and of which settings it is."""
        write_report(self.path.with_suffix(".json"), {"settings": self.settings})


def read_rows(path: Path) -> dict[Run, dict[str, float]]:
    """The rows of a table by their runs; none where there is no file."""
    if not path.exists():
        return {}
    with path.open() as file:
        return dict(map(_read_row, csv.DictReader(file)))


def _read_row(row: dict[str, str]) -> tuple[Run, dict[str, float]]:
    """A run and its results."""
    cell = Cell(row["problem"], int(row["k"]), float(row["share"]), row["updates"])
    run = Run(cell, row["arm"], row["strength"], int(row["seed"]))
    return run, {name: _number(text) for name, text in row.items() if name not in KEY}


def _number(text: str) -> float:
    """A number of the type that was written, so that what is taken up is written as before."""
    return int(text) if text.isdigit() else float(text)


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
