"""Write docs/evidence.md from the tables of the experiments: no figure without its runs."""

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from examples.experiments import minatar_games, small_problems
from examples.experiments.arms import ARMS
from examples.experiments.comparison import (
    difference,
    headroom_share,
    improvement,
    interval,
    iqm,
    scores_of,
)
from examples.experiments.problems import PROBLEMS
from examples.experiments.rows import Cell, Rows, read_rows
from examples.experiments.runs import chosen_strength, missing
from examples.experiments.table import Values
from macro_gym.files import replacing
from sb3_masp.sweeps.summary import Interval as DrawnInterval
from sb3_masp.sweeps.summary import draw_intervals

DOCS = Path(__file__).parents[2] / "docs"
FIGURE = "images/small_problems.png"

INTRODUCTION = """\
# Evidence

Written by `python examples/experiments/evidence.py` from the tables in
`examples/experiments/results`, in which each row is one run; beside each table stand the command,
the versions and the settings. What has not been run is said to be missing, and nothing is
concluded from it.

## Small problems with known answers

`python examples/experiments/small_problems.py --full` runs what is missing and says how long it
takes.

{problems}

Macros are the most frequent n-grams of 10,000 steps of play by one who errs in a tenth of them,
or random ones of the same lengths, in the share that is said; each seed has its own. The learner
is `MASPDQN` with one hidden layer of 64 units on one-hot states, {steps:,} steps a run for every
arm, and one update for every two decisions (or every two steps, where it says so). The score is
the exact discounted value, by table, of the policy that is greedy but for {epsilon:.0%} random
decisions, as a share of the best value there is, on average over {looks} looks during the run.
Each arm chooses its strength (η from 0.1, 0.3, 1, 3 and annealed from 3 to 0.3; weight decay from
0.01, 0.1, 1 and 10) for each problem and k by its mean score on seeds from 100 on, which are not
reported.

{arms}
"""

HEAD = (
    "| arm | seeds | score | − uniform | − overlap | P(> uniform) | of the oracle's headroom |\n"
    "|---|---|---|---|---|---|---|"
)

LEGEND = """\
Scores are interquartile means over seeds and problems with 95% stratified bootstrap intervals
(`rliable`); next to them differences from Σ uniform and Σ of overlap, each at its own best
strength, the probability of being better than uniform, and the share of what the oracle gains
over uniform, where the oracle's gain is clear of zero.
"""


MINATAR = """\
## MinAtar

`python examples/experiments/minatar_games.py --full` runs what is missing and says how long it
takes: macros mined from play of a DQN that learned each game from primitives, the same for all
arms; {steps:,} steps a run, one update for every four decisions; the score is the mean over steps
of the returns while it learned.
"""


def page(rows: Rows, minatar: Rows) -> str:
    """The page.

    Args:
        rows: Of the experiment on small problems.
        minatar: Of the one on MinAtar.
    """
    games = _groups(minatar, minatar_games.GAMES)
    return "\n".join(
        [
            _small_problems(rows),
            MINATAR.format(steps=minatar_games.Budget().steps),
            *(_title(cells[0]) + _by_problem_table(minatar, cells) for cells in games),
            *([] if games else ["Not run yet.\n"]),
        ]
    )


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
    groups = _groups(rows, PROBLEMS)
    if any(_complete_arms(rows, group) for group in groups):
        parts += [f"![Scores of the arms]({FIGURE})\n", LEGEND]
    return "\n".join([*parts, *(_group_section(rows, group) for group in groups)])


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


def _groups(rows: Rows, problems: Iterable[str]) -> list[list[Cell]]:
    """The cells of reported runs with macros, one list for each k, share and unit of updates."""
    reported = (run.cell for run in rows if run.is_reported and run.cell.k)
    kinds = {(cell.updates, cell.share, cell.k) for cell in reported}
    return [
        [Cell(problem, k, share, updates) for problem in problems]
        for updates, share, k in sorted(kinds)
    ]


def _complete_arms(rows: Rows, cells: Sequence[Cell]) -> dict[str, Values]:
    """Scores of the arms that have two seeds or more in all problems."""
    scores = {arm: scores_of(rows, cells, arm) for arm in ARMS}
    return {arm: found for arm, found in scores.items() if len(found) > 1}


def _group_section(rows: Rows, cells: Sequence[Cell]) -> str:
    """Everything about one k, share and unit of updates."""
    scores = _complete_arms(rows, cells)
    table = [HEAD, *(_line(arm, scores) for arm in scores), ""] if scores else []
    return _title(cells[0]) + "\n".join([*table, _by_problem_table(rows, cells)])


def _title(cell: Cell) -> str:
    """What the tables below are of."""
    return f"### k = {cell.k}, {cell.share:.0%} mined, updates by {cell.updates}s\n\n"


def _by_problem_table(rows: Rows, cells: Sequence[Cell]) -> str:
    """Every arm that there are reported rows of, problem by problem."""
    lines = [
        "By problem, interquartile means, the number of seeds, and the strength chosen:\n",
        f"| arm | {' | '.join(cell.problem for cell in cells)} |",
        "|---" * (len(cells) + 1) + "|",
    ]
    for arm in ARMS:
        said = [_by_problem(rows, cell, arm) for cell in cells]
        if any(said):
            lines.append(f"| {arm} | {' | '.join(said)} |")
    return "\n".join([*lines, ""])


def _line(arm: str, scores: dict[str, Values]) -> str:
    """An arm beside the controls."""
    own = scores[arm]
    found = [
        _against(difference, own, scores, "uniform"),
        _against(difference, own, scores, "overlap"),
        _against(improvement, own, scores, "uniform"),
        _of_headroom(arm, scores),
    ]
    return f"| {arm} | {len(own)} | {interval(iqm, own)} | {' | '.join(found)} |"


def _against(
    statistic: Callable[..., float], own: Values, scores: dict[str, Values], control: str
) -> str:
    """A comparison with a control; empty where it has not been run, or is the same."""
    if control not in scores or own is scores[control]:
        return ""
    return str(interval(statistic, own, scores[control]))


def _of_headroom(arm: str, scores: dict[str, Values]) -> str:
    """The share of the oracle's headroom, if there is any."""
    if not {"uniform", "oracle"} <= scores.keys() or arm in ("uniform", "oracle"):
        return ""
    control, oracle = scores["uniform"], scores["oracle"]
    if interval(difference, oracle, control).low <= 0:
        return "no clear headroom"
    return str(interval(headroom_share, scores[arm], control, oracle))


def _by_problem(rows: Rows, cell: Cell, arm: str) -> str:
    """An arm on one problem; empty where it has no runs to report."""
    own = scores_of(rows, [cell], arm)
    if not len(own):
        return ""
    strength = chosen_strength(rows, cell, arm)
    return f"{iqm(own):.2f} ({', '.join(filter(None, [str(len(own)), strength]))})"


def draw(rows: Rows, path: Path) -> None:
    """Draw each arm's score, a panel for each k, if there is any."""
    drawn = [
        DrawnInterval(
            f"k = {cells[0].k}", arm, "score", len(own), found.point, found.low, found.high
        )
        for cells in _groups(rows, PROBLEMS)
        if (cells[0].share, cells[0].updates) == (0.5, "decision")
        for arm, own in _complete_arms(rows, cells).items()
        for found in [interval(iqm, own)]
    ]
    if drawn:
        draw_intervals(path, drawn, "score")


if __name__ == "__main__":
    found = read_rows(small_problems.OUTPUT)
    with replacing(DOCS / "evidence.md") as file:
        file.write(page(found, read_rows(minatar_games.OUTPUT)).encode())
    draw(found, DOCS / FIGURE)
