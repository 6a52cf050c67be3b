"""The section of docs/evidence.md on small problems."""

import itertools
from pathlib import Path

from examples.experiments import claims, small_problems
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
from examples.experiments.arms import ARMS
from examples.experiments.claims import CONTROLS, GOAL_AT
from examples.experiments.comparison import Interval, interval, iqm
from examples.experiments.figures import draw_curves
from examples.experiments.problems import PROBLEMS
from examples.experiments.rows import Rows
from examples.experiments.runs import missing

FIGURE = "images/small_problems.png"
BY_K = "images/small_problems_by_k.png"
PLANNED = small_problems.Settings(
    arms=tuple(ARMS), k=(16, 64, 256, 1024), updates=("decision", "step")
)
"""The arms, numbers of macros and units of updates that are of interest."""
SHOWN_BY_K = ("primitives", "macros", "uniform", "meta")
"""Arms that are drawn over k."""
PARTS = dict(zip(MEASURES, ("whole run", LATE), strict=True))
"""Parts of the run over which scores are drawn, by column of the table."""

SECTION = """\
## Small problems with known answers

`python examples/experiments/small_problems.py --full` runs whatever is missing of the core runs
and estimates how long it takes. The other tables below come from the same command with `--k`,
`--shares`, `--updates step` or `--seeds 20`, and `--arms` for the arms that they have.

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
0.01, 0.1, 1 and 10) for each problem and k, by its mean score on three seeds from 100 on, which are
not reported. (Some arms had two more such runs per strength in one cell. So that all choose on as
many, these are set aside in `small_problems_further_tuning.csv`.)

{arms}

The oracles are one construction each, the softmax of distances at one temperature. They indicate
what a good Σ can give, and do not bound it.

In an earlier run of *meta, conditioned* the entries of $e_\\Sigma$ started at about 1 instead of
1/32. With 64 macros conditioning then lost more than the penalty had gained, and with 256 most of
what it had gained. The results are in `small_problems_unit_embedding.csv`;
[Decisions](decisions.md) describes what followed from them.
"""

LEGEND = """\
Scores are interquartile means over seeds and problems with 95% stratified bootstrap intervals
(`rliable`), over all evaluations and over those in the last 30% of the run; the next two columns
are plain means. Unless stated otherwise, all that follows is by interquartile means over the whole
run: the differences from the uniform and the overlap Σ, each at its own best strength, the
probabilities of improvement over these, and the share of the oracle's gain over uniform, where that
gain is clear of zero.
"""


def small_problems_section(rows: Rows) -> str:
    """Render the section."""
    budget = small_problems.Budget()
    parts = [
        SECTION.format(
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
        parts += [f"![Scores of the arms]({FIGURE})\n"]
        parts += [f"![Scores by k]({BY_K})\n"] * bool(by_k(rows))
        parts += [LEGEND, CAVEATS, *claims.figures(rows)]
        parts += [claims.GOAL, *(claims.goal(rows, unit) for unit in units)]
    planned = small_problems.Settings().seeds
    for cells in found:
        scores, late = (complete_arms(rows, cells, measure=measure) for measure in MEASURES)
        table = over_problems(scores, late, CONTROLS, digits=3) + by_problem_table(rows, cells)
        parts += [title(cells[0]) + table, *further_seeds(scores, planned)]
    left = not_run(rows, small_problems.cells(PLANNED), PLANNED.arms, PLANNED.seeds)
    return "\n".join([*parts, left])


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


def by_k(rows: Rows) -> dict[str, dict[str, dict[int, Interval]]]:
    """Intervals of the arms drawn over k, by panel, arm and k; panels have several k."""
    found: dict[str, dict[str, dict[int, Interval]]] = {}
    for cells, (measure, part) in itertools.product(groups(rows, PROBLEMS), PARTS.items()):
        if cells[0].share == 0.5:
            panel = found.setdefault(f"updates counted in {cells[0].updates}s,\n{part}", {})
            for arm, own in complete_arms(rows, cells, measure=measure).items():
                if arm in SHOWN_BY_K:
                    panel.setdefault(arm, {})[cells[0].k] = interval(iqm, own)
    return {
        title: panel
        for title, panel in found.items()
        if any(len(of_arm) > 1 for of_arm in panel.values())
    }


def draw_small_problems(rows: Rows, folder: Path) -> None:
    """Draw the figures that have anything to show; ``folder`` holds the page."""
    panels = {
        f"k = {k}, updates\ncounted in {unit}s": complete_arms(rows, claims.cells_at(k, unit))
        for unit, k in itertools.product(PLANNED.updates, GOAL_AT)
    }
    draw(folder / FIGURE, {title: scores for title, scores in panels.items() if scores})
    label = "score: interquartile mean, 95% interval"
    draw_curves(folder / BY_K, by_k(rows), "macros", label, log_base=2, same_scale=True)
    claims.draw_claims(rows, folder)
