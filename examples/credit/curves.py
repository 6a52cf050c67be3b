"""Draw learning curves of arms."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from examples.credit.runs import Rows
from examples.experiments.comparison import interval, iqm
from macro_gym.files import replacing


def draw_curves(
    path: Path, rows: Rows, problems: Sequence[str], measures: Mapping[str, str]
) -> None:
    """Draw the learning curves of arms: interquartile means over seeds with 95% intervals.

    Args:
        path: Image to write; it is not written if there are no problems.
        rows: Runs of one choice per arm, all with the same ``steps``.
        problems: Problems, one column of panels each.
        measures: Columns of the table, one row of panels each, and their axis labels.
    """
    if not problems:
        return
    figure = Figure((4.2 * len(problems), 3.2 * len(measures)), layout="constrained")
    panels = figure.subplots(len(measures), len(problems), sharex=True, squeeze=False)
    arms = list(dict.fromkeys(run.arm for run in rows))
    for line, (measure, said) in zip(panels, measures.items(), strict=True):
        line[0].set_ylabel(said)
        for axes, problem in zip(line, problems, strict=True):
            for place, arm in enumerate(arms):
                runs = [rows[r] for r in rows if (r.problem, r.arm) == (problem, arm)]
                if runs:
                    _draw(axes, runs, measure, arm, f"C{place}")
            axes.grid(alpha=0.3)
    for axes, problem in zip(panels[0], problems, strict=True):
        axes.set_title(problem)
    for axes in panels[-1]:
        axes.set_xlabel("environment steps")
    figure.legend(
        handles=panels[0][0].get_lines(), loc="outside lower center", ncols=len(arms), frameon=False
    )
    with replacing(path) as file:
        figure.savefig(file, dpi=130, format=path.suffix[1:])


def _draw(
    axes: Axes, runs: Sequence[Sequence[Mapping[str, float]]], measure: str, arm: str, colour: str
) -> None:
    """Draw the curve of one arm."""
    values = np.array([[row[measure] for row in run] for run in runs])
    found = [interval(iqm, column[:, None]) for column in values.T]
    steps = [row["steps"] for row in runs[0]]
    low, high = [x.low for x in found], [x.high for x in found]
    axes.plot(steps, [x.point for x in found], colour, label=arm)
    axes.fill_between(steps, low, high, color=colour, alpha=0.15)
