"""Tables of how arms compare, in Markdown, as docs/evidence.md has them, and their figures."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from examples.experiments.arms import ARMS
from examples.experiments.comparison import (
    difference,
    headroom_share,
    improvement,
    interval,
    iqm,
    scores_of,
)
from examples.experiments.rows import Cell, Rows
from examples.experiments.runs import chosen_strength
from examples.experiments.table import Values
from sb3_masp.sweeps.summary import Interval, draw_intervals

COLUMNS = ("arm", "seeds", "score", "− uniform", "− overlap", "P(> uniform)")
HEADROOM = "of the oracle's headroom"


def groups(rows: Rows, problems: Iterable[str]) -> list[list[Cell]]:
    """The cells of reported runs with macros, one list for each k, share and unit of updates."""
    reported = (run.cell for run in rows if run.is_reported and run.cell.k)
    kinds = {(cell.updates, cell.share, cell.k) for cell in reported}
    return [
        [Cell(problem, k, share, updates) for problem in problems]
        for updates, share, k in sorted(kinds)
    ]


def complete_arms(
    rows: Rows, cells: Sequence[Cell], tuned_on: Sequence[str] = ()
) -> dict[str, Values]:
    """Scores of the arms that have two seeds or more in all problems."""
    scores = {arm: scores_of(rows, cells, arm, tuned_on=tuned_on) for arm in ARMS}
    return {arm: found for arm, found in scores.items() if len(found) > 1}


def group_section(
    rows: Rows, cells: Sequence[Cell], tuned_on: Sequence[str] = (), measure: str = "area"
) -> str:
    """Everything about one k, share and unit of updates.

    Args:
        rows: The table.
        cells: One for each problem.
        tuned_on: The problems on which strengths are chosen; each cell's own if none are named.
        measure: The column that is shown problem by problem.
    """
    table = _over_problems(complete_arms(rows, cells, tuned_on))
    return title(cells[0]) + table + by_problem_table(rows, cells, tuned_on, measure)


def _over_problems(scores: dict[str, Values]) -> str:
    """The arms side by side, over all problems; nothing where there are none."""
    if not scores:
        return ""
    columns = [*COLUMNS, HEADROOM] if "oracle" in scores else COLUMNS
    head = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    return "\n".join([*head, *(_line(arm, scores) for arm in scores), "", ""])


def title(cell: Cell) -> str:
    """What the tables below are of."""
    return f"### k = {cell.k}, {cell.share:.0%} mined, updates by {cell.updates}s\n\n"


def by_problem_table(
    rows: Rows, cells: Sequence[Cell], tuned_on: Sequence[str] = (), measure: str = "area"
) -> str:
    """Every arm that there are reported rows of, problem by problem; arguments as above."""
    lines = [
        "By problem, interquartile means, the number of seeds, and the strength chosen:\n",
        f"| arm | {' | '.join(cell.problem for cell in cells)} |",
        "|---" * (len(cells) + 1) + "|",
    ]
    for arm in ARMS:
        said = [_by_problem(rows, cell, arm, tuned_on, measure) for cell in cells]
        if any(said):
            lines.append(f"| {arm} | {' | '.join(said)} |")
    return "\n".join([*lines, ""])


def _line(arm: str, scores: dict[str, Values]) -> str:
    """An arm beside the controls."""
    own = scores[arm]
    found = [
        _against(difference, own, scores, "uniform"),
        _against(difference, own, scores, "overlap"),
        _against(improvement, own, scores, "uniform"),
        *([_of_headroom(arm, scores)] if "oracle" in scores else []),
    ]
    return f"| {arm} | {len(own)} | {interval(iqm, own)} | {' | '.join(found)} |"


def _against(
    statistic: Callable[..., float], own: Values, scores: dict[str, Values], control: str
) -> str:
    """A comparison with a control; empty where it has not been run, or is the same."""
    if control not in scores or own is scores[control]:
        return ""
    return str(interval(statistic, own, scores[control]))


def _of_headroom(arm: str, scores: dict[str, Values]) -> str:
    """The share of the oracle's headroom, if there is any."""
    if "uniform" not in scores or arm in ("uniform", "oracle"):
        return ""
    control, oracle = scores["uniform"], scores["oracle"]
    if interval(difference, oracle, control).low <= 0:
        return "no clear headroom"
    return str(interval(headroom_share, scores[arm], control, oracle))


def _by_problem(rows: Rows, cell: Cell, arm: str, tuned_on: Sequence[str], measure: str) -> str:
    """An arm on one problem; empty where it has no runs to report."""
    own = scores_of(rows, [cell], arm, measure, tuned_on)
    if not len(own):
        return ""
    strength = chosen_strength(rows, cell, arm, tuned_on=tuned_on)
    return f"{iqm(own):.2f} ({', '.join(filter(None, [str(len(own)), strength]))})"


def draw(path: Path, panels: Mapping[str, Mapping[str, Values]]) -> None:
    """Draw arms below each other, if there are any.

    Args:
        path: The image to write.
        panels: Scores of each arm, as `complete_arms` has them, by the panels' titles.
    """
    drawn = [
        Interval(panel, arm, "score", len(own), found.point, found.low, found.high)
        for panel, scores in panels.items()
        for arm, own in scores.items()
        for found in [interval(iqm, own)]
    ]
    if drawn:
        draw_intervals(path, drawn, "score")
