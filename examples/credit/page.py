"""Write docs/credit.md, with every figure computed from the tables of the experiments."""

import itertools
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from examples.credit import bsuite_regret, dag, key_to_door, minatar_games
from examples.credit.curves import draw_curves
from examples.credit.dag_page import FIGURE as DAG_FIGURE
from examples.credit.dag_page import dag_section, draw_dag
from examples.credit.ordering import Pair, orderings
from examples.credit.runs import Rows, choices_made, read_rows
from examples.credit.tables import (
    NOT_RUN,
    Choices,
    arms_list,
    by_arm,
    listed,
    problems_of,
    scores_of,
    standing,
    table,
)
from examples.experiments.comparison import improvement, interval, iqm
from macro_gym.files import replacing

DOCS = Path(__file__).parents[2] / "docs"
FIGURE = "images/key_to_door.png"
DAG_WEIGHTS = dag.OUTPUT.with_name("dag_weights.csv")

INTRODUCTION = """\
# Credit across time

Written by `python examples/credit/page.py` from the tables in `examples/credit/results`, in which
each run is one row, or a curve of several rows. Each table is stored with its settings and with the
commands, machines and versions of its runs (incomplete for early ones). What has not been run is
reported as missing, and nothing is concluded from it.

`PairwiseA2C` follows *Adaptive Pairwise Weights for Temporal Credit Assignment* (Zheng, Vuorio,
Lewis & Singh, AAAI 2022, arXiv 2102.04999), which has no public code; networks, optimizers and
budgets are ours throughout. Figures are interquartile means over seeds with 95% bootstrap intervals
(`rliable`). Every arm chooses its hyper-parameters by its mean on seeds from 100 on, which are not
reported.
"""

KEY_TO_DOOR = """\
## Key-to-Door

`python examples/credit/key_to_door.py --full` runs whatever is missing and estimates how long it
takes. Every run has {steps:,} steps over {envs} environments, with rollouts of whole episodes of
120 steps. Small convolutional networks, separate for actor and critic, see the rooms at one pixel
per cell. Apples pay μ on average with a standard deviation of σ, and the door pays 10 if the key
was taken 90 steps before. Hyper-parameters are chosen in the middle setting, μ = 5 and σ = 25, as
in the paper, by the mean return of {tuning_seeds} run each. The paper also has TVT, six more
settings (selected by `--problems`) and ten runs.

The number of steps was doubled, and learning rates raised, after a first attempt that was stopped
after 25 of 76 runs; its rows are in `key_to_door_first.csv`. Nine of these runs were of seeds meant
to be reported, and their results had been seen before the change was made; therefore seeds from
{first_seed} on are reported. In that attempt only H-PWR, at its highest learning rate, clearly
learned to take the key: in the last twentieth of its 480,000 steps the door paid 4.2 and 4.8 (two
seeds, μ = 5, σ = 5). With A2C it paid 0.8 to 2.2 (three seeds), and with the meta-learned weights
0.4 to 0.6 (two each), which is about what it pays at the start.

{arms}

{standing}
"""

BSUITE = """\
## bsuite

`python examples/credit/bsuite_regret.py --full` runs whatever is missing and estimates how long it
takes. Regret is bsuite's own measure or, where it has none (cart pole, discounting chain), the best
return minus the returns. One setting of each domain is used: {settings}. Hyper-parameters are
chosen on {tuned_on}, by the least regret of {tuning_seeds} run each; catch's settings are all
alike. Rollouts are whole episodes of {envs} environments, except for 100 steps of the cart pole.
The number of episodes was halved, and learning rates raised, after a first attempt learned nothing.

{arms}

{standing}
"""

PAPERS_BSUITE = """\
The paper uses 100,000 episodes per domain (50,000 for the cart pole) and three runs, and does not
say which of a domain's settings it uses. What can be compared is each arm's regret as a share of
A2C's: ours and, in parentheses, the paper's. Shares near 1 may only mean that nothing has been
learned yet: on the umbrella domains chance alone has a regret of 1 per episode.
"""

PAPERS_ORDER = "It is that of the paper's regrets, some of which are close together."

MINATAR = """\
## MinAtar

`python examples/credit/minatar_games.py --full` runs whatever is missing and estimates how long it
takes. Both arms have {frames:,} frames per run, in rollouts of {n_steps} steps of {envs}
environments. The score is the return during training, averaged over frames. Hyper-parameters are
chosen on {tuned_on}, by the same score. The paper compares the two on 49 Atari games: Meta-PWTD is
better in 30 and worse in 14.

{arms}

{standing}
"""


def page(
    dag_rows: Rows, dag_weights: Rows, key_to_door_rows: Rows, bsuite_rows: Rows, minatar_rows: Rows
) -> str:
    """Render the page from the tables of the experiments."""
    return "\n".join(
        [
            INTRODUCTION,
            dag_section(dag_rows, dag_weights),
            _key_to_door(key_to_door_rows),
            _bsuite(bsuite_rows),
            _minatar(minatar_rows),
        ]
    )


def _key_to_door(rows: Rows) -> str:
    """The section on Key-to-Door."""
    budget, settings = key_to_door.Budget(), key_to_door.Settings()
    arms, tuned_on = key_to_door.ARMS, key_to_door.TUNED_ON
    chosen = choices_made(rows, arms, tuned_on, "return")
    head = KEY_TO_DOOR.format(
        steps=budget.steps,
        envs=budget.envs,
        tuning_seeds=settings.tuning_seeds,
        first_seed=key_to_door.FIRST_SEED,
        arms=arms_list(arms, chosen),
        standing=standing(
            rows, arms, chosen, settings, settings.problems, tuned_on, key_to_door.FIRST_SEED
        ),
    )
    shown = problems_of(rows, key_to_door.PROBLEMS)
    if not shown:
        return "\n".join([head, NOT_RUN])
    last = {run: of_run[-len(of_run) // 5 :] for run, of_run in rows.items()}
    return "\n".join(
        [
            head,
            f"![Returns, and the part of them that the door pays]({FIGURE})\n",
            "Reward from the door, over the whole run:\n",
            table(rows, arms, chosen, shown, "door_return"),
            "Reward from the door, over the last fifth of the run:\n",
            table(last, arms, chosen, shown, "door_return"),
            "Returns over the whole run:\n",
            table(rows, arms, chosen, shown, "return"),
        ]
    )


def _bsuite(rows: Rows) -> str:
    """The section on bsuite."""
    settings, arms = bsuite_regret.Settings(), bsuite_regret.ARMS
    chosen = choices_made(rows, arms, settings.tuned_on, "regret", least=True)
    own = {name: arms[name] for name in settings.arms}
    head = BSUITE.format(
        settings="; ".join(f"`{name}` ({said})" for name, said in bsuite_regret.PROBLEMS.items()),
        tuned_on=listed(settings.tuned_on),
        tuning_seeds=settings.tuning_seeds,
        envs=bsuite_regret.Budget().envs,
        arms=arms_list(own, chosen),
        standing=standing(rows, own, chosen, settings, settings.problems, settings.tuned_on),
    )
    shown = problems_of(rows, bsuite_regret.PROBLEMS)
    if not shown:
        return "\n".join([head, NOT_RUN])
    episodes = [_episodes(rows, problem) for problem in shown]
    regret = table(rows, arms, chosen, shown, "regret", 0).splitlines()
    regret.insert(2, f"| *episodes* | {' | '.join(f'{count:,}' for count in episodes)} |")
    return "\n".join(
        [
            head,
            "Total regret (less is better):\n",
            *regret,
            "",
            PAPERS_BSUITE,
            _shares(rows, chosen, shown),
            orderings(
                rows,
                dict.fromkeys(shown, chosen),
                {problem: _papers_pairs(problem, settings.arms) for problem in shown},
                "regret",
                PAPERS_ORDER,
            ),
        ]
    )


def _papers_pairs(problem: str, arms: Sequence[str]) -> list[Pair]:
    """All pairs of arms, in the order of the paper's regrets on a domain."""
    place = list(bsuite_regret.PROBLEMS).index(problem)
    ordered = sorted(arms, key=lambda arm: bsuite_regret.PAPER[arm][place])
    return [Pair(*pair) for pair in itertools.combinations(ordered, 2)]


def _minatar(rows: Rows) -> str:
    """The section on MinAtar."""
    budget, settings = minatar_games.Budget(), minatar_games.Settings()
    arms, tuned_on = minatar_games.ARMS, minatar_games.TUNED_ON
    chosen = choices_made(rows, arms, tuned_on, "area")
    head = MINATAR.format(
        frames=budget.frames,
        n_steps=budget.learner["n_steps"],
        envs=budget.envs,
        tuned_on=listed(tuned_on),
        arms=arms_list(arms, chosen),
        standing=standing(rows, arms, chosen, settings, settings.games, tuned_on),
    )
    shown = problems_of(rows, minatar_games.GAMES)
    if not shown:
        return "\n".join([head, NOT_RUN])
    return "\n".join([head, table(rows, arms, chosen, shown, "area"), _better(rows, chosen)])


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

    return by_arm(problems, bsuite_regret.ARMS, said)


def _better(rows: Rows, chosen: Choices) -> str:
    """Probability that pairwise weights are better; empty if a game has fewer than two seeds."""
    ours, theirs = (
        [scores_of(rows, game, arm, chosen[arm], "area") for game in minatar_games.GAMES]
        for arm in ("Meta-PWTD", "A2C")
    )
    fewest = min(map(len, ours + theirs))
    if fewest < 2:
        return ""
    pairs = [np.stack([own[:fewest] for own in scores], axis=1) for scores in (ours, theirs)]
    return f"P(Meta-PWTD > A2C), averaged over games: {interval(improvement, *pairs)}.\n"


def _episodes(rows: Rows, problem: str) -> int:
    """Number of episodes that the regret covers."""
    return int(max(found[0]["episodes"] for run, found in rows.items() if run.problem == problem))


def draw_key_to_door(rows: Rows, path: Path) -> None:
    """Draw the arms' learning curves at their choices, as in the paper's figure 5."""
    chosen = choices_made(rows, key_to_door.ARMS, key_to_door.TUNED_ON, "return")
    own = {
        run: found
        for run, found in rows.items()
        if run.is_reported and run.choice == chosen[run.arm]
    }
    draw_curves(
        path,
        own,
        problems_of(own, key_to_door.PROBLEMS),
        {"return": "return of an episode", "door_return": "reward from the door"},
    )


def tables() -> tuple[Rows, Rows, Rows, Rows, Rows]:
    """Read the tables from which the page is rendered."""
    found = [read_rows(made.OUTPUT) for made in (dag, key_to_door, bsuite_regret, minatar_games)]
    return found[0], read_rows(DAG_WEIGHTS), *found[1:]  # type: ignore[return-value]


if __name__ == "__main__":
    found = tables()
    with replacing(DOCS / "credit.md") as file:
        file.write(page(*found).encode())
    draw_dag(DAG_WEIGHTS.with_suffix(""), DOCS / DAG_FIGURE)
    draw_key_to_door(found[2], DOCS / FIGURE)
