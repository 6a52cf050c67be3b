"""Command-line options shared by all experiments, and how experiments are conducted."""

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from examples.experiments.arms import ARMS, ORACLES
from examples.experiments.rows import Cell, Results, Run
from examples.experiments.runs import carry_out
from examples.experiments.trial import Arms, Trial

REAL_ARMS = tuple(arm for arm in ARMS if arm not in ORACLES)
"""The arms that need no true values."""


@dataclass(frozen=True)
class GridSettings:
    """Options of every experiment on a grid of cells.

    Args:
        arms: Arms to compare.
        seeds: Reported seeds per arm.
        tuning_seeds: Tuning runs per choice of hyper-parameters, on each problem used for tuning.
        workers: Number of processes, with one thread each; by default one per core.
        output: Table of results, by default the one in results, or with --smoke a temporary one.
        smoke: Run a tiny size, only to check that the script works.
        full: Run the experiment.
    """

    arms: tuple[Literal[*ARMS], ...] = REAL_ARMS
    seeds: int = 5
    tuning_seeds: int = 2
    workers: int | None = None
    output: Path | None = None
    smoke: bool = False
    full: bool = False

    @property
    def is_to_run(self) -> bool:
        """Whether to run, rather than only report what is missing."""
        return self.smoke or self.full

    def table(self, usual: Path) -> Path:
        """Path of the table: the usual file unless another is given, or with --smoke a new one."""
        if self.output is None and self.smoke:
            return Path(tempfile.mkdtemp(), usual.name)
        return self.output or usual


def conduct(
    settings: GridSettings,
    output: Path,
    common: Mapping[str, Any],
    cells: Sequence[Cell],
    work: Callable[[Run], Mapping[str, float]],
    tuned_on: Sequence[str] = (),
    known: Arms = ARMS,
    trial: Trial | None = None,
) -> None:
    """Report what is missing and, if requested, run it.

    Args:
        settings: Settings of the experiment.
        output: Path of the table.
        common: Settings shared by all its rows.
        cells: Cells in which arms are compared.
        work: Carries out a run, in any process.
        tuned_on: Problems on which strengths are chosen; by default each cell's own.
        known: Arms by name.
        trial: Estimates how long runs take as long as there are no rows.
    """
    carry_out(
        Results(output, common),
        cells,
        settings.arms,
        (settings.tuning_seeds, settings.seeds),
        work,
        settings.workers or os.cpu_count() or 1,
        settings.is_to_run,
        tuned_on,
        known,
        trial,
    )
