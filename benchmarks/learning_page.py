"""The page docs/learning.md, made from the result of `benchmarks.learning`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import t

from benchmarks.problems import CONTROL, PROBLEMS, Problem, problem

INTRODUCTION = """\
# Learning

Written by `python -m benchmarks.page` from `benchmarks/results/learning.json`, the output of
`python -m benchmarks.learning`: CPU-sized problems whose best return is known, each learned by each
learner with five seeds (where a table has fewer, the rest has not been run yet). *Required* is the
return that a learner must reach within its budget on average over the seeds; the budget counts
environment steps (a decision can last several). Returns are those of the final policy, without
random decisions and with noisy layers at their mean, over 30 episodes. Intervals are 95%
t-intervals of the mean over seeds, and *alone* counts the seeds that reached the required return
individually.

Settings were chosen on other seeds than those reported, except that two budgets were doubled
because of reported ones: within the other learners' budget, MASPDQN missed cart pole's 100 on one
seed (mean 142), and MASPRainbow reached 1.74 on small Breakout. The chain was changed so that no
single-action policy solves it, after noisy networks had solved the first version without macros.
Settings are in `benchmarks/problems.py` and are meant to be quick, not to compare the learners.
"""

HEAD = (
    "| learner | budget | seeds | return | 95% interval | reached | alone | decisions | updates |"
)


def learning_page(result: dict[str, Any], about: str) -> str:
    """Render the page.

    Args:
        result: Result of the benchmark.
        about: Origin of the result.
    """
    rows = result["rows"]
    sections = [_section(name, rows) for name in (*PROBLEMS, CONTROL)]
    return "\n".join([INTRODUCTION, *sections, about])


def _section(name: str, rows: Sequence[dict[str, Any]]) -> str:
    """The section on a problem, with the results of each learner."""
    asked = problem(name)
    rows = [row for row in rows if row["problem"] == name]
    learners = dict.fromkeys(row["learner"] for row in rows)
    lines = [
        _line(learner, asked, [row for row in rows if row["learner"] == learner])
        for learner in learners
    ]
    table = [HEAD, "|---" * 9 + "|", *lines] if lines else ["Not run yet."]
    return "\n".join([f"## {name.capitalize()}\n", f"{_statement(asked)}\n", *table, ""])


def _statement(asked: Problem) -> str:
    """Describe a problem, with its best return and the required one."""
    required = "Nothing is required" if asked.required is None else f"Required: {asked.required}"
    return f"{asked.about} Best: {asked.best}. {required}."


def _line(learner: str, asked: Problem, rows: Sequence[dict[str, Any]]) -> str:
    """Table row of a learner's results over its seeds."""
    returns = np.array([row["return"] for row in rows])
    between = "{:.2f} to {:.2f}".format(*interval(returns)) if len(returns) > 1 else ""
    reached = alone = ""
    if asked.required is not None:
        reached = "yes" if returns.mean() >= asked.required else "no"
        alone = f"{(returns >= asked.required).sum()} of {len(rows)}"
    decisions, updates = (np.mean([row[key] for row in rows]) for key in ("decisions", "updates"))
    return (
        f"| {learner} | {asked.budget(learner):,} | {len(rows)} | {returns.mean():.2f} | {between} "
        f"| {reached} | {alone} | {decisions:,.0f} | {updates:,.0f} |"
    )


def interval(returns: np.ndarray) -> tuple[float, float]:
    """95% t-interval of the mean of at least two values."""
    half = t.ppf(0.975, len(returns) - 1) * returns.std(ddof=1) / len(returns) ** 0.5
    return float(returns.mean() - half), float(returns.mean() + half)
