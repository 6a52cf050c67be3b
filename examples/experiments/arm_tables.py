"""Markdown tables that compare arms, for docs/evidence.md, and their figures."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from examples.experiments.arms import ARMS, LEARNED, ORACLES
from examples.experiments.comparison import (
    difference,
    headroom_share,
    improvement,
    interval,
    iqm,
    scores_of,
)
from examples.experiments.figures import draw_arms
from examples.experiments.learners import LAST_SHARE
from examples.experiments.markdown import paragraph
from examples.experiments.rows import Cell, Rows
from examples.experiments.runs import chosen_strength
from examples.experiments.table import Values
from examples.experiments.trial import Arms

MEASURES = ("area", "final")
"""Columns with the scores of the whole run, and of its end."""
LATE = f"last {LAST_SHARE:.0%}"
"""Heading of the scores at the end of runs."""
COLUMNS = ("arm", "seeds", "score", LATE, "− uniform", "− overlap", "P(> uniform)", "P(> overlap)")
HEADROOM = "share of the oracle's headroom"
CONTROLS = ("primitives", "macros", "uniform", "overlap")
"""Arms that the others are compared with in tables over games."""


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


def over_games(scores: dict[str, Values], late: dict[str, Values], digits: int = 2) -> str:
    """Table of the arms over all games, compared with `CONTROLS`; empty if there are none.

    Args:
        scores: Scores over the whole run, by arm, of shape ``(seeds, games)``.
        late: The same over the end of the run.
        digits: Digits of differences after the point.
    """
    if not scores:
        return ""
    controls = [control for control in CONTROLS if control in scores]
    compared = [form.format(control) for form in ("− {}", "P(> {})") for control in controls]
    columns = ["arm", "seeds", "score", LATE, *compared]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for arm, own in scores.items():
        ends = [str(interval(iqm, of_part)) for of_part in (own, late[arm])]
        beside = [_against(difference, own, scores, control, digits) for control in controls]
        beside += [_against(improvement, own, scores, control) for control in controls]
        lines.append(f"| {' | '.join([arm, str(len(own)), *ends, *beside])} |")
    return "\n".join([*lines, "", ""])


def over_problems(scores: dict[str, Values], late: dict[str, Values]) -> str:
    """Table of the arms over all small problems; arguments as in `over_games`."""
    if not scores:
        return ""
    columns = [*COLUMNS, HEADROOM] if "oracle" in scores else COLUMNS
    head = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    return "\n".join([*head, *(_line(arm, scores, late[arm]) for arm in scores), "", ""])


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


def _line(arm: str, scores: dict[str, Values], late: Values) -> str:
    """Table row of an arm, with comparisons to the controls."""
    own = scores[arm]
    found = [
        str(interval(iqm, late)),
        _against(difference, own, scores, "uniform", digits=3),
        _against(difference, own, scores, "overlap", digits=3),
        _against(improvement, own, scores, "uniform"),
        _against(improvement, own, scores, "overlap"),
        *([_of_headroom(arm, scores)] if "oracle" in scores else []),
    ]
    return f"| {arm} | {len(own)} | {interval(iqm, own)} | {' | '.join(found)} |"


def _against(
    statistic: Callable[..., Values],
    own: Values,
    scores: dict[str, Values],
    control: str,
    digits: int = 2,
) -> str:
    """Compare with a control; empty if the control has not been run or is the arm itself."""
    if control not in scores or own is scores[control]:
        return ""
    return interval(statistic, own, scores[control]).said(digits)


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
