"""The sections of docs/evidence.md on transfer between games: tables and figures, from rows."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from examples.experiments import game_transfer
from examples.experiments.arm_tables import LATE, MEASURES
from examples.experiments.comparison import Interval, difference, interval, iqm, scores_of
from examples.experiments.figures import draw_arms
from examples.experiments.game_homes import HOMES
from examples.experiments.game_transfer import ETA, cell_of, compared
from examples.experiments.markdown import paragraph
from examples.experiments.rows import Cell, Rows, read_rows
from examples.experiments.runs import missing
from examples.experiments.table import Values
from examples.experiments.transfer_similarities import (
    Similarities,
    agreement_table,
    read_similarities,
)

FIGURE = "images/transfer_{}.png"

ALL = "all pairs"
REFERENCE = "none"
CONTROLS = (REFERENCE, "uniform, frozen", "own Σ, frozen")

GAMES = """\
`python examples/experiments/game_transfer.py --full --home {home}`: Σ is meta-learned from uniform
in an earlier run with as many frames and another seed, on the first game of a pair (*other's Σ*) or
on the second (*own Σ*), and then frozen. Both use the {k} macros of the first game. All penalties
have η = {eta}, which was not tuned. The score is the return on the second game during training,
averaged over frames.
"""

LEGEND = """\
Interquartile means over seeds and pairs with 95% stratified bootstrap intervals (`rliable`). To
combine the pairs, the scores on each are divided by the mean of *none* on it, so that 1 is what is
learned without a penalty. The next column gives the same for the episodes that ended in the last
30% of the frames, relative to *none* then. The differences are by the score over the whole run. For
each pair there are the interquartile means of returns, over the whole run / its last 30%, with the
number of seeds in parentheses.
"""

AGREEMENT = """\
The Σ that were learned beforehand: distances from the uniform one that they started from,
‖Σ − Σ₀‖ / ‖Σ₀‖, as medians over seeds, and mean rank correlations of entries between different
actions, which are 1 for the same order and about 0 for unrelated ones: between any two seeds, and
between own and other's Σ for the same seed, over the actions that both games have.
"""

Transfer = tuple[Rows, Similarities]
"""Rows of the table, and the similarities that were transferred."""


def read_transfers() -> dict[str, Transfer]:
    """Read what has been run, by home."""
    return {
        home: (read_rows(game_transfer.OUTPUTS[home]), read_similarities(home)) for home in HOMES
    }


def transfer_section(home: str, rows: Rows, similarities: Similarities) -> str:
    """Render the section on a home."""
    known, seeds = compared(ETA), (0, game_transfer.Settings().seeds)
    planned = _cells(home), tuple(known), seeds
    total = len(missing({}, *planned, known=known))
    left = len(missing(rows, *planned, known=known))
    return "\n".join(
        [
            f"### Transfer between {HOMES[home].about}\n",
            paragraph(GAMES.format(home=home, k=HOMES[home].k, eta=ETA)),
            f"{total - left} of {total} runs are complete.\n",
            *([f"![Transfer]({FIGURE.format(home)})\n"] if transfer_panels(home, rows) else []),
            *([LEGEND, _table(home, rows)] if rows else []),
            *([AGREEMENT, agreement_table(similarities)] if similarities else []),
        ]
    )


def transfer_panels(home: str, rows: Rows) -> dict[str, dict[str, Interval]]:
    """Intervals of the variants' scores relative to none, over all pairs and for each."""
    complete = _complete(home, rows)
    panels = {ALL: complete} if len(complete) > 1 else {}
    panels |= {cell.problem: [cell] for cell in complete}
    return {
        title: {name: interval(iqm, own) for name, own in relative(rows, cells).items()}
        for title, cells in panels.items()
    }


def draw_transfers(transfers: Mapping[str, Transfer], folder: Path) -> None:
    """Draw the figures; ``folder`` holds the page."""
    label = f"score on the second game relative to {REFERENCE}: interquartile mean, 95% interval"
    for home, (rows, _) in transfers.items():
        draw_arms(folder / FIGURE.format(home), transfer_panels(home, rows), label, at=(1,))


def relative(rows: Rows, cells: Sequence[Cell], measure: str = "area") -> dict[str, Values]:
    """Scores of the variants on pairs, relative to the mean of none on each pair.

    Args:
        rows: The table of runs.
        cells: Cells, one per pair, in all of which all variants have been run.
        measure: Column of the scores.

    Returns:
        Scores by name, of shape ``(seeds, pairs)``.
    """
    known = compared(ETA)
    scores = {name: scores_of(rows, cells, name, measure, known=known) for name in known}
    reference = scores[REFERENCE].mean(axis=0)
    return {name: own / reference for name, own in scores.items()}


def _cells(home: str) -> list[Cell]:
    """The cells of a home's pairs."""
    return [cell_of(HOMES[home], pair) for pair in HOMES[home].pairs]


def _complete(home: str, rows: Rows) -> list[Cell]:
    """The cells in which every variant has at least two seeds."""
    known = compared(ETA)
    return [
        cell
        for cell in _cells(home)
        if min(len(scores_of(rows, [cell], name, known=known)) for name in known) > 1
    ]


def _table(home: str, rows: Rows) -> str:
    """Table of the variants, over the pairs in which all have been run, and for each pair."""
    cells = _complete(home, rows)
    scores, late = (relative(rows, cells, of) if cells else {} for of in MEASURES)
    pairs = [cell.problem for cell in _cells(home)]
    columns = ["Σ", "seeds", "score", LATE, *(f"− {name}" for name in CONTROLS), *pairs]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for name in compared(ETA):
        over_pairs = [""] * (3 + len(CONTROLS))
        if scores:
            own = scores[name]
            ends = [str(interval(iqm, of_part)) for of_part in (own, late[name])]
            beside = [
                "" if name == control else str(interval(difference, own, scores[control]))
                for control in CONTROLS
            ]
            over_pairs = [str(len(own)), *ends, *beside]
        by_pair = [_by_pair(rows, cell, name) for cell in _cells(home)]
        lines.append(f"| {' | '.join([name, *over_pairs, *by_pair])} |")
    return "\n".join([*lines, ""])


def _by_pair(rows: Rows, cell: Cell, name: str) -> str:
    """Returns of a variant on one pair; empty if it has no reported runs."""
    scores = [scores_of(rows, [cell], name, measure, known=compared(ETA)) for measure in MEASURES]
    said = " / ".join(f"{iqm(own):.2f}" for own in scores) if len(scores[0]) else ""
    return f"{said} ({len(scores[0])})" if said else ""
