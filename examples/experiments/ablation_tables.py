"""Markdown tables that compare variants, for docs/evidence.md."""

from collections.abc import Mapping, Sequence
from textwrap import fill

from examples.experiments.arms import Arm
from examples.experiments.comparison import difference, interval, iqm, scores_of
from examples.experiments.rows import Cell, Rows
from examples.experiments.runs import chosen_strength
from examples.experiments.variants import VARIANTS, Ablation, Line


def paragraph(text: str) -> str:
    """Wrap text at 100 columns."""
    return fill(text.replace("\n", " "), 100, break_long_words=False, break_on_hyphens=False) + "\n"


def cells_of(ablation: Ablation, k: int, share: float) -> list[Cell]:
    """The cells in which lines of a share are compared."""
    return [Cell(problem, k, share, "decision") for problem in ablation.problems]


def score_table(rows: Rows, ablation: Ablation, k: int, known: Mapping[str, Arm] = VARIANTS) -> str:
    """Table of the scores of every line with reported runs."""
    lines = [
        f"| | | seeds | score | − control | {' | '.join(ablation.problems)} |",
        "|---" * (len(ablation.problems) + 5) + "|",
    ]
    for line in ablation.lines:
        cells = cells_of(ablation, k, line.share)
        said = [_by_problem(rows, cell, line.variant, known) for cell in cells]
        if any(said):
            of_all = " | ".join(_of_all(rows, line, cells, known))
            lines.append(f"| {line.panel} | {line.label} | {of_all} | {' | '.join(said)} |")
    return "\n".join([*lines, ""])


def _of_all(
    rows: Rows, line: Line, cells: Sequence[Cell], known: Mapping[str, Arm]
) -> tuple[str, str, str]:
    """Seeds, score and difference from the control, over all problems; empty where unknown."""
    own = scores_of(rows, cells, line.variant, known=known)
    if len(own) < 2:
        return "", "", ""
    control = scores_of(rows, cells, line.control, known=known)
    is_other = line.variant != line.control and len(control) > 1
    beside = str(interval(difference, own, control)) if is_other else ""
    return str(len(own)), str(interval(iqm, own)), beside


def _by_problem(rows: Rows, cell: Cell, variant: str, known: Mapping[str, Arm]) -> str:
    """Score of a variant on one problem; empty if it has no reported runs."""
    own = scores_of(rows, [cell], variant, known=known)
    if not len(own):
        return ""
    strength = chosen_strength(rows, cell, variant, known=known)
    return f"{iqm(own):.2f} ({', '.join(filter(None, [str(len(own)), strength]))})"
