"""What scripts of experiments share: the options that all of them take, and what is done then."""

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
    """What every experiment on a grid of cells is told.

    Args:
        arms: What is compared.
        seeds: Runs of each arm that are reported.
        tuning_seeds: Runs of each strength that arms choose by, on each problem that is for that.
        workers: Processes, of one thread each; as many as there are cores by default.
        output: The table, by default the one in results, or with --smoke one that is not kept.
        smoke: So small that it only shows that it runs.
        full: Run it.
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
        """Whether to run, and not only to say what would be."""
        return self.smoke or self.full

    def table(self, usual: Path) -> Path:
        """Where rows go: the usual file if nothing else is said, or with --smoke a new one."""
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
    """Say what has not been run, and run it if that is asked for.

    Args:
        settings: Of the experiment.
        output: The table.
        common: What all its rows have in common.
        cells: Where arms are compared.
        work: What to do for a run, in any process.
        tuned_on: The problems on which strengths are chosen; each cell's own if none are named.
        known: What the names of arms stand for.
        trial: Tells how long that takes before there are rows.
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
