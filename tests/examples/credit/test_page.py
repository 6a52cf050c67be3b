"""docs/credit.md says what the tables say, and of what is missing that it is."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from examples.credit import bsuite_regret, dag, key_to_door, minatar_games
from examples.credit.page import draw_key_to_door, page, tables
from examples.credit.runs import FIRST_TUNING_SEED, Run
from examples.experiments.comparison import improvement, interval, iqm
from examples.experiments.minatar_games import GAMES

ROOT = Path(__file__).parents[3]
NOTHING = ({}, {}, {}, {}, {})


def made_up(experiment, problems, tuned_on, row, least=False, seeds=range(5)):
    """Rows of all arms, of which the last choice is the best on seeds that choose."""
    rows = {}
    for place, (arm, about) in enumerate(experiment.ARMS.items()):
        choices = list(about.choices)
        for choice, problem in itertools.product(choices, tuned_on):
            good = (choice == choices[-1]) != least
            rows[Run(problem, arm, choice, FIRST_TUNING_SEED)] = row(float(good))
        for problem, seed in itertools.product(problems, seeds):
            rows[Run(problem, arm, choices[-1], seed)] = row(place + seed / 100)
            if len(choices) > 1:
                rows[Run(problem, arm, choices[0], seed)] = row(77.0)
    return rows


def of_bsuite(**more):
    return made_up(
        bsuite_regret,
        bsuite_regret.PROBLEMS,
        bsuite_regret.TUNED_ON,
        lambda level: [{"regret": 100.0 + 10 * level, "episodes": 1234, "seconds": 1}],
        least=True,
        **more,
    )


def of_rooms(*problems):
    def row(level):
        paid = enumerate((0.0, 0.25, 0.25, 0.25, 3.0))
        return [
            {"steps": 7 * n, "return": level, "door_return": level * share, "seconds": n}
            for n, share in paid
        ]

    return made_up(key_to_door, problems, key_to_door.TUNED_ON, row, seeds=range(3, 8))


def of_games(games=GAMES, arms=("A2C", "Meta-PWTD")):
    rows = made_up(
        minatar_games, games, minatar_games.TUNED_ON, lambda level: [{"area": level, "seconds": 1}]
    )
    return {run: row for run, row in rows.items() if run.arm in arms}


def line(text, start):
    (found,) = (x for x in text.splitlines() if x.startswith(start))
    return found


def test_the_page_is_the_one_that_the_tables_give():
    assert (ROOT / "docs" / "credit.md").read_text() == page(*tables())


def test_a_page_of_nothing_says_that_nothing_was_run():
    text = page(*NOTHING)
    assert text.count("\nNot run yet.") == 4
    assert text.count("\n0 of ") == 3
    assert "| arm |" not in text
    assert "Chosen:" not in text
    assert "![" not in text


def test_runs_that_only_choose_are_counted_and_not_shown():
    tuning = {run: row for run, row in of_games().items() if not run.is_reported}
    text = page({}, {}, {}, {}, tuning)
    # Two games, one seed of two, four choices; then five games, five seeds, two arms.
    assert "\n8 of 66 runs are complete." in text
    assert "- *A2C*: A2C with a single λ. Chosen: `gae_lambda=0.95 learning_rate=0.002`." in text
    assert "| arm |" not in text


def test_regret_stands_with_its_episodes_and_beside_the_papers_as_a_share_of_a2cs():
    text = page({}, {}, {}, of_bsuite(seeds=range(3)), {})
    ids = " | ".join(bsuite_regret.PROBLEMS)
    assert text.count(f"| arm | {ids} |") == 2
    assert line(text, "| *episodes*") == "| *episodes* |" + " 1,234 |" * 7
    scores = 130 + np.array([[0.0], [0.1], [0.2]])
    found = interval(iqm, scores)
    assert f"| Meta-PWTD | 130 [{found.low:.0f}, {found.high:.0f}] (3) |" in text
    share = line(text[text.index("regret as a share of\nA2C's: ours and") :], "| Meta-PWR |")
    assert share.startswith("| Meta-PWR | 1.40 (1.00) | 1.40 (1.02) | 1.40 (0.87) |")
    assert share.endswith("| 1.40 (0.80) | 1.40 (0.05) |")
    assert "870" not in text


def test_without_a2c_there_are_no_shares():
    rows = {run: row for run, row in of_bsuite().items() if run.arm != "A2C"}
    text = page({}, {}, {}, rows, {})
    assert "(0.87)" not in text
    assert "| Meta-PWR |" in text


def test_doors_are_shown_for_the_whole_run_and_its_last_fifth():
    text = page({}, {}, of_rooms(*key_to_door.Settings().problems), {}, {})
    section = text[text.index("## Key-to-Door") : text.index("## bsuite")]
    place = list(key_to_door.ARMS).index("Meta-PWTD") + 0.05
    door, last, paid = (x for x in section.splitlines() if x.startswith("| Meta-PWTD |"))
    assert door.startswith(f"| Meta-PWTD | {place * 0.75:.2f} [")
    assert last.startswith(f"| Meta-PWTD | {place * 3:.2f} [")
    assert paid.startswith(f"| Meta-PWTD | {place:.2f} [")
    assert "| arm | μ=5 σ=5 | μ=5 σ=25 | μ=5 σ=50 |" in section
    assert "77.00" not in section
    # One tuning seed; five reported ones, of which the first is 3.
    choices = sum(len(arm.choices) for arm in key_to_door.ARMS.values())
    runs = choices + 3 * 5 * len(key_to_door.ARMS)
    assert f"{runs} of {runs} runs" in section
    # Those that choose, on one of the three, are a sixth seed.
    assert "(6)" not in section


def test_games_are_compared_where_all_have_been_run():
    text = page({}, {}, {}, {}, of_games())
    assert "| A2C | 0.02 [0.00, 0.04] (5) |" in text
    ours = np.tile(1 + np.arange(5)[:, None] / 100, 5)
    expected = interval(improvement, ours, ours - 1)
    assert f"P(Meta-PWTD > A2C), averaged over games: {expected}." in text
    for rows in (of_games(GAMES[:4]), of_games(arms=("A2C",))):
        assert "P(" not in page({}, {}, {}, {}, rows)


def test_the_figure_has_a_line_of_panels_for_each_measure(tmp_path):
    draw_key_to_door({}, tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()
    draw_key_to_door(of_rooms("μ=5 σ=25"), tmp_path / "some.png")
    assert (tmp_path / "some.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("experiment", [bsuite_regret, key_to_door, minatar_games])
def test_tables_stand_beside_the_scripts(experiment):
    assert experiment.OUTPUT.parent == ROOT / "examples" / "credit" / "results"


def of_dags():
    """Every arm needs ten times its place, or at other rates seven more."""
    rows = {}
    for place, arm in enumerate(dag.ARMS, 1):
        for choice in dag.ARMS[arm].choices:
            needed = 10 * place + (0 if choice == "learning_rate=0.1" else 7)
            for seed in range(5):
                rows[Run("depth 4", arm, choice, 100 + seed)] = needed
                if choice == "learning_rate=0.1" or (arm, seed) == ("handcrafted", 3):
                    rows[Run("depth 4", arm, choice, seed)] = needed
    return {run: [{"episodes": n, "expected": 1, "seconds": 1}] for run, n in rows.items()}


def test_episodes_on_the_dag_are_those_at_the_rate_chosen_and_others_are_listed():
    section = page(of_dags(), {}, {}, {}, {}).partition("## Key-to-Door")[0]
    assert "| regular returns | 10 [10, 10] (5, 0.1) |" in section
    assert "| meta-learned, TD errors | 40 [40, 40] (5, 0.1) |" in section
    assert "- depth 4, handcrafted, learning_rate=0.2: 27\n" in section
    assert "17" not in section.partition("Episodes (")[2]


def test_weights_on_the_dag_are_means_over_reported_seeds():
    rows = {
        Run("depth 4", "meta-learned, rewards", "", seed): [
            {"due": due, "elsewhere": 0.25, "seconds": 1}
        ]
        for seed, due in ((0, 0.5), (1, 0.75), (100, 9.0))
    }
    text = page(of_dags(), rows, {}, {}, {})
    assert "0.62 due, 0.25 elsewhere" in text


def test_a_single_run_has_no_interval():
    rows = {run: row for run, row in of_games().items() if run.seed in (0, FIRST_TUNING_SEED)}
    assert line(page({}, {}, {}, {}, rows), "| Meta-PWTD | 1.00 (1) |").count("[") == 0
