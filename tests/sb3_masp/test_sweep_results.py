"""Scores, intervals and the table, of numbers by hand."""

import json

import numpy as np
import pytest
from matplotlib.image import imread

from sb3_masp.callbacks import Episode
from sb3_masp.sweeps.results import area_under_curve, final_score, write_table
from sb3_masp.sweeps.summary import OVERALL, draw_intervals, intervals, iqm, table, write_intervals

EPISODES = [Episode(20, 7, 5.0, 7), Episode(50, 13, 2.0, 6), Episode(90, 23, 11.0, 10)]


def rows(scores, measure="final_score"):
    """A table of scores by (game, arm), one for each seed."""
    other = {"final_score": "area_under_curve", "area_under_curve": "final_score"}[measure]
    return [
        {"game": game, "arm": arm, "seed": seed, measure: score, other: None}
        for (game, arm), of_seeds in scores.items()
        for seed, score in enumerate(of_seeds)
    ]


def test_the_final_score_is_the_mean_over_episodes_that_ended_in_the_last_share():
    assert final_score(EPISODES, 100, 0.3) == 11.0
    assert final_score(EPISODES, 100, 0.51) == (2 + 11) / 2
    assert final_score(EPISODES, 100, 0.5) == 11.0  # an end at frame 50 is of the first half
    assert final_score(EPISODES, 100, 1.0) == (5 + 2 + 11) / 3
    assert final_score(EPISODES, 100, 0.01) == 11.0
    assert final_score([], 100, 0.3) is None


def test_the_area_under_the_curve_weighs_scores_by_their_frames():
    assert area_under_curve(EPISODES) == pytest.approx((20 * 5 + 30 * 2 + 40 * 11) / 90)
    assert area_under_curve([]) is None


def test_the_table_has_a_line_for_each_row_and_nothing_for_none(tmp_path):
    names = ("arm", "x")
    write_table(tmp_path / "t.csv", [{"arm": "a,b", "x": None}, {"arm": "c", "x": 0.1}], names)
    assert (tmp_path / "t.csv").read_text() == 'arm,x\n"a,b",\nc,0.1\n'


def test_the_interquartile_mean_is_that_of_the_middle_half_and_its_interval_of_redrawn_runs():
    by_hand = np.array([[0.0], [1.0], [2.0], [5.0], [7.0], [11.0], [40.0], [90.0]])
    assert iqm(by_hand)[0] == (2 + 5 + 7 + 11) / 4
    rng = np.random.default_rng(5)
    scores = rng.normal(50.0, 7.0, (23, 1))
    drawn = np.sort(rng.choice(scores[:, 0], (20_000, 23)), axis=1)[:, 5:-5].mean(axis=1)
    naive = np.percentile(drawn, [2.5, 97.5])
    assert np.allclose(iqm(scores)[1:], naive, atol=0.05 * np.ptp(naive))


def test_intervals_are_the_same_whatever_was_drawn_before_and_draw_nothing_from_the_global_one():
    scores = np.random.default_rng(5).normal(size=(7, 2))
    np.random.seed(1)
    first = iqm(scores)
    np.random.seed(2)
    expected = np.random.RandomState(2).rand(3)
    assert iqm(scores) == first
    assert np.array_equal(np.random.rand(3), expected)
    assert iqm(scores, seed=3)[1:] != first[1:]


def test_an_arms_intervals_do_not_depend_on_the_others():
    of_a = {("CartPole-v1", "a"): [1.0, 5.0, 7.0]}
    alone = intervals(rows(of_a))
    beside = intervals(rows({("CartPole-v1", "b"): [2.0, 3.0, 4.0]} | of_a))
    assert alone == [interval for interval in beside if interval.arm == "a"]
    assert [interval.runs for interval in beside] == [3, 3]


def test_runs_without_a_score_do_not_count_and_arms_without_any_are_left_out():
    found = intervals(rows({("X-v0", "a"): [3.0, None, 5.0], ("X-v0", "b"): [None, None, None]}))
    assert [(interval.arm, interval.runs, interval.iqm) for interval in found] == [("a", 2, 4.0)]


def test_games_are_taken_together_where_humans_have_played_them_over_seeds_of_all_of_them():
    scores = {
        ("MacroALE/Breakout-v5", "a"): [1.7, 30.5, None],  # random play, human play
        ("MacroALE/Pong-v5", "a"): [-20.7, 14.6, 14.6],
    }
    found = {interval.game: interval for interval in intervals(rows(scores))}
    assert found["MacroALE/Pong-v5"].runs == 3
    assert found[OVERALL].runs == 2
    assert found[OVERALL].iqm == pytest.approx(0.5)
    unknown = {**scores, ("CartPole-v1", "a"): [1.0, 2.0, 3.0]}
    assert OVERALL not in {interval.game for interval in intervals(rows(unknown))}


def test_intervals_are_written_printed_and_drawn(tmp_path):
    found = intervals(rows({("X-v0", "a"): [1.0, 2.0, 6.0], ("X-v0", "longer"): [4.0, 4.0, 4.0]}))
    write_intervals(tmp_path / "s.json", found, 0.3)
    content = json.loads((tmp_path / "s.json").read_text())
    assert "last 30% of the frames" in content["final_score"]
    assert content["intervals"][1] | {"low": 4.0, "high": 4.0} == content["intervals"][1]
    text = table(found).splitlines()
    assert text[0] == "X-v0: final score, interquartile mean over runs"
    assert text[3].split() == ["longer", "3", "4", "[4,", "4]"]
    draw_intervals(tmp_path / "s.png", found)
    draw_intervals(tmp_path / "s.svg", found)
    assert imread(tmp_path / "s.png").std() > 0.01
    assert "</svg>" in (tmp_path / "s.svg").read_text()
