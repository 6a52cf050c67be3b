"""docs/evidence.md says what the tables say, and of what is missing that it is."""

import itertools
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from examples.experiments import atari_ram, minatar_games, minatar_page
from examples.experiments.arms import ARMS
from examples.experiments.comparison import (
    difference,
    headroom_share,
    improvement,
    interval,
    iqm,
    mean,
    scores_of,
)
from examples.experiments.evidence import (
    draw_minatar,
    draw_ram,
    draw_small_problems,
    page,
    tables,
)
from examples.experiments.problems import PROBLEMS
from examples.experiments.rows import Cell, Run
from examples.experiments.runs import home
from examples.experiments.small_problems_page import BY_K, by_k

ROOT = Path(__file__).parents[2]
CELLS = [Cell(problem, 64, 0.5, "decision") for problem in PROBLEMS]
LEVELS = {"uniform": 0.2, "overlap": 0.3, "meta": 0.35, "macros": 0.1, "oracle": 0.6}


def made_up(arms=LEVELS, cells=CELLS, seeds=5):
    rows = {}
    for arm, cell in ((arm, cell) for arm in arms for cell in cells):
        for strength in ARMS[arm].strengths:
            tuned = float(strength == ARMS[arm].strengths[-1])
            rows[Run(home(cell, arm), arm, strength, 100)] = {"area": tuned}
        for seed in range(seeds):
            score = LEVELS[arm] + 0.01 * seed + 0.1 * CELLS.index(cell)
            row = {"area": score, "final": score + 0.05 * seed}
            row |= {"decisions": 3_000 + seed, "updates_taken": 1_500}
            rows[Run(home(cell, arm), arm, ARMS[arm].strengths[-1], seed)] = row
    return rows


def test_the_page_is_the_one_that_the_table_gives():
    assert (ROOT / "docs" / "evidence.md").read_text() == page(*tables())


def test_a_page_of_nothing_says_that_nothing_was_run():
    text = page({}, {})
    assert ", 0 of 2896 runs are complete" in text
    assert "###" not in text
    assert "![" not in text
    assert text.count("\nNot run yet.\n") == 3


def test_leads_are_checked_on_the_seeds_beyond_the_planned_ones():
    arms = ("uniform", "meta")
    rows = made_up(arms, seeds=14)
    for run in rows:
        if run.arm == "meta" and run.is_reported and run.seed >= 10:
            rows[run] = rows[run] | {"area": rows[run]["area"] - 0.3}
    first, others = (
        interval(difference, *(scores_of(rows, CELLS, arm)[seeds] for arm in ("meta", "uniform")))
        for seeds in (slice(10), slice(10, None))
    )
    assert first.point == pytest.approx(0.15)
    assert others.point == pytest.approx(-0.15)
    said = " ".join(page(rows, {}).split())
    assert f"check them: *meta* {first.said(3)} and {others.said(3)}." in said
    assert "check them" not in page(made_up(arms, seeds=10), {})


def test_leads_on_minatar_are_checked_on_further_seeds_too():
    areas = {"primitives": (10,) * 5, "uniform": (7,) * 5, "meta": (9,) * 5}
    rows = of_minatar(areas, seeds=7)
    for run in rows:
        if run.arm == "meta" and run.is_reported and run.seed >= 5:
            rows[run] = rows[run] | {"area": rows[run]["area"] - 3}
    said = " ".join(page({}, rows).split())
    first, others = re.search(r"check them: \*meta\* (.+?) \[.*?\] and (.+?) \[", said).groups()
    # Primitives have a mean of 13.
    assert [float(first), float(others)] == pytest.approx([2 / 13, -1 / 13], abs=0.001)
    assert "first 5 seeds" in said
    assert "check them" not in page({}, of_minatar(areas, seeds=5))


def test_runs_that_only_choose_a_strength_are_counted_and_not_shown():
    tuning = {run: row for run, row in made_up().items() if not run.is_reported}
    text = page(tuning, {})
    planned = sum(run.arm != "macros" for run in tuning)
    assert f", {planned} of 2896 runs" in text
    assert "###" not in text


def test_the_number_of_runs_that_choose_strengths_is_said_for_each_k():
    cell = Cell("Breakout", 16, 1.0, "decision")
    tuning = {Run(cell, "uniform", eta, 100): {} for eta in ("1", "3")}
    assert minatar_page.tuning_runs(tuning) == "one run"
    reported = {Run(cell, "uniform", "1", seed): {} for seed in range(5)}
    assert minatar_page.tuning_runs(tuning | reported) == "one run"
    more = {Run(replace(cell, k=64), "uniform", "1", seed): {} for seed in (100, 101)}
    assert minatar_page.tuning_runs(more) == "2 runs"
    assert minatar_page.tuning_runs(tuning | more) == "one run (k = 16) or 2 runs (k = 64)"


def test_minatars_games_stand_beside_each_other():
    cells = [Cell(game, 16, 1.0, "decision") for game in minatar_games.GAMES]
    rows = {
        Run(cells[1], "macros", "", seed): {
            "area": 7.0 + seed,
            "final": 1.0,
            "decisions": 7_000,
            "updates_taken": seed,
        }
        for seed in range(3)
    }
    text = page({}, rows)
    assert (
        "| arm | decisions | updates | Asterix | Breakout | Freeway | Seaquest | SpaceInvaders |"
        in text
    )
    assert "| macros | 7,000 | 1 |  | 8.00 / 1.00 (3) |  |  |  |" in text
    assert text.count("\nNot run yet.\n") == 2


def test_minatars_figure_has_the_arms_over_k_for_each_game(tmp_path):
    rows = {
        Run(home(cell, arm), arm, "", seed): {
            "area": LEVELS["macros"] * cell.k + seed,
            "final": 1.0,
            "decisions": 1,
            "updates_taken": 1,
        }
        for arm in ("primitives", "macros")
        for k in (16, 256)
        for game in minatar_games.GAMES[:2]
        for cell in [Cell(game, k, 1.0, "decision")]
        for seed in range(3)
    }
    found = minatar_page.panels(rows)
    assert list(found) == [*minatar_games.GAMES[:2]]
    scores = {k: np.array([[LEVELS["macros"] * k + seed] for seed in range(3)]) for k in (16, 256)}
    assert found["Asterix"]["macros"] == {k: interval(iqm, own) for k, own in scores.items()}
    # Without macros every k has the same runs.
    assert found["Asterix"]["primitives"][16] == found["Asterix"]["primitives"][256]
    (tmp_path / "images").mkdir()
    by_decision, by_step = (tmp_path / figure for figure in minatar_page.FIGURES.values())
    draw_minatar(rows, tmp_path)
    assert by_decision.read_bytes().startswith(b"\x89PNG")
    assert not by_step.exists()
    text = page({}, rows)
    assert [f"]({figure})" in text for figure in minatar_page.FIGURES.values()] == [True, False]
    of_one_k = {run: row for run, row in rows.items() if run.cell.k != 256}
    assert not minatar_page.panels(of_one_k)
    of_one_seed = {run: row for run, row in rows.items() if run.seed == 0}
    assert "![" not in page({}, of_one_seed)
    by_decision.unlink()
    draw_minatar(of_one_seed, tmp_path)
    assert not by_decision.exists()


def line_of(arm, text):
    lines = [line.removeprefix("| ").removesuffix(" |").split(" | ") for line in text.splitlines()]
    at = next(n for n, line in enumerate(lines) if line[0] == arm)
    head = max(n for n in range(at) if lines[n][0] == "arm")
    return dict(zip(lines[head], lines[at], strict=True))


def of_minatar(areas, games=minatar_games.GAMES, k=16, seeds=3):
    rows = {}
    for arm, areas_of_games in areas.items():
        for game, area in zip(games, areas_of_games, strict=True):
            cell = home(Cell(game, k, 1.0, "decision"), arm)
            for seed in range(seeds):
                row = {"area": area + seed, "final": 2 * area + seed}
                row |= {"decisions": 7_000, "updates_taken": 1_700}
                rows[Run(cell, arm, ARMS[arm].strengths[-1], seed)] = row
        tuned_on = Cell(minatar_games.TUNED_ON[0], k, 1.0, "decision")
        for strength in ARMS[arm].strengths if len(ARMS[arm].strengths) > 1 else ():
            row = {"area": float(strength == ARMS[arm].strengths[-1])}
            rows[Run(tuned_on, arm, strength, 100)] = row
    return rows


def test_over_minatars_games_scores_are_in_those_of_primitives():
    areas = {"primitives": (1, 9, 19, 99, 3), "macros": (3, 4, 9, 49, 7), "uniform": (7,) * 5}
    rows = of_minatar(areas)
    text = page({}, rows)
    drawn = {arm: np.array(own) + np.arange(3)[:, None] for arm, own in areas.items()}
    scores = {arm: own / np.array([2, 10, 20, 100, 4]) for arm, own in drawn.items()}
    late = np.array([6, 8, 18, 98, 14]) + np.arange(3)[:, None]
    reference = np.array([3, 19, 39, 199, 7])
    late = late / reference
    found = line_of("macros", text)
    apart, better = (
        {c: interval(of, scores["macros"], scores[c]) for c in ("primitives", "uniform")}
        for of in (difference, improvement)
    )
    # 8.5 of 9 pairs in Asterix, none in the next three games, all in Space Invaders.
    assert better["primitives"].point == pytest.approx((8.5 / 9 + 1) / 5)
    said = {"arm": "macros", "seeds": 3, "score": interval(iqm, scores["macros"])}
    said |= {"last 30%": interval(iqm, late), "mean": interval(mean, scores["macros"])}
    said |= {"mean, last 30%": interval(mean, late)}
    said |= {"− primitives": apart["primitives"], "− macros": "", "− uniform": apart["uniform"]}
    late_uniform = (np.array([14] * 5) + np.arange(3)[:, None]) / reference
    said |= {"− uniform, last 30%": interval(difference, late, late_uniform)}
    said |= {"P(> primitives)": better["primitives"], "P(> macros)": ""}
    said |= {"P(> uniform)": better["uniform"]}
    assert list(found.items()) == [(column, str(x)) for column, x in said.items()]
    other_k = {replace(run, cell=replace(run.cell, k=64)): row for run, row in rows.items()}
    assert list(minatar_page.panels(rows | other_k)) == [minatar_page.ALL, *minatar_games.GAMES]
    assert f"\n{5 * 9 + len(ARMS['uniform'].strengths)} of 2354 runs are complete.\n" in text


def test_minatars_penalties_are_also_compared_at_the_same_eta():
    chosen = of_minatar({"primitives": (10,) * 5, "uniform": (7,) * 5, "meta": (8,) * 5})
    assert "The same with η" not in page({}, chosen)
    at_one = {
        replace(run, strength="1"): row | {"area": row["area"] + (5 if run.arm == "meta" else 2)}
        for run, row in chosen.items()
        if run.is_reported and run.arm in ("uniform", "meta")
    }
    text = page({}, at_one | chosen)
    before, after = text.split("The same with η = 1 for every penalty")
    # Primitives have a mean of 11.
    (line,) = (x for x in before.splitlines() if x.startswith("| meta | 3 |"))
    assert line.startswith(f"| meta | 3 | {9 / 11:.2f} [")
    (line,) = (x for x in after.splitlines() if x.startswith("| meta | 3 |"))
    assert line.startswith(f"| meta | 3 | {14 / 11:.2f} [")
    assert f"{14 / 11 - 10 / 11:.2f} [" in line
    assert "| 14.00 / 17.00 (3, 1) |" in after
    of_one_arm = {run: row for run, row in at_one.items() if run.arm == "meta"}
    assert "The same with η" not in page({}, of_one_arm | chosen)
    same = {replace(run, strength="annealed"): row for run, row in at_one.items()}
    chose_one = {
        run: row | {"area": float(run.strength == "1")}
        for run, row in chosen.items()
        if not run.is_reported
    }
    primitives = {run: row for run, row in chosen.items() if run.arm == "primitives"}
    rows = chose_one | at_one | same | primitives
    assert "The same with η" not in page({}, rows)
    others = {replace(run, arm="overlap"): row for run, row in at_one.items()}
    assert "| overlap | 3 |" in page({}, rows | others).split("The same with η")[1]


def test_the_same_eta_has_a_figure_where_there_is_something_to_show(tmp_path):
    (tmp_path / "images").mkdir()
    figure = tmp_path / minatar_page.SAME_ETA_FIGURE
    rows = of_minatar({"primitives": (10,) * 5, "uniform": (7,) * 5, "meta": (8,) * 5})
    draw_minatar(rows, tmp_path)
    assert not figure.exists()
    at_one = {replace(run, strength="1"): row for run, row in rows.items() if run.is_reported}
    rows |= {run: row | {"area": row["area"] + 1} for run, row in at_one.items()}
    panels = minatar_page.same_eta_panels(rows)
    assert list(panels) == ["k = 16, η = 1,\nwhole run", "k = 16, η = 1,\nlast 30%"]
    # Primitives have means of 11 and 21.
    assert panels["k = 16, η = 1,\nwhole run"]["meta"] == pytest.approx(
        np.array([[9, 10, 11]] * 5).T / 11
    )
    assert panels["k = 16, η = 1,\nlast 30%"]["meta"] == pytest.approx(
        np.array([[16, 17, 18]] * 5).T / 21
    )
    draw_minatar(rows, tmp_path)
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert f"]({minatar_page.SAME_ETA_FIGURE})" in page({}, rows)


def test_what_has_not_been_run_is_said_for_each_k_and_unit():
    rows = of_minatar({"primitives": (10,) * 5, "macros": (7,) * 5}, seeds=5)
    rows |= of_minatar({"uniform": (7,) * 5})
    rows |= of_minatar({"meta": (8,) * 4}, minatar_games.GAMES[:4], seeds=5)
    text = page({}, rows).split("Not run, or not with all seeds:")[1]
    left = [arm for arm in minatar_games.Settings().arms if arm not in ("primitives", "macros")]
    said = "; ".join(f"*{arm}*" + " (3 of 5 seeds)" * (arm == "uniform") for arm in left)
    assert f"| 16 | decisions | {said} |" in text
    # Runs without macros are the same for every k.
    assert "| 64 | decisions | *macros*; *weight decay*; " in text
    assert "| 256 | steps | all arms |" in text
    assert "*oracle*" not in text
    assert "Not run, or" not in page({}, {})


def test_where_nothing_is_left_nothing_is_said_of_it(monkeypatch):
    arms, game = ("macros", "uniform"), atari_ram.GAMES[0]
    few = replace(
        atari_ram.Settings(), arms=arms, games=(game,), k=(32,), updates=("step",), seeds=3
    )
    monkeypatch.setattr(atari_ram, "Settings", lambda: few)
    section = page({}, {}, of_memory(arms)).split("## Atari, from the console's memory")[1]
    section = section.split("## Atari, from pixels")[0]
    assert "| uniform |" in section
    assert "Not run" not in section


def test_of_the_small_problems_the_oracles_are_among_what_has_not_been_run():
    text = page(made_up(("macros", "uniform"), seeds=10), {})
    text = text.split("Not run, or not with all seeds:")[1]
    (line,) = (x for x in text.splitlines() if x.startswith("| 64 | decisions |"))
    assert line.endswith("*oracle*; *oracle, by state* |")
    assert "*uniform*" not in line
    assert "| 1024 | steps | all arms |" in text


def test_without_primitives_in_all_games_nothing_is_said_over_them():
    rows = of_minatar(
        {"primitives": (1, 9, 19, 99), "macros": (3, 4, 9, 49)}, minatar_games.GAMES[:4]
    )
    assert "P(> primitives)" not in page({}, rows)


def test_arms_stand_beside_their_controls():
    rows = made_up()
    text = page(rows, {})
    scores = {arm: scores_of(rows, CELLS, arm) for arm in LEVELS}
    (line,) = (x for x in text.splitlines() if x.startswith("| meta | 5 |"))
    assert interval(difference, scores["meta"], scores["uniform"]).said(3) in line
    assert interval(difference, scores["meta"], scores["overlap"]).said(3) in line
    assert str(interval(improvement, scores["meta"], scores["overlap"])) in line
    late = scores["meta"] + 0.05 * np.arange(5)[:, None]
    assert line.startswith(
        f"| meta | 5 | {interval(iqm, scores['meta'])} | {interval(iqm, late)} |"
    )
    share = interval(headroom_share, scores["meta"], scores["uniform"], scores["oracle"])
    assert share.point == pytest.approx(0.15 / 0.4)
    assert line.endswith(f"| {share} |")
    shown = "0.22 / 0.32 (5, annealed) | 0.32 / 0.42 (5, annealed)"
    assert f"| uniform | 3,002 | 1,500 | {shown} |" in text
    assert "| macros | 3,002 | 1,500 | 0.12 / 0.22 (5) |" in text


def test_what_has_not_been_run_in_all_problems_is_not_averaged():
    rows = made_up() | {}
    rows = {run: row for run, row in rows.items() if (run.cell, run.arm) != (CELLS[2], "meta")}
    text = page(rows, {})
    assert "| meta | 5 |" not in text
    shown = [f"{score:.2f} / {score + 0.1:.2f} (5, annealed)" for score in (0.37, 0.47, 0.67)]
    assert f"| meta | 3,002 | 1,500 | {shown[0]} | {shown[1]} |  | {shown[2]} |" in text


def test_without_headroom_there_is_no_share_of_it():
    rows = made_up()
    for run in rows:
        if run.arm == "oracle" and run.is_reported:
            rows[run] = rows[Run(run.cell, "uniform", "annealed", run.seed)]
    assert "| no clear headroom |" in page(rows, {})


def test_figures_are_drawn_where_there_is_something_to_show(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    draw_small_problems({}, tmp_path)
    draw_ram({}, images / "ram.png")
    assert not any(images.iterdir())
    draw_ram(of_memory(), images / "ram.png")
    draw_small_problems(made_up(), tmp_path)
    drawn = {"ram", "small_problems", "small_problems_differences", "small_problems_headroom"}
    assert {image.stem for image in images.iterdir()} == drawn
    assert all(image.read_bytes().startswith(b"\x89PNG") for image in images.iterdir())


def test_small_problems_are_drawn_over_k_by_unit_of_updates(tmp_path):
    (tmp_path / "images").mkdir()
    arms = ("primitives", "macros", "oracle")
    at = [("decision", 16), ("decision", 1024), ("step", 64)]
    of = {key: [Cell(p, key[1], 0.5, key[0]) for p in PROBLEMS] for key in at}
    rows = {
        Run(home(cell, arm), arm, ARMS[arm].strengths[-1], seed): {
            "area": seed / 10 + cell.k * (arm == "macros"),
            "final": 2.0 + seed,
            "decisions": 1,
            "updates_taken": 1,
        }
        for arm in arms
        for cells in of.values()
        for cell in cells
        for seed in range(3)
    }
    curves = by_k(rows)
    in_decisions = "updates counted in decisions,\n"
    assert list(curves) == [f"{in_decisions}whole run", f"{in_decisions}last 30%"]
    panel, late = curves.values()
    assert late["macros"][16].point == pytest.approx(3.0)
    assert list(late) == ["primitives", "macros"]
    assert list(panel) == ["primitives", "macros"]
    scores = {k: scores_of(rows, of["decision", k], "macros") for k in (16, 1024)}
    assert panel["macros"] == {k: interval(iqm, own) for k, own in scores.items()}
    assert panel["macros"][16].point == pytest.approx(16.1)
    assert panel["primitives"][16] == panel["primitives"][1024]
    draw_small_problems(rows, tmp_path)
    assert (tmp_path / BY_K).read_bytes().startswith(b"\x89PNG")
    assert f"]({BY_K})" in page(rows, {})
    assert f"]({BY_K})" not in page(made_up(), {})


def of_memory(arms=("macros", "uniform", "overlap")):
    rows = {}
    for arm, game in itertools.product(arms, (*atari_ram.TUNED_ON, *atari_ram.GAMES)):
        cell = Cell(game, 32, 1.0, "step")
        for strength, seed in itertools.product(ARMS[arm].strengths, range(3)):
            tunes = game in atari_ram.TUNED_ON
            row = {"area": LEVELS[arm] + seed / 100, "final": 0.5, "points": 100.0 + seed}
            row["final_points"] = 200.0 + seed
            row |= {"decisions": 40_000, "updates_taken": 70_000 + seed}
            if tunes:
                row["area"] = float(strength == "0.3")
            rows[Run(cell, arm, strength, seed + 100 * tunes)] = row
    return rows


def test_games_from_memory_are_compared_on_one_scale_and_shown_in_points():
    text = page({}, {}, of_memory())
    section = text[text.index("## Atari, from the console's memory") :]
    (line,) = (x for x in section.splitlines() if x.startswith("| overlap | 3 |"))
    (head,) = (x for x in section.splitlines() if x.startswith("| arm | seeds |"))
    found = dict(zip(head.split(" | "), line.split(" | "), strict=True))
    assert found["− macros"].startswith("0.200 [")
    assert found["− uniform"].startswith("0.100 [")
    assert found["last 30%"] == "0.50 [0.50, 0.50]"
    assert found["P(> macros)"] == "1.00 [1.00, 1.00]"
    assert "− primitives" not in found
    assert "| uniform | 40,000 | 70,001 | 101.00 / 201.00 (3, 0.3) |" in section
    assert (
        "| arm | decisions | updates | Breakout | Seaquest | MsPacman | Freeway | SpaceInvaders |"
        in section
    )
    # Ten strengths of two arms on two games and seeds, and three arms on five games and seeds.
    assert "\n85 of 2294 runs are complete.\n" in section
    assert "oracle" not in section
