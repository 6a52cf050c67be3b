"""Write docs/evidence.md, with every figure computed from the tables of the experiments."""

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
`examples/experiments/results`, with one row per run. Each table is stored with its settings and
with the commands, machines and versions of its runs (incomplete for early ones). What has not been
run is reported as missing, and nothing is concluded from it.

## Small problems with known answers

`python examples/experiments/small_problems.py --full` runs whatever is missing and estimates how
long it takes.

{problems}

The stated share of the macros is mined: the most frequent n-grams of 10,000 steps of play that
takes a best action, except for a random one in a tenth of the steps. The other macros are random
sequences of the same lengths. Each seed has its own macros.

The learner is `MASPDQN` with one hidden layer of 64 units on one-hot states. Every run has
{steps:,} primitive steps and one update for every two decisions, so with more macros there are
fewer updates. Where stated, there is instead one update for every two steps, and all other settings
in decisions then count steps too. Q is conditioned on Σ only in *meta, conditioned*. The score is
the exact discounted value, computed from the problem's table, of the policy that is greedy except
for {epsilon:.0%} random decisions. It is given as a share of the best possible value and averaged
over {looks} evaluations during the run.

Each arm chooses its strength (η from 0.1, 0.3, 1, 3 and annealed from 3 to 0.3; weight decay from
0.01, 0.1, 1 and 10) for each problem and k, by its mean score on three or more seeds from 100 on.
These seeds are the same for all of its strengths and are not reported.

{arms}

In an earlier run of *meta, conditioned* the entries of $e_\\Sigma$ started at about 1 instead of
1/32. With 64 macros conditioning then lost more than the penalty had gained, and with 256 most of
what it had gained. The results are in `small_problems_unit_embedding.csv`;
[Decisions](decisions.md) describes what followed from them.
"""

LEGEND = """\
Scores are interquartile means over seeds and problems with 95% stratified bootstrap intervals
(`rliable`). The next columns give the differences from the uniform and the overlap Σ, each at its
own best strength, the probabilities of improvement over these, and the share of the oracle's gain
over uniform, where that gain is clear of zero.
"""


def page(
    rows: Rows,
    minatar: Rows,
    ram: Rows | None = None,
    pixels: Sequence[Mapping[str, Any]] = (),
    ablations: Ablations | None = None,
) -> str:
    """Render the page.

    Args:
        rows: Rows of the experiment on small problems.
        minatar: Rows of the experiment on MinAtar.
        ram: Rows of the experiment on Atari from memory.
        pixels: Rows of the experiment on Atari from pixels.
        ablations: Tables of the ablations; without them, their section is left out.
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
    """Report how many of the core runs are complete."""
    settings = small_problems.Settings()
    cells = small_problems.cells(settings)
    seeds = settings.tuning_seeds, settings.seeds
    total = len(missing({}, cells, settings.arms, seeds))
    done = total - len(missing(rows, cells, settings.arms, seeds))
    return (
        f"Of the core runs (k = {' and '.join(map(str, settings.k))}, half of the macros mined), "
        f"{done} of {total} runs are complete.\n"
    )


def draw_small_problems(rows: Rows, path: Path) -> None:
    """Draw each arm's score on small problems, with one panel per k."""
    panels = {
        f"k = {cells[0].k}": complete_arms(rows, cells)
        for cells in groups(rows, PROBLEMS)
        if (cells[0].share, cells[0].updates) == (0.5, "decision")
    }
    draw(path, panels)


def tables() -> tuple[Rows, Rows, Rows, list[dict[str, Any]], Ablations]:
    """Read the tables from which the page is rendered."""
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
