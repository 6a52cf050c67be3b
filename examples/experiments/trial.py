"""How long runs take, before any has been run: by short ones of each arm."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from tqdm import tqdm

from examples.experiments.arms import Arm
from examples.experiments.rows import Rows, Run

Arms = Mapping[str, Arm]
"""What the names of arms stand for."""


@dataclass(frozen=True)
class Trial:
    """Tells how long runs take.

    Args:
        work: A run of so many steps, or frames, that learns from the first one on.
        length: How many a run has that is no trial.
        short: How many of them tell how long it takes.
    """

    work: Callable[[Run, int], Mapping[str, float]]
    length: int
    short: int = 300

    def seconds(self, run: Run) -> float:
        """What a whole run takes: once what comes before it, and then so much for each step."""
        first, second, double = (
            self.work(run, steps)["seconds"] for steps in (self.short, self.short, 2 * self.short)
        )
        return first + max(double - second, 0) * (self.length - self.short) / self.short

    def rows(self, todo: Iterable[Run], known: Arms) -> Rows:
        """A row for each arm and number of macros, by which a step takes different times."""
        tried: dict[tuple[str, int], Run] = {}
        for run in todo:
            strength = known[run.arm].strengths[-1] if run.strength == "?" else run.strength
            tried[run.arm, run.cell.k] = replace(run, strength=strength)
        bar = tqdm(tried.values(), desc="timing short runs", unit="arm", leave=False)
        return {run: {"seconds": self.seconds(run)} for run in bar}
