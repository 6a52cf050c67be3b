"""The section of docs/evidence.md on MinAtar."""

from pathlib import Path

from examples.experiments import minatar_games
from examples.experiments.arm_tables import by_problem_table, groups, title
from examples.experiments.arms import ARMS
from examples.experiments.comparison import Interval, interval, iqm, scores_of
from examples.experiments.figures import draw_over_k
from examples.experiments.rows import Cell, Rows

NOT_RUN = "Not run yet.\n"
FIGURE = "images/minatar_games.png"

MINATAR = """\
## MinAtar

`python examples/experiments/minatar_games.py --full` runs what is missing and says how long it
takes: macros mined from play of a DQN that learned each game from primitives, the same for all
arms; {steps:,} steps a run, one update for every four decisions; the score is the mean over steps
of the returns while it learned.
"""

LEGEND = """\
Interquartile means over seeds with 95% bootstrap intervals (`rliable`), by the number of macros.
"""


def minatar_section(rows: Rows) -> str:
    """The section."""
    games = groups(rows, minatar_games.GAMES)
    return "\n".join(
        [
            MINATAR.format(steps=minatar_games.Budget().steps),
            *([f"![Scores by k]({FIGURE})\n", LEGEND] if panels(rows) else []),
            *(title(cells[0]) + by_problem_table(rows, cells) for cells in games),
            *([] if games else [NOT_RUN]),
        ]
    )


def panels(rows: Rows) -> dict[str, dict[str, dict[int, Interval]]]:
    """The scores of the arms that have two seeds or more, by game, arm and k."""
    numbers = sorted({run.cell.k for run in rows if run.is_reported and run.cell.k})
    found: dict[str, dict[str, dict[int, Interval]]] = {}
    for game in minatar_games.GAMES:
        for arm in ARMS:
            for k in numbers:
                own = scores_of(rows, [Cell(game, k, 1.0, "decision")], arm)
                if len(own) > 1:
                    found.setdefault(game, {}).setdefault(arm, {})[k] = interval(iqm, own)
    return found


def draw_minatar(rows: Rows, path: Path) -> None:
    """Draw each arm's score over k, a panel for each game."""
    draw_over_k(path, panels(rows), "score: IQM, 95% interval")
