"""Write docs/evidence.md from the tables of the experiments: no figure without its runs."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from examples.experiments import (
    atari_pixels,
    atari_ram,
    claims,
    minatar_games,
    small_problems,
)
from examples.experiments.ablations_page import (
    Ablations,
    ablations_section,
    draw_ablations,
    read_ablations,
)
from examples.experiments.arm_tables import (
    complete_arms,
    draw,
    group_section,
    groups,
)
from examples.experiments.arms import ARMS
from examples.experiments.atari_page import (
    PIXELS_FIGURE,
    RAM_FIGURE,
    atari_pixels_section,
    atari_ram_section,
    draw_pixels,
    draw_ram,
    read_pixels,
)
from examples.experiments.minatar_page import draw_minatar, minatar_section
from examples.experiments.problems import PROBLEMS
from examples.experiments.rows import Rows, read_rows
from examples.experiments.runs import missing
from examples.experiments.transfer_page import draw_transfers
from macro_gym.files import replacing

DOCS = Path(__file__).parents[2] / "docs"
FIGURE = "images/small_problems.png"

INTRODUCTION = """\
# Evidence

Written by `python examples/experiments/evidence.py` from the tables in
`examples/experiments/results`, in which each row is one run; beside each table stand the settings,
and the commands, machines and versions of its runs, of early ones not all. What has not been run is
said to be missing, and nothing is concluded from it.

## Small problems with known answers

`python examples/experiments/small_problems.py --full` runs what is missing and says how long it
takes.

{problems}

Of the macros, the share that is stated are the most frequent n-grams of 10,000 steps of play, which
takes a best action but in a tenth of the steps, where it takes any; the others are random sequences
of the same lengths. Each seed has its own macros. The learner is `MASPDQN` with one hidden layer of
64 units on one-hot states, {steps:,} steps a run for every arm, and one update for every two
decisions, so that the more macros, the fewer updates; or, where it says so, for every two steps,
and every other setting that is counted in decisions is then in steps, too. Q is not conditioned on
Σ but in *meta, conditioned*. The score is the exact discounted value, by table, of the policy that
is greedy but for {epsilon:.0%} random decisions, as a share of the best value there is, on average
over {looks} looks during the run.
Each arm chooses its strength (η from 0.1, 0.3, 1, 3 and annealed from 3 to 0.3; weight decay from
0.01, 0.1, 1 and 10) for each problem and k by its mean score on three or more seeds from 100 on,
the same ones for all of its strengths, which are not reported.

{arms}

*meta, conditioned* was run before with numbers of $e_\\Sigma$ that began at about 1 instead of
1/32, and lost more than the penalty had gained: those runs are in
`small_problems_unit_embedding.csv`, and [Decisions](decisions.md) tells what came of it.
"""

LEGEND = """\
Scores are interquartile means over seeds and problems with 95% stratified bootstrap intervals
(`rliable`); next to them differences from Σ uniform and Σ of overlap, each at its own best
strength, the probabilities of being better than these, and the share of what the oracle gains
over uniform, where the oracle's gain is clear of zero.
"""


def page(
    rows: Rows,
    minatar: Rows,
    ram: Rows | None = None,
    pixels: Sequence[Mapping[str, Any]] = (),
    ablations: Ablations | None = None,
) -> str:
    """The page.

    Args:
        rows: Of the experiment on small problems.
        minatar: Of the one on MinAtar.
        ram: Of the one on Atari's memory.
        pixels: Of the one on Atari's pixels.
        ablations: Of the ablations; their section is left out without them.
    """
    sections = (
        _small_problems(rows),
        minatar_section(minatar),
        atari_ram_section(ram or {}),
        atari_pixels_section(pixels),
        *([ablations_section(*ablations)] if ablations else []),
    )
    return "\n".join(sections)


def _small_problems(rows: Rows) -> str:
    """The section on small problems."""
    budget = small_problems.Budget()
    parts = [
        INTRODUCTION.format(
            problems="\n".join(f"- **{name}**: {PROBLEMS[name]().about}" for name in PROBLEMS),
            arms="\n".join(f"- *{name}*: {arm.about}" for name, arm in ARMS.items()),
            steps=budget.steps,
            looks=budget.looks,
            epsilon=small_problems.EPSILON,
        ),
        _standing(rows),
    ]
    found = groups(rows, PROBLEMS)
    if any(complete_arms(rows, group) for group in found):
        units = sorted({cells[0].updates for cells in found})
        parts += [f"![Scores of the arms]({FIGURE})\n", LEGEND, *claims.figures(rows)]
        parts += [claims.goal(rows, unit) for unit in units]
    return "\n".join([*parts, *(group_section(rows, group) for group in found)])


def _standing(rows: Rows) -> str:
    """How much of the core has been run."""
    settings = small_problems.Settings()
    cells = small_problems.cells(settings)
    seeds = settings.tuning_seeds, settings.seeds
    total = len(missing({}, cells, settings.arms, seeds))
    done = total - len(missing(rows, cells, settings.arms, seeds))
    return (
        f"Of the core (k = {' and '.join(map(str, settings.k))}, half of the macros mined), {done} "
        f"of {total} runs have been run.\n"
    )


def draw_small_problems(rows: Rows, path: Path) -> None:
    """Draw each arm's score on small problems, a panel for each k."""
    panels = {
        f"k = {cells[0].k}": complete_arms(rows, cells)
        for cells in groups(rows, PROBLEMS)
        if (cells[0].share, cells[0].updates) == (0.5, "decision")
    }
    draw(path, panels)


def tables() -> tuple[Rows, Rows, Rows, list[dict[str, Any]], Ablations]:
    """What the page is of: all tables that there are."""
    of_runs = (read_rows(made.OUTPUT) for made in (small_problems, minatar_games, atari_ram))
    return *of_runs, read_pixels(atari_pixels.OUTPUT), read_ablations()


if __name__ == "__main__":
    found = tables()
    with replacing(DOCS / "evidence.md") as file:
        file.write(page(*found).encode())
    draw_small_problems(found[0], DOCS / FIGURE)
    claims.draw_claims(found[0], DOCS)
    draw_minatar(found[1], DOCS)
    draw_ram(found[2], DOCS / RAM_FIGURE)
    draw_pixels(found[3], DOCS / PIXELS_FIGURE)
    draw_ablations(*found[4][:2], DOCS)
    draw_transfers(found[4][2], DOCS)
