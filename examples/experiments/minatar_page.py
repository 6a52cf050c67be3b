"""The section of docs/evidence.md on MinAtar."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from examples.experiments import minatar_games
from examples.experiments.arm_tables import (
    CAVEATS,
    LATE,
    MEASURES,
    by_problem_table,
    complete_arms,
    draw,
    further_seeds,
    groups,
    not_run,
    over_problems,
    title,
)
from examples.experiments.arms import ARMS, at_eta
from examples.experiments.comparison import Interval, interval, iqm, scores_of
from examples.experiments.figures import draw_curves
from examples.experiments.game_transfer import ETA
from examples.experiments.markdown import paragraph
from examples.experiments.rows import Cell, Rows
from examples.experiments.runs import missing
from examples.experiments.table import Values
from examples.experiments.trial import Arms

NOT_RUN = "Not run yet.\n"
SAME_ETA_FIGURE = "images/minatar_games_same_eta.png"
FIGURES = {
    "decision": "images/minatar_games.png",
    "step": "images/minatar_games_by_step.png",
}
"""Figures by the unit in which updates are counted."""

SAME_ETA = """\
The same with η = {eta} for every penalty, as in the experiment on transfer, since a choice by one
run on one game is noisy (`--k {k} --updates {updates} --eta {eta}`):
"""

ALL = "all games"
REFERENCE = "primitives"

MINATAR = """\
## MinAtar

`python examples/experiments/minatar_games.py --full` runs whatever is missing and estimates how
long it takes. The macros, the same for all arms, are mined from the play of a DQN that learned each
game from primitives in {player_steps:,} steps. Every run has {steps:,} primitive steps and one
update for every four decisions, so with more macros there are fewer updates. Where stated, there is
instead one update for every four steps, and all other settings in decisions then count steps too.
Q is conditioned on Σ only in *meta, conditioned*; elsewhere `embedding_dim=0`. The score is the
return during training, averaged over steps. Each arm chooses its strength for each k by {tuning}
per strength on {tuned_on}, with seeds from 100 on, which are not reported (but {tuned_on} is,
with other seeds). Seeds from 5 on, which check a lead, come from
`--seeds 10 --k 16 --updates decision --arms uniform meta`.

{standing}
"""

LEGEND = """\
Interquartile means over seeds with 95% stratified bootstrap intervals (`rliable`), by the number of
macros. To combine the games, each game's scores are divided by the mean of *primitives* on it, so
that 1 is what is learned without macros. The next column gives the same for the episodes that ended
in the last 30% of the steps, relative to *primitives* then, and two more are plain means. Unless
stated otherwise, all that follows is by interquartile means over the whole run: the differences
from other arms, and the probabilities of improvement over them. Intervals take the means by which
scores are divided as known.
"""


def minatar_section(rows: Rows) -> str:
    """Render the section."""
    budget, settings = minatar_games.Budget(), minatar_games.Settings()
    planned, tuned_on = minatar_games.cells(settings), minatar_games.TUNED_ON
    games = groups(rows, minatar_games.GAMES)
    return "\n".join(
        [
            MINATAR.format(
                player_steps=budget.player_steps,
                steps=budget.steps,
                tuning=tuning_runs(rows),
                tuned_on=" and ".join(tuned_on),
                standing=_standing(rows),
            ),
            *(
                f"![Scores by k, updates counted in {unit}s]({figure})\n"
                for unit, figure in FIGURES.items()
                if panels(rows, unit)
            ),
            *([f"![Scores with the same η]({SAME_ETA_FIGURE})\n"] if same_eta_panels(rows) else []),
            *([LEGEND, CAVEATS] if games else []),
            *itertools.chain(*(_tables(rows, cells) for cells in games)),
            not_run(rows, planned, settings.arms, settings.seeds, tuned_on) if games else NOT_RUN,
        ]
    )


def tuning_runs(rows: Rows) -> str:
    """Describe the number of tuning runs per strength and problem, at most, for each k."""
    seeds: dict[int, set[int]] = {}
    for run in rows:
        if not run.is_reported:
            seeds.setdefault(run.cell.k, set()).add(run.seed)
    numbers: dict[int, list[str]] = {}
    for k in sorted(seeds):
        numbers.setdefault(len(seeds[k]), []).append(str(k))
    said = {number: "one run" if number == 1 else f"{number} runs" for number in numbers}
    if len(said) < 2:
        return next(iter(said.values()), "some runs")
    return " or ".join(f"{said[number]} (k = {', '.join(ks)})" for number, ks in numbers.items())


def _standing(rows: Rows) -> str:
    """Report how much has been run."""
    settings = minatar_games.Settings()
    planned = (
        minatar_games.cells(settings),
        settings.arms,
        (settings.tuning_seeds, settings.seeds),
        minatar_games.TUNED_ON,
    )
    total = len(missing({}, *planned))
    return f"{total - len(missing(rows, *planned))} of {total} runs are complete."


def scaled(
    rows: Rows, cells: Sequence[Cell], measure: str = "area", known: Arms = ARMS
) -> dict[str, Values]:
    """Scores of the arms with at least two seeds in all games, relative to primitives per game.

    Args:
        rows: The table of runs.
        cells: Cells, one per game.
        measure: Column of the scores.
        known: Arms by name.
    """
    scores = complete_arms(rows, cells, minatar_games.TUNED_ON, measure, known)
    if REFERENCE not in scores:
        return {}
    return {arm: own / scores[REFERENCE].mean(axis=0) for arm, own in scores.items()}


def _tables(rows: Rows, cells: Sequence[Cell]) -> list[str]:
    """The tables of one k and unit of updates."""
    scores, late = (scaled(rows, cells, measure) for measure in MEASURES)
    by_game = by_problem_table(rows, cells, minatar_games.TUNED_ON)
    planned = minatar_games.Settings().seeds
    return [
        title(cells[0]) + over_problems(scores, late) + by_game,
        *further_seeds(scores, planned),
        *_at_same_eta(rows, cells),
    ]


def at_same_eta(rows: Rows, cells: Sequence[Cell]) -> list[dict[str, Values]]:
    """Scores relative to primitives with `ETA` for every penalty, by arm, for each of `MEASURES`.

    Empty unless uniform and meta have both this and a chosen η, and some arm chose another.
    """
    chosen = scaled(rows, cells)
    found = [scaled(rows, cells, measure, at_eta(ETA)) for measure in MEASURES]
    if not {"uniform", "meta"} <= found[0].keys() & chosen.keys():
        return []
    if all(arm in chosen and np.array_equal(own, chosen[arm]) for arm, own in found[0].items()):
        return []
    return found


def _at_same_eta(rows: Rows, cells: Sequence[Cell]) -> list[str]:
    """The tables of `at_same_eta`."""
    found = at_same_eta(rows, cells)
    if not found:
        return []
    by_game = by_problem_table(rows, cells, minatar_games.TUNED_ON, known=at_eta(ETA))
    about = SAME_ETA.format(eta=ETA, k=cells[0].k, updates=cells[0].updates)
    return [paragraph(about), over_problems(*found) + by_game]


def same_eta_panels(rows: Rows) -> dict[str, dict[str, Values]]:
    """Scores of `at_same_eta` by arm, by panel."""
    return {
        f"k = {cells[0].k}, η = {ETA},\n{part}": scores
        for cells in groups(rows, minatar_games.GAMES)
        for part, scores in zip(("whole run", LATE), at_same_eta(rows, cells), strict=False)
    }


def panels(rows: Rows, unit: str = "decision") -> dict[str, dict[str, dict[int, Interval]]]:
    """Intervals of the arms with at least two seeds, over all games and by game, by arm and k.

    Args:
        rows: The table.
        unit: Unit in which updates are counted; without several k there are no panels.
    """
    reported = (run.cell for run in rows if run.is_reported and run.cell.updates == unit)
    numbers = sorted({cell.k for cell in reported if cell.k})
    found: dict[str, dict[str, dict[int, Interval]]] = {}
    if len(numbers) < 2:
        return found
    for k in numbers:
        cells = [Cell(game, k, 1.0, unit) for game in minatar_games.GAMES]
        for arm, own in scaled(rows, cells).items():
            found.setdefault(ALL, {}).setdefault(arm, {})[k] = interval(iqm, own)
    for game in minatar_games.GAMES:
        for arm in ARMS:
            for k in numbers:
                cell = Cell(game, k, 1.0, unit)
                own = scores_of(rows, [cell], arm, tuned_on=minatar_games.TUNED_ON)
                if len(own) > 1:
                    found.setdefault(game, {}).setdefault(arm, {})[k] = interval(iqm, own)
    return found


def draw_minatar(rows: Rows, folder: Path) -> None:
    """Draw the figures that have anything to show; ``folder`` holds the page."""
    draw(folder / SAME_ETA_FIGURE, same_eta_panels(rows))
    for unit, figure in FIGURES.items():
        label = "score: interquartile mean, 95% interval"
        draw_curves(folder / figure, panels(rows, unit), "macros", label, log_base=2)
