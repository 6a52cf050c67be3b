"""Write docs/credit.md from the tables of the experiments: no figure without its runs."""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from examples.credit import bsuite_regret, key_to_door, minatar_games
from examples.credit.curves import draw_curves
from examples.credit.runs import (
    Arm,
    Rows,
    choices_made,
    read_rows,
    reported_runs,
    score,
    tuning_runs,
)
from examples.experiments.comparison import improvement, interval, iqm
from examples.experiments.table import Values
from macro_gym.files import replacing

DOCS = Path(__file__).parents[2] / "docs"
FIGURE = "images/key_to_door.png"
NOT_RUN = "Not run yet.\n"

INTRODUCTION = """\
# Credit across time

Written by `python examples/credit/page.py` from the tables in `examples/credit/results`, in which
each run is one row, or one curve of several; beside each table stand the command, the versions and
the settings. What has not been run is said to be missing, and nothing is concluded from it.

`PairwiseA2C` follows *Adaptive Pairwise Weights for Temporal Credit Assignment* (Zheng, Vuorio,
Lewis & Singh, AAAI 2022, arXiv 2102.04999), which has no public code; networks, optimizers and
budgets are ours throughout. Figures are interquartile means over seeds with 95% bootstrap intervals
(`rliable`). Every arm makes its choice by its mean on seeds from 100 on, which are not reported.
"""

KEY_TO_DOOR = """\
## Key-to-Door

`python examples/credit/key_to_door.py --full` runs what is missing and says how long it takes:
{steps:,} steps of {envs} environments a run for every arm, whole episodes of 120 steps in a
rollout, rooms seen at a pixel a cell by a small convolutional network, actor and critic apart.
Apples pay μ on average with a deviation of σ, and the door 10 to those who took the key 90 steps
before.
Choices are made in the middle setting, μ = 5 and σ = 25, by mean returns, as in the paper, which
also has TVT, six more settings (`--problems` takes them) and ten runs.

{arms}

{standing}
"""

BSUITE = """\
## bsuite

`python examples/credit/bsuite_regret.py --full` runs what is missing and says how long it takes.
Regret is bsuite's own count, or, where it has none (cart pole, discounting chain), the best return
less the returns. One setting of each domain: {settings}.
Choices are made on {tuned_on}, by the least regret. Rollouts are whole episodes of {envs}
environments, but 100 steps of the cart pole.

{arms}

{standing}
"""

PAPERS_BSUITE = """\
The paper has 100,000 episodes a domain (50,000 of the cart pole), three runs, and does not say
which of a domain's settings; so what compares is each arm's regret as a share of A2C's, ours and,
in brackets, the paper's:
"""

MINATAR = """\
## MinAtar

`python examples/credit/minatar_games.py --full` runs what is missing and says how long it takes:
{frames:,} frames a run for both arms, rollouts of {n_steps} steps of {envs} environments. The score
is the mean over frames of the returns while it learned. Choices are made on {tuned_on}, by the same
score. The paper compares the two on 49 Atari games: Meta-PWTD is better in 30 and worse in 14.

{arms}

{standing}
"""

Choices = Mapping[str, str | None]


def page(key_to_door_rows: Rows, bsuite_rows: Rows, minatar_rows: Rows) -> str:
    """The page; arguments are the tables of the experiments."""
    return "\n".join(
        [
            INTRODUCTION,
            _key_to_door(key_to_door_rows),
            _bsuite(bsuite_rows),
            _minatar(minatar_rows),
        ]
    )


def scores_of(rows: Rows, problem: str, arm: str, choice: str | None, measure: str) -> Values:
    """Scores of an arm's reported runs at its choice, shape ``(seeds,)``, by seed."""
    found = {
        run.seed: score(of_run, measure)
        for run, of_run in rows.items()
        if (run.problem, run.arm, run.choice) == (problem, arm, choice) and run.is_reported
    }
    return np.array([found[seed] for seed in sorted(found)])


def _key_to_door(rows: Rows) -> str:
    """The section on Key-to-Door."""
    budget, settings = key_to_door.Budget(), key_to_door.Settings()
    arms, tuned_on = key_to_door.ARMS, key_to_door.TUNED_ON
    chosen = choices_made(rows, arms, tuned_on, "return")
    head = KEY_TO_DOOR.format(
        steps=budget.steps,
        envs=budget.envs,
        arms=_arms(arms, chosen),
        standing=_standing(rows, arms, chosen, settings, settings.problems, tuned_on),
    )
    shown = _problems(rows, key_to_door.PROBLEMS)
    if not shown:
        return "\n".join([head, NOT_RUN])
    last = {run: of_run[-len(of_run) // 5 :] for run, of_run in rows.items()}
    return "\n".join(
        [
            head,
            f"![Returns, and what of them the door pays]({FIGURE})\n",
            "What the door pays, over the whole run:\n",
            _table(rows, arms, chosen, shown, "door_return"),
            "Over the last fifth of the run:\n",
            _table(last, arms, chosen, shown, "door_return"),
            "Returns over the whole run:\n",
            _table(rows, arms, chosen, shown, "return"),
        ]
    )


def _bsuite(rows: Rows) -> str:
    """The section on bsuite."""
    settings, arms = bsuite_regret.Settings(), bsuite_regret.ARMS
    chosen = choices_made(rows, arms, settings.tuned_on, "regret", least=True)
    own = {name: arms[name] for name in settings.arms}
    head = BSUITE.format(
        settings="; ".join(f"`{name}` ({said})" for name, said in bsuite_regret.PROBLEMS.items()),
        tuned_on=_listed(settings.tuned_on),
        envs=bsuite_regret.Budget().envs,
        arms=_arms(arms, chosen),
        standing=_standing(rows, own, chosen, settings, settings.problems, settings.tuned_on),
    )
    shown = _problems(rows, bsuite_regret.PROBLEMS)
    if not shown:
        return "\n".join([head, NOT_RUN])
    episodes = [_episodes(rows, problem) for problem in shown]
    regret = _table(rows, arms, chosen, shown, "regret", 0).splitlines()
    regret.insert(2, f"| *episodes* | {' | '.join(f'{count:,}' for count in episodes)} |")
    return "\n".join(
        [
            head,
            "Total regret (less is better):\n",
            *regret,
            "",
            PAPERS_BSUITE,
            _shares(rows, chosen, shown),
        ]
    )


def _minatar(rows: Rows) -> str:
    """The section on MinAtar."""
    budget, settings = minatar_games.Budget(), minatar_games.Settings()
    arms, tuned_on = minatar_games.ARMS, minatar_games.TUNED_ON
    chosen = choices_made(rows, arms, tuned_on, "area")
    head = MINATAR.format(
        frames=budget.frames,
        n_steps=budget.learner["n_steps"],
        envs=budget.envs,
        tuned_on=_listed(tuned_on),
        arms=_arms(arms, chosen),
        standing=_standing(rows, arms, chosen, settings, settings.games, tuned_on),
    )
    shown = _problems(rows, minatar_games.GAMES)
    if not shown:
        return "\n".join([head, NOT_RUN])
    return "\n".join([head, _table(rows, arms, chosen, shown, "area"), _better(rows, chosen)])


def _arms(arms: Mapping[str, Arm], chosen: Choices) -> str:
    """The arms as a list, with their choices."""
    return "\n".join(
        f"- *{name}*: {arm.about}" + (f" Chose `{chosen[name]}`." if chosen[name] else "")
        for name, arm in arms.items()
    )


def _standing(
    rows: Rows,
    arms: Mapping[str, Arm],
    chosen: Choices,
    settings: Any,
    problems: Sequence[str],
    tuned_on: Sequence[str],
) -> str:
    """How much has been run."""
    planned = tuning_runs(arms, settings.tuning_seeds, tuned_on)
    planned += reported_runs(arms, chosen, settings.seeds, problems)
    return f"{sum(run in rows for run in planned)} of {len(planned)} runs have been run."


def _problems(rows: Rows, known: Sequence[str]) -> list[str]:
    """Those with reported runs."""
    reported = {run.problem for run in rows if run.is_reported}
    return [problem for problem in known if problem in reported]


def _table(
    rows: Rows,
    arms: Mapping[str, Arm],
    chosen: Choices,
    problems: Sequence[str],
    measure: str,
    digits: int = 2,
) -> str:
    """Every arm that there are reported runs of, problem by problem."""

    def said(problem: str, arm: str) -> str:
        own = scores_of(rows, problem, arm, chosen[arm], measure)
        if not len(own):
            return ""
        found = interval(iqm, own[:, None])
        ends = f"{found.low:,.{digits}f}, {found.high:,.{digits}f}"
        return f"{found.point:,.{digits}f} [{ends}] ({len(own)})"

    return _by_arm(problems, arms, said)


def _shares(rows: Rows, chosen: Choices, problems: Sequence[str]) -> str:
    """Regret as a share of A2C's, ours and the paper's."""

    def said(problem: str, arm: str) -> str:
        own, control = (
            scores_of(rows, problem, name, chosen[name], "regret") for name in (arm, "A2C")
        )
        if arm == "A2C" or not (len(own) and len(control)):
            return ""
        place = list(bsuite_regret.PROBLEMS).index(problem)
        theirs = bsuite_regret.PAPER[arm][place] / bsuite_regret.PAPER["A2C"][place]
        return f"{iqm(own) / iqm(control):.2f} ({theirs:.2f})"

    return _by_arm(problems, bsuite_regret.ARMS, said)


def _by_arm(
    problems: Sequence[str], arms: Mapping[str, Arm], said: Callable[[str, str], str]
) -> str:
    """A table of what is said of each problem and arm; arms of which nothing is are left out."""
    lines = {arm: [said(problem, arm) for problem in problems] for arm in arms}
    head = [f"| arm | {' | '.join(problems)} |", "|---" * (len(problems) + 1) + "|"]
    told = [f"| {arm} | {' | '.join(cells)} |" for arm, cells in lines.items() if any(cells)]
    return "\n".join([*head, *told, ""])


def _better(rows: Rows, chosen: Choices) -> str:
    """How probable it is that pairwise weights are better; nothing where games are missing."""
    ours, theirs = (
        [scores_of(rows, game, arm, chosen[arm], "area") for game in minatar_games.GAMES]
        for arm in ("Meta-PWTD", "A2C")
    )
    fewest = min(map(len, ours + theirs))
    if fewest < 2:
        return ""
    pairs = [np.stack([own[:fewest] for own in scores], axis=1) for scores in (ours, theirs)]
    return f"P(Meta-PWTD > A2C), over games on average: {interval(improvement, *pairs)}.\n"


def _episodes(rows: Rows, problem: str) -> int:
    """How many episodes regret is of."""
    return int(max(found[0]["episodes"] for run, found in rows.items() if run.problem == problem))


def _listed(names: Sequence[str]) -> str:
    """``a and b``."""
    return " and ".join(f"`{name}`" for name in names)


def draw_key_to_door(rows: Rows, path: Path) -> None:
    """Draw the arms' curves at their choices, as the paper's figure 5 has them."""
    chosen = choices_made(rows, key_to_door.ARMS, key_to_door.TUNED_ON, "return")
    own = {
        run: found
        for run, found in rows.items()
        if run.is_reported and run.choice == chosen[run.arm]
    }
    draw_curves(
        path,
        own,
        _problems(own, key_to_door.PROBLEMS),
        {"return": "return of an episode", "door_return": "what the door pays of it"},
    )


def tables() -> tuple[Rows, Rows, Rows]:
    """What the page is of: all tables that there are."""
    key_to_door_rows, *others = (
        read_rows(made.OUTPUT) for made in (key_to_door, bsuite_regret, minatar_games)
    )
    return key_to_door_rows, *others


if __name__ == "__main__":
    found = tables()
    with replacing(DOCS / "credit.md") as file:
        file.write(page(*found).encode())
    draw_key_to_door(found[0], DOCS / FIGURE)
