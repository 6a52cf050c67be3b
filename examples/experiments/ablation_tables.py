"""Markdown tables that compare variants, for docs/evidence.md."""

from collections.abc import Mapping

from examples.experiments.arm_tables import LATE, MEASURES
from examples.experiments.arms import Arm
from examples.experiments.comparison import difference, interval, iqm, scores_of
from examples.experiments.rows import Cell, Rows
from examples.experiments.runs import chosen_strength
from examples.experiments.table import Values
from examples.experiments.variants import VARIANTS, Ablation, Line


def cells_of(ablation: Ablation, k: int, share: float) -> list[Cell]:
    """The cells in which lines of a share are compared."""
    return [Cell(problem, k, share, "decision") for problem in ablation.problems]


def score_table(rows: Rows, ablation: Ablation, k: int, known: Mapping[str, Arm] = VARIANTS) -> str:
    """Table of the scores of every line with reported runs."""
    beside = [f"− {ablation.baseline}"] if ablation.baseline else []
    columns = ["seeds", "score", LATE, "− control", *beside, *ablation.problems]
    lines = [f"| | | {' | '.join(columns)} |", "|---" * (len(columns) + 2) + "|"]
    baseline = {line.label: line for line in ablation.lines if line.panel == ablation.baseline}

    def scores(line: Line, variant: str, measure: str = "area") -> Values:
        return scores_of(rows, cells_of(ablation, k, line.share), variant, measure, known=known)

    for line in ablation.lines:
        cells = cells_of(ablation, k, line.share)
        said = [_by_problem(rows, cell, line.variant, known) for cell in cells]
        if not any(said):
            continue
        own = scores(line, line.variant)
        apart = [_apart(own, scores(line, line.control)) if line.variant != line.control else ""]
        if ablation.baseline:
            other = baseline[line.label]
            apart.append(_apart(own, scores(other, other.variant)) if other != line else "")
        over_all = ["", "", ""]
        if len(own) > 1:
            ends = (scores(line, line.variant, measure) for measure in MEASURES)
            over_all = [str(len(own)), *(str(interval(iqm, of_part)) for of_part in ends)]
        cells_of_row = [line.panel, line.label, *over_all, *apart, *said]
        lines.append(f"| {' | '.join(cells_of_row)} |")
    return "\n".join([*lines, ""])


def _apart(own: Values, other: Values) -> str:
    """Difference over all problems, with its interval; empty where unknown."""
    return str(interval(difference, own, other)) if min(len(own), len(other)) > 1 else ""


def _by_problem(rows: Rows, cell: Cell, variant: str, known: Mapping[str, Arm]) -> str:
    """Score of a variant on one problem; empty if it has no reported runs."""
    own = scores_of(rows, [cell], variant, known=known)
    if not len(own):
        return ""
    strength = chosen_strength(rows, cell, variant, known=known)
    return f"{iqm(own):.2f} ({', '.join(filter(None, [str(len(own)), strength]))})"
