"""Estimate how long runs take before any has been run, from short runs of each arm."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from tqdm import tqdm

from examples.experiments.arms import Arm
from examples.experiments.rows import Rows, Run

Arms = Mapping[str, Arm]
"""Arms by name."""


@dataclass(frozen=True)
class Trial:
    """Estimates how long runs take.

    Args:
        work: Carries out a run of a number of steps or frames, learning from the first one on.
        length: Steps or frames of a full run.
        short: Steps or frames of a short run.
    """

    work: Callable[[Run, int], Mapping[str, float]]
    length: int
    short: int = 300

    def seconds(self, run: Run) -> float:
        """Estimate the seconds of a full run: its start-up once, and a constant time per step."""
        first, second, double = (
            self.work(run, steps)["seconds"] for steps in (self.short, self.short, 2 * self.short)
        )
        return first + max(double - second, 0) * (self.length - self.short) / self.short

    def rows(self, todo: Iterable[Run], known: Arms) -> Rows:
        """A row for each arm and number of macros, on which the time of a step depends."""
        tried: dict[tuple[str, int], Run] = {}
        for run in todo:
            strength = known[run.arm].strengths[-1] if run.strength == "?" else run.strength
            tried[run.arm, run.cell.k] = replace(run, strength=strength)
        bar = tqdm(tried.values(), desc="timing short runs", unit="arm", leave=False)
        return {run: {"seconds": self.seconds(run)} for run in bar}
