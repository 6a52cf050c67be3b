"""The section on the DAG: the episodes that arms need, and the learned weights."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from examples.credit import dag as experiment
from examples.credit.ordering import Pair, orderings, widening
from examples.credit.runs import Rows, choices_made
from examples.credit.tables import (
    NOT_RUN,
    arms_list,
    by_arm,
    problems_of,
    scores_of,
    standing,
)
from examples.experiments.comparison import interval, iqm
from sb3_masp.pairwise.pictures import draw_weights
from sb3_masp.pairwise.problems import dag
from sb3_masp.pairwise.weight_files import load_weights

FIGURE = "images/dag_weights.png"

DRAWN_DEPTH = 8

SECTION = """\
## DAG

`python examples/credit/dag.py --full` runs whatever is missing and estimates how long it takes.
First, tables of weights are learned in {outer_steps} steps, each differentiated through
{inner_steps} updates of a fresh policy, with {batch} episodes per update. Then new policies learn
with the tables held fixed. The score is the number of episodes until the exact expected return
reaches {share:.0%} of the best; where {most:,} episodes were not enough, twice that number counts.
Learning a table takes {cost:,} episodes, which are not counted: as in the paper, the question is
what weights are good for once they exist. Each arm chooses its learning rate for each depth by the
fewest episodes.

{arms}

{standing}
"""

OTHERS = """\
Learning rates were first chosen on two seeds. They were chosen again on five after the following
runs of reported seeds, at the rates chosen then, had been seen:
"""

LEARNED = """\
The learned weights, averaged over seeds: where a reward depends on the action (*due*), and where
another reward could follow it (*elsewhere*). They start at one half.
"""


CLAIMS = """\
In the paper, learned weights need no more episodes than
handcrafted ones, and both need fewer than regular returns, the more so the deeper the DAG.\
"""

REGULAR, HANDCRAFTED = "regular returns", "handcrafted"
PAIRS = [
    Pair(HANDCRAFTED, REGULAR),
    *(Pair(arm, other) for other in (REGULAR, HANDCRAFTED) for arm in experiment.LEARNED),
]


def dag_section(rows: Rows, weights: Rows) -> str:
    """Render the section from the tables of policies and of weights."""
    settings, arms = experiment.Settings(), experiment.ARMS
    problems = [experiment.problem(depth) for depth in settings.depths]
    chosen = {name: choices_made(rows, arms, [name], "episodes", True) for name in problems}
    head = SECTION.format(
        **vars(settings.budget),
        cost=settings.budget.outer_steps * (experiment.INNER_STEPS + 1) * experiment.BATCH,
        inner_steps=experiment.INNER_STEPS,
        batch=experiment.BATCH,
        share=experiment.SHARE,
        arms=arms_list(arms, dict.fromkeys(arms)),
        standing=" ".join(
            f"At {name}, {standing(rows, arms, chosen[name], settings, [name], [name])}"
            for name in problems
        ),
    )
    shown = problems_of(rows, problems)
    if not shown:
        return "\n".join([head, NOT_RUN])
    caption = "Episodes (fewer is better), with the number of seeds and the learning rate chosen:\n"
    parts = [head, caption]
    parts += [by_arm(shown, arms, lambda name, arm: _needed(rows, chosen[name], name, arm))]
    parts += [_others(rows, chosen)]
    parts += [orderings(rows, chosen, dict.fromkeys(shown, PAIRS), "episodes", CLAIMS)]
    parts += [widening(rows, chosen, shown, [REGULAR, HANDCRAFTED, *experiment.LEARNED])]
    parts += [LEARNED, _means(weights, problems)]
    picture = f"![Weights at depth {DRAWN_DEPTH}; the learned ones are of seed 0]({FIGURE})\n"
    return "\n".join([*parts, picture])


def _others(rows: Rows, chosen: Mapping[str, Mapping[str, str | None]]) -> str:
    """Reported seeds at learning rates that are no longer chosen; empty if there are none."""
    found: dict[str, list[float]] = {}
    for run, (row,) in sorted(rows.items()):
        if run.is_reported and run.choice != chosen[run.problem][run.arm]:
            found.setdefault(f"{run.problem}, {run.arm}, {run.choice}", []).append(row["episodes"])
    if not found:
        return ""
    lines = [f"- {name}: {', '.join(f'{n:,}' for n in each)}" for name, each in found.items()]
    return "\n".join([OTHERS, *lines, ""])


def _needed(rows: Rows, chosen: Mapping[str, str | None], problem: str, arm: str) -> str:
    """Episodes that an arm needs on one DAG; empty if it has no reported runs."""
    own = scores_of(rows, problem, arm, chosen[arm], "episodes")
    if not len(own):
        return ""
    found = interval(iqm, own[:, None])
    rate = str(chosen[arm]).removeprefix("learning_rate=")
    return f"{found.point:,.0f} [{found.low:,.0f}, {found.high:,.0f}] ({len(own)}, {rate})"


def _means(weights: Rows, problems: Sequence[str]) -> str:
    """Table of the mean weights, due and elsewhere, by arm."""

    def said(problem: str, arm: str) -> str:
        found = [
            of_run[0]
            for run, of_run in weights.items()
            if (run.problem, run.arm) == (problem, arm) and run.is_reported
        ]
        if not found:
            return ""
        due, elsewhere = (np.mean([row[name] for row in found]) for name in ("due", "elsewhere"))
        return f"{due:.2f} due, {elsewhere:.2f} elsewhere"

    return by_arm(problems, {arm: experiment.ARMS[arm] for arm in experiment.LEARNED}, said)


def draw_dag(folder: Path, path: Path) -> None:
    """Draw handcrafted and learned weights as in the paper's figure 3, if all have been learned."""
    reach = dag.reachable(DRAWN_DEPTH)
    maps: dict[str, Any] = {"handcrafted": dag.handcrafted_weights(DRAWN_DEPTH)}
    for arm, advantage in experiment.LEARNED.items():
        file = folder / f"depth{DRAWN_DEPTH}-{advantage}-seed0.safetensors"
        if not file.exists():
            return
        maps[arm] = load_weights(file).values.numpy()  # type: ignore[union-attr,operator]
    draw_weights(path, {title: np.where(reach, part, np.nan) for title, part in maps.items()})
