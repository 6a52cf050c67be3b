"""Parts of the sections on experiments: lists of arms, progress, and tables by arm."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from examples.credit.runs import Arm, Rows, reported_runs, score, tuning_runs
from examples.experiments.comparison import interval, iqm
from examples.experiments.table import Values

NOT_RUN = "Not run yet.\n"

Choices = Mapping[str, str | None]


def scores_of(rows: Rows, problem: str, arm: str, choice: str | None, measure: str) -> Values:
    """Scores of an arm's reported runs at its choice, shape ``(seeds,)``, by seed."""
    found = {
        run.seed: score(of_run, measure)
        for run, of_run in rows.items()
        if (run.problem, run.arm, run.choice) == (problem, arm, choice) and run.is_reported
    }
    return np.array([found[seed] for seed in sorted(found)])


def arms_list(arms: Mapping[str, Arm], chosen: Choices) -> str:
    """A list of the arms with their choices."""
    return "\n".join(
        f"- *{name}*: {arm.about}" + (f" Chosen: `{chosen[name]}`." if chosen[name] else "")
        for name, arm in arms.items()
    )


def standing(
    rows: Rows,
    arms: Mapping[str, Arm],
    chosen: Choices,
    settings: Any,
    problems: Sequence[str],
    tuned_on: Sequence[str],
    first_seed: int = 0,
) -> str:
    """Report how many runs are complete; the reported seeds start at ``first_seed``."""
    planned = tuning_runs(arms, settings.tuning_seeds, tuned_on)
    seeds = range(first_seed, first_seed + settings.seeds)
    planned += reported_runs(arms, chosen, seeds, problems)
    return f"{sum(run in rows for run in planned)} of {len(planned)} runs are complete."


def problems_of(rows: Rows, known: Sequence[str]) -> list[str]:
    """The known problems that have reported runs."""
    reported = {run.problem for run in rows if run.is_reported}
    return [problem for problem in known if problem in reported]


def table(
    rows: Rows,
    arms: Mapping[str, Arm],
    chosen: Choices,
    problems: Sequence[str],
    measure: str,
    digits: int = 2,
) -> str:
    """Table of the scores of every arm with reported runs, by problem."""

    def said(problem: str, arm: str) -> str:
        own = scores_of(rows, problem, arm, chosen[arm], measure)
        if not len(own):
            return ""
        found = interval(iqm, own[:, None])
        ends = f" [{found.low:,.{digits}f}, {found.high:,.{digits}f}]" if len(own) > 1 else ""
        return f"{found.point:,.{digits}f}{ends} ({len(own)})"

    return by_arm(problems, arms, said)


def by_arm(
    problems: Sequence[str], arms: Iterable[str], said: Callable[[str, str], str], head: str = "arm"
) -> str:
    """Table of ``said(problem, arm)``; arms for which all cells are empty are left out."""
    lines = {arm: [said(problem, arm) for problem in problems] for arm in arms}
    heads = [f"| {head} | {' | '.join(problems)} |", "|---" * (len(problems) + 1) + "|"]
    told = [f"| {arm} | {' | '.join(cells)} |" for arm, cells in lines.items() if any(cells)]
    return "\n".join([*heads, *told, ""])


def listed(names: Sequence[str]) -> str:
    """``a and b``."""
    return " and ".join(f"`{name}`" for name in names)
