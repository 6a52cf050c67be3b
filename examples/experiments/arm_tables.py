"""Markdown tables that compare arms, for docs/evidence.md, and their figures."""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from examples.experiments.arms import ARMS, LEARNED, ORACLES
from examples.experiments.comparison import (
    difference,
    headroom_share,
    improvement,
    interval,
    iqm,
    mean,
    scores_of,
)
from examples.experiments.figures import draw_arms
from examples.experiments.learners import LAST_SHARE
from examples.experiments.markdown import paragraph, table
from examples.experiments.rows import Cell, Rows
from examples.experiments.runs import chosen_strength
from examples.experiments.table import Values
from examples.experiments.trial import Arms

MEASURES = ("area", "final")
"""Columns with the scores of the whole run, and of its end."""
LATE = f"last {LAST_SHARE:.0%}"
"""Heading of the scores at the end of runs."""
HEADROOM = "share of the oracle's headroom"
CONTROLS = ("primitives", "macros", "uniform", "overlap")
"""Arms that the others are compared with in tables over games."""
CAVEATS = """\
Interquartile means leave out the lowest and the highest quarter of all runs, and with them whole
problems on which scores are very low or very high; plain means do not. Intervals take the seeds of
different arms as unpaired, are not corrected for the number of comparisons, and are rough for as
few as five seeds.
"""
LEFT = "Not run, or not with all seeds:\n"


def groups(rows: Rows, problems: Iterable[str]) -> list[list[Cell]]:
    """The cells of reported runs with macros, one list per k, share and unit of updates."""
    reported = (run.cell for run in rows if run.is_reported and run.cell.k)
    kinds = {(cell.updates, cell.share, cell.k) for cell in reported}
    return [
        [Cell(problem, k, share, updates) for problem in problems]
        for updates, share, k in sorted(kinds)
    ]


def complete_arms(
    rows: Rows,
    cells: Sequence[Cell],
    tuned_on: Sequence[str] = (),
    measure: str = "area",
    known: Arms = ARMS,
) -> dict[str, Values]:
    """Scores of the arms with at least two seeds in all problems."""
    scores = {arm: scores_of(rows, cells, arm, measure, tuned_on, known) for arm in known}
    return {arm: found for arm, found in scores.items() if len(found) > 1}


def over_problems(
    scores: dict[str, Values],
    late: dict[str, Values],
    controls: Sequence[str] = CONTROLS,
    digits: int = 2,
) -> str:
    """Table of the arms over all problems; empty if there are none.

    Args:
        scores: Scores over the whole run, by arm, of shape ``(seeds, problems)``.
        late: The same over the end of the run.
        controls: Arms that the others are compared with, as far as they have been run.
        digits: Digits of differences after the point.
    """
    lines = []
    for arm, own in scores.items():
        line = {
            "arm": arm,
            "seeds": len(own),
            "score": interval(iqm, own),
            LATE: interval(iqm, late[arm]),
            "mean": interval(mean, own),
            f"mean, {LATE}": interval(mean, late[arm]),
        }
        beside = [control for control in controls if control in scores]
        line |= {f"− {other}": _against(difference, arm, scores, other, digits) for other in beside}
        if "uniform" in beside:
            line[f"− uniform, {LATE}"] = _against(difference, arm, late, "uniform", digits)
        line |= {f"P(> {other})": _against(improvement, arm, scores, other) for other in beside}
        if "oracle" in scores:
            line[HEADROOM] = _of_headroom(arm, scores)
        lines.append(line)
    return table(lines) + "\n" if lines else ""


def not_run(
    rows: Rows,
    planned: Iterable[Cell],
    arms: Sequence[str],
    seeds: int,
    tuned_on: Sequence[str] = (),
) -> str:
    """Table of the arms without all seeds on all problems; empty if nothing has been run.

    Args:
        rows: The table of runs.
        planned: Cells, with those that differ only in the problem after each other.
        arms: Names of the arms.
        seeds: Number of seeds.
        tuned_on: Problems on which strengths are chosen; by default each cell's own.
    """
    lines = []
    for like, cells in itertools.groupby(planned, lambda cell: replace(cell, problem="")):
        of_all = list(cells)
        found = {arm: len(scores_of(rows, of_all, arm, tuned_on=tuned_on)) for arm in arms}
        left = [
            f"*{arm}* ({done} of {seeds} seeds)" if done else f"*{arm}*"
            for arm, done in found.items()
            if done < seeds
        ]
        if left:
            said = "; ".join(left) if any(found.values()) else "all arms"
            lines.append({"k": like.k, "updates counted in": f"{like.updates}s", "not run": said})
    return f"{LEFT}\n{table(lines)}" if lines and rows else ""


def further_seeds(scores: Mapping[str, Values], planned: int) -> list[str]:
    """Report what became of the learned arms' leads over uniform on seeds beyond the planned ones.

    Args:
        scores: Scores of each arm, with the planned seeds first.
        planned: Number of planned seeds.
    """
    scores = {arm: own for arm, own in scores.items() if len(own) > planned + 1}
    learned = [arm for arm in LEARNED if arm in scores]
    if "uniform" not in scores or not learned:
        return []

    def lead(arm: str, seeds: slice) -> str:
        return interval(difference, scores[arm][seeds], scores["uniform"][seeds]).said(3)

    leads = [
        f"*{arm}* {lead(arm, slice(planned))} and {lead(arm, slice(planned, None))}"
        for arm in learned
    ]
    return [
        paragraph(
            f"Differences from *uniform* on the first {planned} seeds, and on the others, which "
            f"were run to check them: {'; '.join(leads)}."
        )
    ]


def title(cell: Cell) -> str:
    """Heading of the tables of a cell's k, share and unit of updates."""
    return f"### k = {cell.k}, {cell.share:.0%} mined, updates counted in {cell.updates}s\n\n"


def by_problem_table(
    rows: Rows,
    cells: Sequence[Cell],
    tuned_on: Sequence[str] = (),
    measures: tuple[str, str] = MEASURES,
    known: Arms = ARMS,
) -> str:
    """Table of every arm with reported rows, by problem.

    Args:
        rows: The table of runs.
        cells: Cells, one per problem.
        tuned_on: Problems on which strengths are chosen; by default each cell's own.
        measures: Columns that are shown, of the whole run and of its end.
        known: Arms by name.
    """
    lines = [
        f"By problem: interquartile means over the whole run / its {LATE}, with the number of",
        "seeds and the chosen strength in parentheses; decisions and updates are means over these",
        "runs:\n",
        f"| arm | decisions | updates | {' | '.join(cell.problem for cell in cells)} |",
        "|---" * (len(cells) + 3) + "|",
    ]
    for arm in known:
        said = [_by_problem(rows, cell, arm, tuned_on, measures, known) for cell in cells]
        if any(said):
            taken = [
                _taken(rows, cells, arm, tuned_on, of, known)
                for of in ("decisions", "updates_taken")
            ]
            lines.append(f"| {arm} | {' | '.join([*taken, *said])} |")
    return "\n".join([*lines, ""])


def _taken(
    rows: Rows,
    cells: Sequence[Cell],
    arm: str,
    tuned_on: Sequence[str],
    measure: str,
    known: Arms,
) -> str:
    """Mean of a column of effort over those of an arm's runs that are shown."""
    of_cells = [scores_of(rows, [cell], arm, measure, tuned_on, known).ravel() for cell in cells]
    return f"{np.concatenate(of_cells).mean():,.0f}"


def _against(
    statistic: Callable[..., Values],
    arm: str,
    scores: dict[str, Values],
    control: str,
    digits: int = 2,
) -> str:
    """Compare an arm with a control; empty if it is the control itself."""
    return "" if arm == control else interval(statistic, scores[arm], scores[control]).said(digits)


def _of_headroom(arm: str, scores: dict[str, Values]) -> str:
    """An arm's share of the oracle's headroom, if there is any."""
    if "uniform" not in scores or arm in ("uniform", *ORACLES):
        return ""
    if not clear_headroom(scores):
        return "no clear headroom"
    return str(interval(headroom_share, scores[arm], scores["uniform"], scores["oracle"]))


def clear_headroom(scores: Mapping[str, Values]) -> bool:
    """Whether the oracle's gain over uniform is clear of zero; False if either has not been run."""
    if not {"uniform", "oracle"} <= set(scores):
        return False
    return interval(difference, scores["oracle"], scores["uniform"]).low > 0


def _by_problem(
    rows: Rows,
    cell: Cell,
    arm: str,
    tuned_on: Sequence[str],
    measures: Iterable[str],
    known: Arms,
) -> str:
    """Scores of an arm on one problem; empty if it has no reported runs."""
    scores = [scores_of(rows, [cell], arm, measure, tuned_on, known) for measure in measures]
    seeds = len(scores[0])
    if not seeds:
        return ""
    strength = chosen_strength(rows, cell, arm, tuned_on=tuned_on, known=known)
    said = " / ".join(f"{iqm(own):.2f}" for own in scores)
    return f"{said} ({', '.join(filter(None, [str(seeds), strength]))})"


def draw(path: Path, panels: Mapping[str, Mapping[str, Values]]) -> None:
    """Draw the scores of arms, if there are any, highlighting those that learn Σ.

    Args:
        path: Image to write.
        panels: Scores of each arm, as returned by `complete_arms`, by panel title.
    """
    intervals = {
        title: {arm: interval(iqm, own) for arm, own in scores.items()}
        for title, scores in panels.items()
    }
    draw_arms(path, intervals, "Score: interquartile mean, 95% interval", LEARNED)
