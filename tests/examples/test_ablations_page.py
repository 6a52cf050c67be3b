"""What the page says of the ablations is what their rows say, and of what is missing that it is."""

import numpy as np
import pytest
import torch as th

from examples.experiments.ablations import Settings, grid
from examples.experiments.ablations_page import ablations_section, draw_ablations, scores_along
from examples.experiments.comparison import difference, interval, iqm
from examples.experiments.game_homes import HOMES
from examples.experiments.game_transfer import cell_of, compared
from examples.experiments.rows import Cell, Results, Run
from examples.experiments.runs import complete
from examples.experiments.similarity_statistics import MEANINGS
from examples.experiments.transfer_page import draw_transfers, transfer_panels
from examples.experiments.transfer_similarities import Learned, agreement_table
from examples.experiments.variants import ABLATIONS, VARIANTS, WATCHED


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch):
    monkeypatch.setattr("examples.experiments.comparison.RESAMPLES", 50)


def made_up(run):
    """Results that depend on the run, without a run."""
    digest = sum(map(ord, f"{run.arm}{run.strength}{run.cell.problem}{run.cell.share}")) % 97
    area = digest / 97 + run.seed % 7 / 1_000
    return {"area": area, "final": 2 * area, "seconds": 1.0}


def all_run(tmp_path, name, seeds=3):
    """Rows of a table that has been run, by made-up work."""
    results, table = Results(tmp_path / f"{name}.csv", {}), ABLATIONS[name]
    for share in table.shares:
        variants = tuple(table.variants(share))
        cells = grid(table, Settings(), share)
        complete(results, cells, variants, (1, seeds), made_up, 1, known=VARIANTS)
    return results.rows


def table_of(text, title):
    """The lines of a section's table, as lists of their fields, without its head."""
    section = text.split(f"### {title}\n")[1].split("\n### ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[field.strip() for field in line.strip("|").split("|")] for line in lines[2:]]


def test_a_page_of_nothing_says_that_nothing_was_run():
    text = ablations_section({}, {}, {})
    assert text.count("\n### ") == len(ABLATIONS) + len(HOMES)
    assert text.count("\n0 of ") == len(ABLATIONS) + len(HOMES)
    assert "\n|" not in text
    assert "![" not in text


@pytest.mark.parametrize("name", [name for name in ABLATIONS if name != "statistics"])
def test_what_has_been_run_fills_the_table(tmp_path, name):
    table = ABLATIONS[name]
    rows = all_run(tmp_path, name)
    lines = table_of(ablations_section(rows, {}, {}), table.title)
    assert [line[:2] for line in lines] == [[line.panel, line.label] for line in table.lines]
    for line, (_, _, seeds, *numbers) in zip(table.lines, lines, strict=True):
        assert seeds == "3"
        assert numbers[0]
        assert numbers.pop(1)
        assert bool(numbers[1]) == (line.variant != line.control)
        if table.baseline:
            assert bool(numbers.pop(2)) == (line.panel != table.baseline)
        assert all(numbers[2:])


def test_numbers_are_those_of_the_rows(tmp_path):
    rows = all_run(tmp_path, "transfer")
    text = ablations_section(rows, {}, {})
    lines = {line[1]: line for line in table_of(text, "Transfer")}
    problems = ABLATIONS["transfer"].problems

    def scores(arm):
        best = {
            problem: max(
                (row["area"], run.strength)
                for run, row in rows.items()
                if (run.arm, run.cell.problem, run.seed) == (arm, problem, 100)
            )[1]
            for problem in problems
        }
        found = [
            [
                row["area"]
                for run, row in rows.items()
                if (run.arm, run.cell.problem, run.strength) == (arm, problem, best[problem])
                and run.seed < 100
            ]
            for problem in problems
        ]
        return np.array(found).T, best

    (own, best), (control, _) = scores("own Σ, frozen"), scores("uniform, frozen")
    line = lines["own Σ, frozen"]
    assert line[2:5] == ["3", str(interval(iqm, own)), str(interval(iqm, 2 * own))]
    assert line[5] == str(interval(difference, own, control))
    assert line[6:] == [
        f"{iqm(own[:, index]):.2f} (3, {best[problem]})" for index, problem in enumerate(problems)
    ]
    assert lines["uniform, frozen"][5] == ""


def test_controls_have_the_share_of_what_they_are_beside(tmp_path):
    rows = all_run(tmp_path, "noise")
    wrong = {
        run: row | {"area": row["area"] + 5 * (run.cell.share == 0.25)} for run, row in rows.items()
    }
    for text in (ablations_section(rows, {}, {}), ablations_section(wrong, {}, {})):
        beside = {tuple(line[:2]): line[5] for line in table_of(text, "Noise among the macros")}
        assert abs(float(beside["25% mined", "overlap, frozen"].split()[0])) < 2


def test_sources_are_compared_with_the_same_line_of_the_baseline(tmp_path):
    text = ablations_section(all_run(tmp_path, "source"), {}, {})
    lines = {tuple(line[:2]): line for line in table_of(text, "Where macros come from")}
    scores = {entry: float(line[3].split()[0]) for entry, line in lines.items()}
    apart = {entry: float(line[6].split()[0]) for entry, line in lines.items() if line[6]}
    assert len(apart) == 9
    for (source, label), found in apart.items():
        expected = scores[source, label] - scores["n-grams", label]
        assert found == pytest.approx(expected, abs=0.011)
    assert len(set(apart.values())) > 6


def test_what_is_not_there_in_all_problems_is_shown_where_it_is(tmp_path):
    rows = {
        run: row
        for run, row in all_run(tmp_path, "beta").items()
        if run.cell.problem == "chain" or run.arm != "uniform, learned, β = 0.1"
    }
    lines = {line[1]: line for line in table_of(ablations_section(rows, {}, {}), "β")}
    assert lines["β = 0.1"][2:9] == [""] * 7
    assert lines["β = 0.1"][9].startswith("0.")
    assert all(lines["β = 0.01"][2:])
    in_one = {run: row for run, row in rows.items() if run.cell.problem == "chain"}
    text = ablations_section(in_one, {}, {})
    assert "![" not in text
    assert "| β = 0.1 |  |  |  |  |  |  |  | 0." in text
    draw_ablations(in_one, {}, tmp_path)
    assert not (tmp_path / "images").exists()


def test_counts_are_of_what_is_planned(tmp_path):
    rows = all_run(tmp_path, "beta", seeds=10)
    # Six variants on four problems: 4 tuning runs of 12 and the 10 reported ones are there.
    assert f"\n{6 * 4 * 14} of {6 * 4 * 22} runs at k = 64 " in ablations_section(rows, {}, {})


def watched_rows(seeds=3):
    rows = {}
    for number, variant in enumerate(WATCHED):
        for seed in range(seeds):
            columns = {
                f"{name} {look}": index + look / 10 + seed + number
                for index, name in enumerate(MEANINGS)
                for look in (1, 2, 3)
            }
            columns |= {f"cosine {look}": np.nan for look in (1, 3)}
            run = Run(Cell("chain", 64, 0.5, "decision"), variant, "1", seed)
            rows[run] = {"area": 1.0} | columns
    return rows


def test_statistics_are_told_as_they_are_where_runs_end():
    lines = table_of(ablations_section({}, watched_rows(), {}), "Σ while it is learned")
    assert [line[:3] for line in lines] == [["chain", variant, "3"] for variant in WATCHED]
    for number, line in enumerate(lines):
        expected = [index + 0.3 + 1 + number for index in range(len(MEANINGS))]
        expected[-1] -= 0.1  # the last look that told the cosine is the second
        assert line[3:] == [f"{value:.3g}" for value in expected]


def test_statistics_that_no_look_told_are_left_empty():
    rows = {
        run: row | {f"cosine {look}": np.nan for look in (1, 2, 3)}
        for run, row in watched_rows().items()
    }
    lines = table_of(ablations_section({}, rows, {}), "Σ while it is learned")
    assert [line[-1] for line in lines] == [""] * len(WATCHED)
    assert all(line[-2] for line in lines)


def rows_of_pairs(pairs, scale=1.0):
    """Rows of all variants on pairs of MinAtar's games: own Σ is better by 10 over the run."""
    return {
        Run(cell_of(HOMES["minatar"], pair), name, variant.strengths[0], seed): {
            "area": scale * (10.0 * number + seed + 10.0 * (name == "own Σ, frozen")),
            "final": scale * (20.0 + 20.0 * (name == "uniform, frozen")),
        }
        for number, pair in enumerate(pairs, start=1)
        for name, variant in compared("1").items()
        for seed in range(3)
    }


def test_transfer_is_compared_over_all_pairs_relative_to_none(tmp_path):
    pairs = HOMES["minatar"].pairs[:2]
    rows = rows_of_pairs(pairs)
    text = ablations_section({}, {}, {"minatar": (rows, {})})
    assert f"{len(rows)} of {4 * 5 * 5} runs are complete" in text
    lines = {line[0]: line[1:] for line in table_of(text, "Transfer between MinAtar's games")}
    assert list(lines) == list(compared("1"))
    none = np.array([[10.0, 20.0], [11.0, 21.0], [12.0, 22.0]]) / [11, 21]
    own = np.array([[20.0, 30.0], [21.0, 31.0], [22.0, 32.0]]) / [11, 21]
    found = lines["own Σ, frozen"]
    assert found[:3] == ["3", str(interval(iqm, own)), "1.00 [1.00, 1.00]"]
    apart = str(interval(difference, own, none))
    assert found[3:6] == [apart, apart, ""]
    assert found[6:] == ["21.00 / 20.00 (3)", "31.00 / 20.00 (3)", "", ""]
    assert lines["uniform, frozen"][2] == "2.00 [2.00, 2.00]"
    assert lines["none"][3] == ""
    panels = transfer_panels("minatar", rows)
    assert list(panels) == ["all pairs", "Breakout to SpaceInvaders", "Freeway to Asterix"]
    assert panels["all pairs"]["own Σ, frozen"] == interval(iqm, own)
    assert panels["Freeway to Asterix"]["own Σ, frozen"] == interval(iqm, own[:, 1:])
    assert "](images/transfer_minatar.png)" in text
    (tmp_path / "images").mkdir()
    draw_transfers({"minatar": (rows, {}), "atari": ({}, {})}, tmp_path)
    (drawn,) = (tmp_path / "images").iterdir()
    assert drawn.name == "transfer_minatar.png"
    assert drawn.read_bytes().startswith(b"\x89PNG")


def test_pairs_of_different_scale_count_alike_and_incomplete_ones_not_at_all():
    first, second = HOMES["minatar"].pairs[:2]
    rows = rows_of_pairs([first]) | rows_of_pairs([second], scale=100)
    same = rows_of_pairs([first]) | rows_of_pairs([second])
    panels = transfer_panels("minatar", rows)
    for title, found in transfer_panels("minatar", same).items():
        for name, expected in found.items():
            assert panels[title][name].point == pytest.approx(expected.point)
    begun = {
        run: row
        for run, row in rows.items()
        if run.cell.problem != " to ".join(second) or run.arm != "other's Σ, frozen"
    }
    assert list(transfer_panels("minatar", begun)) == [" to ".join(first)]
    text = ablations_section({}, {}, {"minatar": (begun, {})})
    lines = {line[0]: line[1:] for line in table_of(text, "Transfer between MinAtar's games")}
    assert lines["none"][1] == str(transfer_panels("minatar", begun)[" to ".join(first)]["none"])
    assert lines["none"][7] == "1100.00 / 2000.00 (3)"
    assert lines["other's Σ, frozen"][7] == ""


def learned(entries, names):
    return Learned(th.tensor(entries), names)


def test_how_far_transferred_similarities_moved_and_whether_they_agree():
    uniform = learned([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]], ("a", "b", "c"))
    moved = learned([[0, 0.8, 0.2], [0.5, 0, 0.5], [0.3, 0.7, 0]], ("a", "b", "c"))
    assert uniform.moved == pytest.approx(0)
    # Four entries differ from 1/2, by 0.3, 0.3, 0.2 and 0.2.
    assert moved.moved == pytest.approx(np.sqrt(0.26 / 1.5))
    assert moved.agreement(moved) == pytest.approx(1)
    opposite = Learned(1 - moved.similarity, moved.names)
    assert moved.agreement(opposite) == pytest.approx(-1)
    # The same entries among others, with the actions in another order.
    more = [[0, 9, 0.3, 0.7], [9, 0, 9, 9], [0.2, 9, 0, 0.8], [0.5, 9, 0.5, 0]]
    assert moved.agreement(learned(more, ("c", "d", "a", "b"))) == pytest.approx(1)
    found = {
        ("A to B", "own", 0): moved,
        ("A to B", "own", 1): moved,
        ("A to B", "other's", 0): uniform,
        ("A to B", "other's", 1): moved,
        ("B to C", "own", 0): moved,
    }
    assert agreement_table(found).splitlines()[2:] == [
        "| A to B | 0.42 | 0.21 | 1.00 | nan | nan |"
    ]
    text = ablations_section({}, {}, {"minatar": ({}, found)})
    assert agreement_table(found) in text.split("### Transfer between MinAtar's games")[1]


def test_curves_have_the_scores_of_the_table_at_each_eta(tmp_path):
    rows = all_run(tmp_path, "eta")
    curves = scores_along(rows, ABLATIONS["eta"], 64)
    lines = table_of(ablations_section(rows, {}, {}), "η")
    assert len(lines) == sum(map(len, curves.values())) == 20
    assert list(curves["uniform, learned"]) == [0.03, 0.1, 0.3, 1, 3]
    assert list(curves["uniform, frozen, summed"]) == [0.1, 0.3, 0.5, 0.7, 1]
    for panel, label, _, score, *_ in lines:
        assert str(curves[label][float(panel.removeprefix("η = "))]) == score
    (tmp_path / "images").mkdir()
    draw_ablations(rows, {}, tmp_path)
    assert (tmp_path / "images" / "ablation_eta_64.png").read_bytes().startswith(b"\x89PNG")
    at_one = {run: row for run, row in rows.items() if run.strength == "1"}
    assert scores_along(at_one, ABLATIONS["eta"], 64) == {}


def test_there_is_a_figure_for_each_table_that_has_been_run(tmp_path):
    (tmp_path / "images").mkdir()
    draw_ablations({}, {}, tmp_path)
    assert not list((tmp_path / "images").iterdir())
    rows = all_run(tmp_path, "transfer")
    draw_ablations(rows, watched_rows(), tmp_path)
    text = ablations_section(rows, watched_rows(), {})
    drawn = {path.name for path in (tmp_path / "images").iterdir()}
    assert drawn == {"ablation_transfer_64.png", "ablation_statistics_64.png"}
    for name in drawn:
        assert f"](images/{name})" in text
        assert (tmp_path / "images" / name).read_bytes().startswith(b"\x89PNG")
