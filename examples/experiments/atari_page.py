"""The sections of docs/evidence.md on Atari."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from examples.experiments import atari_pixels, atari_ram
from examples.experiments.arm_tables import (
    CAVEATS,
    MEASURES,
    by_problem_table,
    complete_arms,
    draw,
    groups,
    not_run,
    over_problems,
    title,
)
from examples.experiments.comparison import Interval
from examples.experiments.figures import draw_arms
from examples.experiments.markdown import paragraph
from examples.experiments.minatar_page import NOT_RUN, tuning_runs
from examples.experiments.rows import Rows
from examples.experiments.runs import missing
from sb3_masp.sweeps import summary
from sb3_masp.sweeps.summary import OVERALL

RAM = """\
`python examples/experiments/atari_ram.py --full` runs whatever is missing and estimates how long it
takes. Games: {games}. Macros are those of the shipped banks, mined from a planner's play in a
deterministic emulator. The learner is `MASPDQN` with two layers of 256 units on the console's 128
bytes of memory. Every run has {frames:,} emulator frames and one update for every
decision or, where stated, for every {steps} steps. Q is conditioned on Σ only in *meta,
conditioned*; elsewhere `embedding_dim=0`. Each arm chooses its strength for each k by its mean
score in {tuning} per strength on each of two other games, {tuned_on}, with seeds from 100 on; none
of these runs is reported. The score is the return during training, averaged over frames: over all
games on the scale where random play is 0 and a human 1, and for single games in points.
"""

IN_POINTS = ("points", "final_points")
"""Columns with the scores of single games, of the whole run and of its end."""

RAM_FIGURE = "images/atari_ram.png"
PIXELS_FIGURE = "images/atari_pixels.png"

RAM_LEGEND = """\
Scores are interquartile means over seeds and games with 95% stratified bootstrap intervals
(`rliable`), over the whole run and over the episodes that ended in its last 30%; the next two
columns are plain means. Unless stated otherwise, all that follows is by interquartile means over
the whole run: the differences from other arms, and the probabilities of improvement over them.
"""

PIXELS = """\
## Atari, from pixels

`Rainbow`, `MASPRainbow` and, for comparison, DQN, with {frames:,} emulator frames per run for every
arm and k = {k}; η is {eta:g} and was not tuned. Games: {games}. The experiment is a sweep that
keeps checkpoints. On a GPU the following command learns for half an hour, and continues from there
when it is called again:

```sh
{command}
```

`python examples/experiments/atari_pixels.py` lists what is to be run and estimates how long that
takes: by the benchmarks, {hours:,.0f} hours for the {runs} runs on one {device}, without the outer
steps of MASPRainbow, which have not been timed.{caveat}
"""


def atari_ram_section(rows: Rows) -> str:
    """The section on learning from the console's memory."""
    budget, tuned_on = atari_ram.Budget(), atari_ram.TUNED_ON
    found = groups(rows, atari_ram.GAMES)
    about = RAM.format(
        games=", ".join(atari_ram.GAMES),
        frames=budget.frames,
        steps=budget.every["step"],
        tuning=tuning_runs(rows),
        tuned_on=" and ".join(tuned_on),
    )
    parts = [
        "## Atari, from the console's memory\n",
        paragraph(about),
        f"{_standing(rows)}\n",
    ]
    if any(complete_arms(rows, group, tuned_on) for group in found):
        parts += [f"![Scores of the arms]({RAM_FIGURE})\n", RAM_LEGEND, CAVEATS]
    for cells in found:
        scores, late = (complete_arms(rows, cells, tuned_on, measure) for measure in MEASURES)
        table = over_problems(scores, late, digits=3)
        parts.append(title(cells[0]) + table + by_problem_table(rows, cells, tuned_on, IN_POINTS))
    settings = atari_ram.Settings()
    left = not_run(rows, atari_ram.cells(settings), settings.arms, settings.seeds, tuned_on)
    return "\n".join([*parts, left if found else NOT_RUN])


def draw_ram(rows: Rows, path: Path) -> None:
    """Draw each arm's score from memory, with one panel per k and unit of updates."""
    panels = {
        f"k = {cells[0].k}, updates counted in {cells[0].updates}s": complete_arms(
            rows, cells, atari_ram.TUNED_ON
        )
        for cells in groups(rows, atari_ram.GAMES)
    }
    draw(path, panels)


def _standing(rows: Rows) -> str:
    """Report how much has been run."""
    settings = atari_ram.Settings()
    cells, seeds = atari_ram.cells(settings), (settings.tuning_seeds, settings.seeds)
    total = len(missing({}, cells, settings.arms, seeds, atari_ram.TUNED_ON))
    left = len(missing(rows, cells, settings.arms, seeds, atari_ram.TUNED_ON))
    return f"{total - left} of {total} runs are complete."


def read_pixels(path: Path) -> list[dict[str, Any]]:
    """Read the finished runs of the sweep on pixels, with scores as numbers."""
    return [
        row | {name: float(row[name]) if row[name] else None for name in summary.MEASURES}
        for row in atari_pixels.read_table(path)
    ]


def pixels_intervals(rows: Sequence[Mapping[str, Any]]) -> list[summary.Interval]:
    """The intervals of the arms, each with its k and its η in its name."""
    return summary.intervals([{**row, "arm": _with_settings(row)} for row in rows])


def _with_settings(row: Mapping[str, Any]) -> str:
    """An arm's name with the k and the η of its row."""
    macros = f", k = {row['k']}" if row["k"] != "0" else ""
    return f"{row['arm']}{macros}" + (f", η = {row['eta']}" if row.get("eta") else "")


def atari_pixels_section(rows: Sequence[Mapping[str, Any]]) -> str:
    """The section on learning from pixels.

    Args:
        rows: Finished runs of the sweep, as returned by `read_pixels`.
    """
    settings, pace = atari_pixels.Settings(), atari_pixels.Pace.measured()
    runs = atari_pixels.declared(settings, Path("runs/atari_pixels")).runs
    text = PIXELS.format(
        games=", ".join(settings.games),
        frames=settings.frames,
        k=settings.k,
        eta=settings.eta,
        command=atari_pixels.SLICE.replace(" --full", " \\\n    --full"),
        runs=len(runs),
        hours=sum(pace.hours(run.config) for run in runs),
        device=pace.device,
        caveat=pace.caveat,
    )
    if not rows:
        return f"{text}\n{NOT_RUN}"
    found = pixels_intervals(rows)
    image = [f"![Scores of the arms]({PIXELS_FIGURE})\n"] if _pixels_panels(found) else []
    return "\n".join([text, *image, _pixels_table(found)])


def draw_pixels(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw each arm's final score, with one panel per game."""
    if rows:
        panels = _pixels_panels(pixels_intervals(rows))
        draw_arms(path, panels, "final score: IQM, 95% interval")


def _pixels_panels(found: Sequence[summary.Interval]) -> dict[str, dict[str, Interval]]:
    """Final scores of the arms with at least two seeds, by game."""
    panels: dict[str, dict[str, Interval]] = {}
    for x in found:
        if x.measure == "final_score" and x.runs > 1:
            ends = Interval(x.iqm, x.low, x.high)
            panels.setdefault(x.game.rpartition("/")[2], {})[x.arm] = ends
    return panels


def _pixels_table(found: Sequence[summary.Interval]) -> str:
    """Table of final scores by game and, if there are several, over all games."""
    games = [game for game in dict.fromkeys(x.game for x in found) if game != OVERALL]
    shown = [*games, *({x.game for x in found} & {OVERALL})]
    lines = [
        "Mean scores of the training episodes that ended in the last 30% of the frames:",
        "interquartile means over seeds with 95% intervals, and the number of seeds.\n",
        f"| arm | {' | '.join(game.rpartition('/')[2] for game in shown)} |",
        "|---" * (len(shown) + 1) + "|",
    ]
    said = {
        (x.arm, x.game): f"{x.iqm:.2f} [{x.low:.2f}, {x.high:.2f}] ({x.runs})"
        for x in found
        if x.measure == "final_score"
    }
    for arm in dict.fromkeys(x.arm for x in found):
        lines.append(f"| {arm} | {' | '.join(said.get((arm, game), '') for game in shown)} |")
    return "\n".join([*lines, ""])
