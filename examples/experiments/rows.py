"""A table of runs: what a run is, what it came to, and which of them are reported."""

import csv
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from examples.experiments.run_table import RunTable, number

FIRST_TUNING_SEED = 100
"""Seeds from here on choose strengths and are never reported."""


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


class Results(RunTable[Run, Mapping[str, float]]):
    """A table with a row for each run."""

    @staticmethod
    def read(path: Path) -> dict[Run, Mapping[str, float]]:
        """What each run came to."""
        return dict(read_rows(path))

    @staticmethod
    def lines(run: Run, found: Mapping[str, float]) -> list[dict[str, Any]]:
        """A run's row."""
        return [run.key | dict(found)]


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
    return run, {name: number(text) for name, text in row.items() if name not in KEY}
