"""The section of docs/evidence.md on the ablations: tables and figures, from the rows of runs."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from examples.experiments.ablation_tables import cells_of, score_table
from examples.experiments.ablations import OUTPUT, Settings, grid, watched_output
from examples.experiments.comparison import Interval, interval, iqm, scores_of
from examples.experiments.figures import draw_arms, draw_curves
from examples.experiments.game_homes import HOMES
from examples.experiments.markdown import paragraph
from examples.experiments.rows import Rows, read_rows
from examples.experiments.runs import missing
from examples.experiments.similarity_statistics import MEANINGS, curves
from examples.experiments.table import Values
from examples.experiments.transfer_page import Transfer, read_transfers, transfer_section
from examples.experiments.variants import (
    ABLATIONS,
    EARLIER_SEEDS,
    STRENGTHS,
    VARIANTS,
    Ablation,
    Line,
)
from macro_gym.files import replacing

INTRODUCTION = f"""\
`python examples/experiments/ablations.py --full` runs whatever is missing and estimates how long it
takes; `--tables` selects among {", ".join(ABLATIONS)}. Learner, budget and score are those of the
small problems. Each variant chooses its η from {", ".join(STRENGTHS)} for each problem by its mean
score on seeds from 100 on, unless a fixed η is given; a Σ that is carried over was learned with
seeds from {EARLIER_SEEDS:,} on. Scores are interquartile means over seeds and problems with 95%
stratified bootstrap intervals, for variants with at least two seeds in every problem, over the
whole run and over its last 30%. All that follows is by the former: the difference from the control,
a fixed uniform Σ unless another is named, and the interquartile means for each problem, with the
number of seeds and the η in parentheses.
"""

Ablations = tuple[Rows, Rows, Mapping[str, Transfer]]
"""Arguments of `ablations_section`."""


def read_ablations() -> Ablations:
    """Read all tables of the ablations."""
    return read_rows(OUTPUT), read_rows(watched_output(OUTPUT)), read_transfers()


def ablations_section(rows: Rows, watched: Rows, transfers: Mapping[str, Transfer]) -> str:
    """Render the section.

    Args:
        rows: Rows of the tables of scores.
        watched: Rows of the table of statistics of Σ.
        transfers: Rows and similarities of transfer between games, by home.
    """
    parts = ["## Ablations\n", paragraph(INTRODUCTION)]
    for name, ablation in ABLATIONS.items():
        own = watched if ablation.is_watched else rows
        parts += [f"### {ablation.title}\n", paragraph(ablation.about), _standing(own, ablation)]
        for k in _numbers_of_macros(own, ablation):
            content = _statistics_table if ablation.is_watched else score_table
            parts.append(f"With k = {k}:\n")
            if ablation.is_watched or _intervals(own, ablation, k):
                parts.append(f"![{ablation.title}]({figure(name, k)})\n")
            parts.append(content(own, ablation, k))
    parts += (transfer_section(home, *transfers.get(home, ({}, {}))) for home in HOMES)
    return "\n".join(parts)


def draw_ablations(rows: Rows, watched: Rows, folder: Path) -> None:
    """Draw the figures of the section.

    Args:
        rows: As in `ablations_section`.
        watched: As in `ablations_section`.
        folder: Folder of the page.
    """
    for name, ablation in ABLATIONS.items():
        own = watched if ablation.is_watched else rows
        for k in _numbers_of_macros(own, ablation):
            draw = _draw_statistics if ablation.is_watched else _draw_scores
            draw(own, ablation, k, folder / figure(name, k))


def figure(name: str, k: int) -> str:
    """Path of a table's figure, relative to the page."""
    return f"images/ablation_{name}_{k}.png"


def _standing(rows: Rows, ablation: Ablation) -> str:
    """Report how much of an ablation has been run, at the default numbers of macros."""
    settings, total, left = Settings(), 0, 0
    for share in ablation.shares:
        variants, cells = tuple(ablation.variants(share)), grid(ablation, settings, share)
        seeds = settings.tuning_seeds, settings.seeds
        total += len(missing({}, cells, variants, seeds, known=VARIANTS))
        left += len(missing(rows, cells, variants, seeds, known=VARIANTS))
    k = " and ".join(map(str, settings.k))
    return f"{total - left} of {total} runs at k = {k} are complete.\n"


def _numbers_of_macros(rows: Rows, ablation: Ablation) -> list[int]:
    """The k for which lines of the ablation have reported runs."""
    lines = {(VARIANTS[x.variant].runs_of or x.variant, x.share) for x in ablation.lines}
    return sorted({r.cell.k for r in rows if r.is_reported and (r.arm, r.cell.share) in lines})


def _intervals(rows: Rows, ablation: Ablation, k: int) -> dict[Line, Interval]:
    """Intervals of the scores of lines with at least two seeds in all problems."""
    found = {}
    for line in ablation.lines:
        own = scores_of(rows, cells_of(ablation, k, line.share), line.variant, known=VARIANTS)
        if len(own) > 1:
            found[line] = interval(iqm, own)
    return found


def scores_along(rows: Rows, ablation: Ablation, k: int) -> dict[str, dict[float, Interval]]:
    """Intervals along the ablation's axis, by label of the lines; empty for a single position."""
    found: dict[str, dict[float, Interval]] = {}
    for line, of_line in _intervals(rows, ablation, k).items():
        found.setdefault(line.label, {})[line.at] = of_line
    return found if len({at for curve in found.values() for at in curve}) > 1 else {}


def _draw_scores(rows: Rows, ablation: Ablation, k: int, path: Path) -> None:
    """Draw each line's score, along the ablation's axis or with one panel per heading."""
    label = "score: interquartile mean, 95% interval"
    if along := scores_along(rows, ablation, k):
        draw_curves(path, {"": along}, ablation.axis, label, ablation.log_base)
        return
    panels: dict[str, dict[str, Interval]] = {}
    for line, found in _intervals(rows, ablation, k).items():
        panels.setdefault(line.panel, {})[line.label] = found
    draw_arms(path, panels, label)


def _watched(rows: Rows, ablation: Ablation, k: int, line: Line, name: str) -> dict[str, Values]:
    """A statistic of each seed at each look, by problem, shape ``(seeds, looks)``."""
    found, variant = {}, VARIANTS[line.variant]
    shown = variant.runs_of or line.variant, *variant.strengths
    for cell in cells_of(ablation, k, line.share):
        own = [
            curves(row, name)
            for run, row in rows.items()
            if (run.cell, run.arm, run.strength) == (cell, *shown) and run.is_reported
        ]
        if own:
            found[cell.problem] = np.stack(own)
    return found


def _statistics_table(rows: Rows, ablation: Ablation, k: int) -> str:
    """Table of every statistic at the end of the runs, as medians over seeds."""
    heads = MEANINGS.values()
    lines = [
        "At the end of the runs, medians over seeds:\n",
        f"| problem | Σ | seeds | {' | '.join(heads)} |",
        "|---" * (len(heads) + 3) + "|",
    ]
    of_lines = {
        line.label: {name: _watched(rows, ablation, k, line, name) for name in MEANINGS}
        for line in ablation.lines
    }
    for problem in ablation.problems:
        for label, found in of_lines.items():
            if problem in found["entropy"]:
                ends = [_said(_last(found[name][problem])) for name in MEANINGS]
                seeds = len(found["entropy"][problem])
                lines.append(f"| {problem} | {label} | {seeds} | {' | '.join(ends)} |")
    return "\n".join([*lines, ""])


def _last(values: Values) -> float:
    """Median over seeds of the last known values; ``values`` has shape ``(seeds, looks)``."""
    told = [of_seed[~np.isnan(of_seed)] for of_seed in values]
    return float(np.median([of_seed[-1] for of_seed in told if len(of_seed)] or [np.nan]))


def _said(value: float) -> str:
    """Format a value with three significant digits; empty if it is NaN."""
    return "" if np.isnan(value) else f"{value:.3g}"


def _draw_statistics(rows: Rows, ablation: Ablation, k: int, path: Path) -> None:
    """Draw every statistic over a run, one column per problem: faint seeds, and their median."""
    columns, heads = ablation.problems, MEANINGS
    image = Figure(figsize=(3.2 * len(columns), 1.8 * len(heads)), layout="constrained")
    panels = image.subplots(len(heads), len(columns), sharex=True, sharey="row", squeeze=False)
    for row, name in zip(panels, heads, strict=True):
        row[0].set_ylabel(fill(heads[name], 22), fontsize=8)
        for number, line in enumerate(ablation.lines):
            found: Mapping[str, Values] = _watched(rows, ablation, k, line, name)
            for axes, problem in zip(row, columns, strict=True):
                for of_seed in found.get(problem, ()):
                    axes.plot(*_told(of_seed), f"C{number}", linewidth=0.6, alpha=0.3)
                if problem in found:
                    axes.plot(*_told(_middle(found[problem])), f"C{number}")
        if name == "gradient":
            row[0].set_yscale("log")
    for axes, problem in zip(panels[0], columns, strict=True):
        axes.set_title(problem, fontsize=10)
    for axes in panels[-1]:
        axes.set_xlabel("share of the run")
    handles = [
        Line2D([], [], color=f"C{number}", label=line.label)
        for number, line in enumerate(ablation.lines)
    ]
    image.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    with replacing(path) as file:
        image.savefig(file, dpi=110, format=path.suffix[1:])


def _middle(values: Values) -> Values:
    """Median over seeds at each look, ignoring NaN; ``values`` has shape ``(seeds, looks)``."""
    told = ~np.isnan(values).all(axis=0)
    middle = np.full(values.shape[1], np.nan)
    middle[told] = np.nanmedian(values[:, told], axis=0)
    return middle


def _told(values: Values) -> tuple[Values, Values]:
    """The looks whose value is known, as shares of the run, and their values."""
    looks = np.arange(1, len(values) + 1) / len(values)
    return looks[~np.isnan(values)], values[~np.isnan(values)]
