"""The results that README quotes are those of the tables of the experiments."""

import itertools
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from examples.experiments import ablations, atari_ram, minatar_games, minatar_page, small_problems
from examples.experiments.arm_tables import MEASURES, complete_arms
from examples.experiments.arms import ARMS, at_eta
from examples.experiments.claims import GOAL_AT, cells_at
from examples.experiments.comparison import difference, improvement, interval, iqm, mean, scores_of
from examples.experiments.game_homes import HOMES, Atari
from examples.experiments.game_transfer import ETA, cell_of
from examples.experiments.problems import PROBLEMS
from examples.experiments.rows import Cell, read_rows
from examples.experiments.transfer_page import read_transfers, relative
from examples.experiments.transfer_similarities import agreement_table
from examples.experiments.variants import VARIANTS

README = Path(__file__).parents[2] / "README.md"
IN_WORDS = {10: "ten"}


@pytest.mark.parametrize(
    ("section", "unit", "least"), [("evidence", "decision", 6), ("updates", "step", 4)]
)
def test_the_readmes_scores_on_small_problems_are_those_of_the_table(section, unit, least):
    rows = read_rows(small_problems.OUTPUT)
    scores = [complete_arms(rows, cells_at(k, unit), (), of) for of in MEASURES for k in GOAL_AT]
    quoted = quoted_in_the_readme(section)
    assert len(quoted) >= least
    for arm, said in quoted.items():
        assert said == [str(interval(iqm, of_k[arm])) for of_k in scores], arm


def test_at_equal_updates_scores_of_macros_fall_from_64_to_256_but_no_further_as_the_readme_says():
    rows = read_rows(small_problems.OUTPUT)
    macros = {k: scores_of(rows, cells_at(k, "step"), "macros") for k in (64, 256, 1024)}
    assert interval(difference, macros[256], macros[64]).high < 0
    assert interval(difference, macros[1024], macros[256]).high > 0


def test_at_equal_updates_only_kernel_and_only_at_the_end_differs_from_uniform_as_the_readme_says():
    rows, clear = read_rows(small_problems.OUTPUT), {}
    for k, measure in itertools.product(GOAL_AT, MEASURES):
        scores = complete_arms(rows, cells_at(k, "step"), (), measure)
        for arm in scores.keys() - {"primitives", "macros", "uniform"}:
            loss = interval(difference, scores["uniform"], scores[arm])
            if not loss.low <= 0 <= loss.high:
                clear[k, measure, arm] = loss
    assert set(clear) == {(256, "final", "kernel")}
    compared = len(GOAL_AT) * len(scores.keys() - {"primitives", "macros", "uniform"})
    readme = " ".join(README.read_text().split())
    assert f"One of the {IN_WORDS[compared]} comparisons with *uniform* at the end is" in readme
    assert f"*kernel* is lower by {clear[256, 'final', 'kernel']}. The other" in readme
    left = len(ARMS) - len(scores)
    assert f"and {left} of the {len(ARMS)} arms at equal updates on the small problems" in readme


def test_a_wrong_similarity_is_not_consistently_worse_on_small_problems_as_the_readme_says():
    rows = read_rows(small_problems.OUTPUT)
    losses = {
        unit: interval(difference, *(scores_of(rows, cells_at(64, unit), arm) for arm in arms))
        for arms in [("uniform", "permuted")]
        for unit in ("decision", "step")
    }
    assert losses["step"].low < 0 < losses["step"].high
    ablated = read_rows(ablations.OUTPUT)
    frozen = (
        scores_of(ablated, cells_at(64, "decision"), f"{start}, frozen", known=VARIANTS)
        for start in ("uniform", "permuted")
    )
    said = f"lower by {losses['decision']} here, by {interval(difference, *frozen)} in an ablation"
    assert said in " ".join(README.read_text().split())


def test_the_plain_means_on_small_problems_are_those_of_the_table():
    late = complete_arms(read_rows(small_problems.OUTPUT), cells_at(256, "decision"), (), "final")
    means = {arm: f"{mean(own):.2f}" for arm, own in late.items()}
    readme = " ".join(README.read_text().split())
    assert f"the plain mean of *uniform* is {means['uniform']}, and those of" in readme
    low = [means[arm] for arm in ("auxiliary", "permuted", "meta, conditioned")]
    assert "{}, {} and {}.".format(*low) in readme
    door = list(PROBLEMS).index("key and door")
    assert all(
        mean(late[arm][:, [door]]) < mean(late["uniform"][:, [door]])
        for arm in ("auxiliary", "permuted", "meta, conditioned")
    )


def test_the_lead_in_the_readme_that_was_checked_is_that_of_the_table():
    rows = read_rows(small_problems.OUTPUT)
    cells = [Cell(problem, 64, 0.25, "decision") for problem in PROBLEMS]
    meta, uniform = (scores_of(rows, cells, arm) for arm in ("meta", "uniform"))
    assert len(meta) == 20
    first = interval(difference, meta[:10], uniform[:10])
    others = interval(difference, meta[10:], uniform[10:])
    readme = " ".join(README.read_text().split())
    assert f"ahead by {first} on these ten seeds, and by {others} on ten others" in readme


def test_the_readmes_scores_on_minatar_are_those_of_the_table():
    rows = read_rows(minatar_games.OUTPUT)
    cells = [
        [Cell(game, k, 1.0, "decision") for game in minatar_games.GAMES] for k in (16, 64, 256)
    ]
    scores = [minatar_page.scaled(rows, of_k, of) for of in MEASURES for of_k in cells]
    quoted = quoted_in_the_readme("minatar")
    assert list(quoted) == ["macros", "uniform", "meta"]
    for arm, said in quoted.items():
        assert said == [str(interval(iqm, of_k[arm])) for of_k in scores], arm
    readme = " ".join(README.read_text().split())
    meta, uniform = (scores[0][arm] for arm in ("meta", "uniform"))
    first, others = (interval(difference, meta[i], uniform[i]) for i in (slice(5), slice(5, None)))
    assert f"it was ahead by {first} on these seeds, and by {others} on five others" in readme
    equal = minatar_page.scaled(rows, [replace(cell, updates="step") for cell in cells[2]])
    said = ", ".join(f"{interval(iqm, equal[arm])} with *{arm}*" for arm in quoted)
    assert f"scores with 256 macros are {said}" in readme


def test_macros_beat_primitives_on_minatar_only_where_the_readme_says():
    rows, games = read_rows(minatar_games.OUTPUT), minatar_games.GAMES
    ahead = {measure: set() for measure in MEASURES}
    for measure, k, game in itertools.product(MEASURES, (16, 64, 256), games):
        cells = [Cell(game, k, 1.0, "decision")]
        scores = complete_arms(rows, cells, minatar_games.TUNED_ON, measure)
        if iqm(scores["macros"]) > iqm(scores["primitives"]):
            ahead[measure].add((game, k))
    assert ahead == {
        "area": {("Freeway", 16), ("Freeway", 64), ("Seaquest", 256)},
        "final": {("Seaquest", 16), ("Seaquest", 64), ("Seaquest", 256)},
    }


def test_the_readmes_scores_on_minatar_at_one_eta_are_those_of_the_table():
    rows = read_rows(minatar_games.OUTPUT)
    cells = [Cell(game, 64, 1.0, "decision") for game in minatar_games.GAMES]
    scores = [minatar_page.scaled(rows, cells, of, at_eta(ETA)) for of in MEASURES]
    quoted = quoted_in_the_readme("minatar_same_eta")
    assert set(quoted) == scores[0].keys() - {"primitives"}
    for arm, said in quoted.items():
        assert said == [str(interval(iqm, of[arm])) for of in scores], arm
    readme = " ".join(README.read_text().split())
    gains = [interval(difference, of["uniform"], of["macros"]) for of in scores]
    assert "*macros* by {}, and at the end clearly, by {}. No".format(*gains) in readme
    over_uniform = [
        {arm: interval(difference, of[arm], of["uniform"]) for arm in quoted} for of in scores
    ]
    assert gains[1].low > 0 > over_uniform[1]["kernel"].high
    assert over_uniform[1]["weight decay"].high < 0
    assert all(gain.low <= 0 for of in over_uniform for gain in of.values())
    conditioning = [interval(difference, of["meta, conditioned"], of["meta"]) for of in scores]
    assert all(gain.low < 0 < gain.high for gain in conditioning)


def test_what_the_readme_says_of_transfer_is_what_was_found():
    read = read_transfers()
    cells = {home: [cell_of(HOMES[home], p) for p in HOMES[home].pairs] for home in read}
    scores = [relative(read[home][0], cells[home], of) for of in MEASURES for home in cells]
    quoted = quoted_in_the_readme("transfer")
    assert set(quoted) == set(scores[0])
    for name, said in quoted.items():
        assert said == [str(interval(iqm, of_home[name])) for of_home in scores], name
    tables = [agreement_table(similarities).splitlines()[2:] for _, similarities in read.values()]
    assert [len(lines) for lines in tables] == [len(of_home) for of_home in cells.values()]
    lines = itertools.chain.from_iterable(tables)
    found = np.array([line.strip(" |").split(" | ")[3:] for line in lines], float)
    between_seeds, between_games = found[:, :2], found[:, 2]
    readme = " ".join(README.read_text().split())
    assert f"entries at most {between_games.max():.2f})" in readme
    assert (
        f"seeds on the same game ({between_seeds.min():.2f} to {between_seeds.max():.2f})" in readme
    )


def test_the_gains_on_ataris_second_games_are_clear_only_at_the_end_as_the_readme_says():
    rows, cells = read_transfers()["atari"][0], [cell_of(Atari, pair) for pair in Atari.pairs]
    clear = {}
    for measure in MEASURES:
        scores = relative(rows, cells, measure)
        of_none = scores.pop("none")
        gains = {name: interval(difference, own, of_none) for name, own in scores.items()}
        clear[measure] = {name for name, gain in gains.items() if gain.low > 0}
    assert clear == {"area": set(), "final": set(scores) - {"other's Σ, frozen"}}


def test_the_readmes_scores_on_atari_are_those_of_the_table():
    rows, tuned_on = read_rows(atari_ram.OUTPUT), atari_ram.TUNED_ON
    cells = [[Cell(game, k, 1.0, "step") for game in atari_ram.GAMES] for k in (32, 128)]
    scores = [complete_arms(rows, of_k, tuned_on, of) for of in MEASURES for of_k in cells]
    quoted = quoted_in_the_readme("atari")
    assert {*quoted} == {*scores[0]} & {*scores[1]}
    for arm, said in quoted.items():
        figures = [interval(iqm, of_k[arm]) for of_k in scores]
        figures += [interval(mean, of_k[arm]) for of_k in scores[:2]]
        assert said == list(map(str, figures)), arm
    than_primitives, than_macros = (
        [interval(improvement, of_k["uniform"], of_k[other]) for of_k in scores[:2]]
        for other in ("primitives", "macros")
    )
    readme = " ".join(README.read_text().split())
    assert "is {} with 32 macros and {} with 128;".format(*than_primitives) in readme
    assert "higher than *macros*, {} and {}.".format(*than_macros) in readme
    gains = [interval(difference, of_k["overlap"], of_k["uniform"]) for of_k in scores[:2]]
    behind, ahead = (f"{x.point:+.3f} [{x.low:+.3f}, {x.high:+.3f}]" for x in gains)
    assert f"(*overlap*): {behind} with 32 macros and {ahead} with 128" in readme
    losses = [interval(difference, of_k["uniform"], of_k["permuted"]) for of_k in scores[2:]]
    said = [f"{x.point:.3f} [{x.low:.3f}, {x.high:.3f}]" for x in losses]
    assert "at the end, by {} with 32 macros and {} with 128.".format(*said) in readme
    for of_k, arm in itertools.product(scores[:2], ("meta", "permuted")):
        level = interval(difference, of_k[arm], of_k["uniform"])
        assert level.low < 0 < level.high


def test_single_games_of_atari_are_as_the_readme_says():
    rows = read_rows(atari_ram.OUTPUT)
    cells = [Cell(game, 128, 1.0, "step") for game in atari_ram.GAMES]
    scores = complete_arms(rows, cells, atari_ram.TUNED_ON)
    primitives = scores["primitives"]

    def gains(arm):
        of_games = zip(scores[arm].T, primitives.T, strict=True)
        found = (interval(difference, own[:, None], other[:, None]) for own, other in of_games)
        return dict(zip(atari_ram.GAMES, found, strict=True))

    alone = gains("macros")
    assert {game for game in alone if alone[game].low > 0} == {"Breakout", "Freeway"}
    assert {game for game in alone if alone[game].high < 0} == {"Seaquest", "SpaceInvaders"}
    penalised = gains("uniform")
    assert {game for game in penalised if penalised[game].high < 0} == {"SpaceInvaders"}
    assert interval(mean, scores["macros"]).low > interval(mean, primitives).high
    # The middle half of all runs has next to none of the games with the best and worst scores.
    for own in (primitives, scores["macros"], scores["uniform"]):
        order = own.ravel().argsort()[own.size // 4 : own.size - own.size // 4]
        kept = np.bincount(order % len(cells), minlength=len(cells)).tolist()
        assert kept[atari_ram.GAMES.index("Freeway")] + kept[atari_ram.GAMES.index("Seaquest")] < 2


def test_the_doors_rewards_in_the_readme_are_those_of_the_table():
    text = (README.parent / "docs" / "credit.md").read_text()
    table = text.split("Reward from the door, over the last fifth of the run:")[1].split("\n\n")[1]
    lines = dict(line.strip("| ").split(" | ", 1) for line in table.splitlines()[2:])
    paid = {arm: round(float(cells.split(" ")[0]), 1) for arm, cells in lines.items()}
    best = paid.pop("H-PWR")
    others = f"{min(paid.values())} to {max(paid.values())}"
    readme = " ".join(README.read_text().split())
    assert f"weights {best} of 10 where the rewards on the way vary little, and all other" in readme
    assert f"arms {others};" in readme


def quoted_in_the_readme(section):
    readme = README.read_text()
    text = re.search(rf"<!-- {section} -->(.*?)<!-- end -->", readme, re.DOTALL).group(1)
    lines = re.findall(r"^\| \*(.+?)\*(.+) \|$", text, re.MULTILINE)
    return {arm: cells.split(" | ")[1:] for arm, cells in lines}
