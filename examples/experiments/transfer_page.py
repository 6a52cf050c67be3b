"""The sections of docs/evidence.md on transfer between games: tables and figures, from rows."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from examples.experiments import game_transfer
from examples.experiments.ablation_tables import score_table
from examples.experiments.comparison import Interval, interval, iqm, scores_of
from examples.experiments.figures import draw_arms
from examples.experiments.game_homes import HOMES
from examples.experiments.game_transfer import ETA, cell_of, compared
from examples.experiments.markdown import paragraph
from examples.experiments.rows import Rows
from examples.experiments.runs import missing
from examples.experiments.variants import TRANSFER

FIGURE = "images/transfer_{}.png"

GAMES = """\
`python examples/experiments/game_transfer.py --full --home {home}`: Σ is meta-learned from uniform
in an earlier run with as many frames and another seed, on the first game of a pair (*other's Σ*) or
on the second (*own Σ*), and then frozen. Both use the macros of the first game. All
penalties have η = {eta}, which was not tuned. The score is the return on the second game during
training, averaged over frames; the next column averages the episodes that ended in the last 30%.
"""


def transfer_section(home: str, rows: Rows) -> str:
    """Render the section on a home, with a table for each pair, since returns differ in scale."""
    known, pairs, seeds = compared(ETA), HOMES[home].pairs, (0, game_transfer.Settings().seeds)
    cells = [cell_of(HOMES[home], pair) for pair in pairs]
    total = len(missing({}, cells, tuple(known), seeds, known=known))
    left = len(missing(rows, cells, tuple(known), seeds, known=known))
    parts = [
        f"### Transfer between {HOMES[home].about}\n",
        paragraph(GAMES.format(home=home, eta=ETA)),
        f"{total - left} of {total} runs are complete.\n",
        *([f"![Transfer]({FIGURE.format(home)})\n"] if transfer_panels(home, rows) else []),
    ]
    lines = tuple(replace(line, share=1.0) for line in TRANSFER.lines)
    for of_pair in cells:
        table = replace(TRANSFER, lines=lines, problems=(of_pair.problem,))
        if any(run.cell == of_pair for run in rows):
            parts.append(score_table(rows, table, of_pair.k, known))
    return "\n".join(parts)


def transfer_panels(home: str, rows: Rows) -> dict[str, dict[str, Interval]]:
    """Intervals of the variants with at least two seeds, by pair."""
    panels = {}
    for pair in HOMES[home].pairs:
        cell = cell_of(HOMES[home], pair)
        scores = {arm: scores_of(rows, [cell], arm, known=compared(ETA)) for arm in compared(ETA)}
        found = {arm: interval(iqm, own) for arm, own in scores.items() if len(own) > 1}
        if found:
            panels[cell.problem] = found
    return panels


def draw_transfers(transfers: Mapping[str, Rows], folder: Path) -> None:
    """Draw the figures; ``folder`` holds the page."""
    for home, rows in transfers.items():
        panels = transfer_panels(home, rows)
        draw_arms(
            folder / FIGURE.format(home), panels, "score on the second game: IQM, 95% interval"
        )
