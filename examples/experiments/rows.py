"""Runs, and the table of their results."""

import csv
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from examples.experiments.run_table import RunTable, number

FIRST_TUNING_SEED = 100
"""Seeds from here on are for choosing strengths and are never reported."""


@dataclass(frozen=True, order=True)
class Cell:
    """A condition under which arms are compared.

    Args:
        problem: Name of the problem.
        k: Number of macros.
        share: Share of the macros that is mined rather than random.
        updates: Unit in which updates are counted: ``"decision"`` or ``"step"``.
    """

    problem: str
    k: int
    share: float
    updates: str


@dataclass(frozen=True, order=True)
class Run:
    """A run of an arm in a cell.

    Args:
        cell: The cell; without macros for an arm that has none.
        arm: Name of the arm.
        strength: One of the arm's strengths; empty if it has none.
        seed: Seed of everything random.
    """

    cell: Cell
    arm: str
    strength: str
    seed: int

    @property
    def is_reported(self) -> bool:
        """Whether its seed is one on which arms are compared."""
        return self.seed < FIRST_TUNING_SEED

    @property
    def key(self) -> dict[str, Any]:
        """The first columns of its row, which identify it."""
        own = asdict(self)
        return own.pop("cell") | own


Rows = Mapping[Run, Mapping[str, float]]

KEY = (*(field.name for field in fields(Cell)), "arm", "strength", "seed")


class Results(RunTable[Run, Mapping[str, float]]):
    """A table with one row per run."""

    @staticmethod
    def read(path: Path) -> dict[Run, Mapping[str, float]]:
        """Read the results of each run."""
        return dict(read_rows(path))

    @staticmethod
    def lines(run: Run, found: Mapping[str, float]) -> list[dict[str, Any]]:
        """A run's row."""
        return [run.key | dict(found)]


def read_rows(path: Path) -> dict[Run, dict[str, float]]:
    """Read the rows of a table, by run; empty if there is no file."""
    if not path.exists():
        return {}
    with path.open() as file:
        return dict(map(_read_row, csv.DictReader(file)))


def _read_row(row: dict[str, str]) -> tuple[Run, dict[str, float]]:
    """A run and its results."""
    cell = Cell(row["problem"], int(row["k"]), float(row["share"]), row["updates"])
    run = Run(cell, row["arm"], row["strength"], int(row["seed"]))
    return run, {name: number(text) for name, text in row.items() if name not in KEY}
