"""Σ as text and as pictures, and the command that shows it."""

import re
import subprocess
import sys
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
import torch as th
from scipy.cluster.hierarchy import dendrogram, linkage
from scipy.spatial.distance import pdist

from macro_gym import MacroSet
from macro_gym.banks import load_bank
from macro_gym.errors import MissingDependencyError
from sb3_masp import FixedSimilarity, SoftmaxSimilarity, run, save_similarity
from sb3_masp.cli import main
from sb3_masp.similarity import SimilarityAbout, SimilarityError
from sb3_masp.similarity_callbacks import SimilarityHistory
from sb3_masp.similarity_report import (
    Movement,
    describe,
    draw_report,
    make_report,
    pictures,
    write_history,
)
from sb3_masp.similarity_report.clusters import cluster, neighbours
from sb3_masp.similarity_report.contents import SimilarityReport, steps_of

SVG = "{http://www.w3.org/2000/svg}"
MACROS = MacroSet(("NOOP", "FIRE", "RIGHT", "LEFT"), ((3, 3, 3), (2, 2, 0)))
HISTORY = [
    Movement(0, 1.0, 1.0, 5.5, 0.0, 0.5),
    Movement(40, 0.9, 1.0, 4.5, 0.25, 0.75, -0.125),
    Movement(80, 0.8, 1.0, 3.5, 0.5, 0.875, 0.25),
]


def stochastic(n, seed=3):
    return SoftmaxSimilarity(th.rand(n, n, generator=th.Generator().manual_seed(seed)) ** 3)


def breakout():
    return make_report(stochastic(6), SimilarityAbout.of(MACROS, 80, 900), HISTORY)


def texts(figure):
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(Text)]


def test_the_tree_is_scipys_dendrogram_whatever_way_it_is_drawn():
    similarity = np.random.default_rng(5).random((13, 13))
    before = similarity.copy()
    clusters = cluster(similarity)
    np.testing.assert_array_equal(similarity, before)
    rows = (similarity + similarity.T) / 2
    np.fill_diagonal(rows, rows.max())
    tree = dendrogram(linkage(rows, "average", optimal_ordering=True), no_plot=True)
    assert clusters.order.tolist() == tree["leaves"]
    drawn = {
        (round(i[1] / 10 - 0.5, 9), round(i[2] / 10 - 0.5, 9), *np.round([d[0], d[1], d[3]], 9))
        for i, d in zip(tree["icoord"], tree["dcoord"], strict=True)
    }
    ours = {tuple(sorted(f[:2])) + tuple(np.round(f[[2, 3, 4]], 9)) for f in clusters.forks}
    swapped = {tuple(sorted(f[:2])) + tuple(np.round(f[[4, 3, 2]], 9)) for f in clusters.forks}
    assert len(drawn) == 12
    assert drawn <= ours | swapped


def test_like_actions_stand_side_by_side_and_meet_below_the_others():
    groups = np.array([0, 1, 0, 1, 1, 0, 1])
    similarity = (groups[:, None] == groups[None, :]) + 0.01 * np.random.default_rng(2).random(
        (7, 7)
    )
    clusters = cluster(similarity)
    assert (np.diff(groups[clusters.order]) != 0).sum() == 1
    heights = np.sort(clusters.forks[:, 3])
    assert heights[-1] > 10 * heights[-2]


def test_the_first_fork_is_of_the_two_nearest_rows():
    similarity = np.random.default_rng(7).random((5, 5))
    rows = (similarity + similarity.T) / 2
    np.fill_diagonal(rows, rows.max())
    assert cluster(similarity).forks[0, 3] == pytest.approx(pdist(rows).min())


def test_trees_deeper_than_recursion_goes_are_drawn():
    clusters = cluster(np.full((1_103, 1_103), 1 / 1_102))
    assert sorted(clusters.order) == list(range(1_103))
    assert (clusters.forks[:, 3] == 0).all()


def test_neighbours_are_the_largest_entries_of_the_row_and_never_the_action():
    similarity = np.random.default_rng(3).random((7, 7))
    nearest = neighbours(similarity, 3)
    for row in range(7):
        others = sorted(set(range(7)) - {row}, key=lambda other: -similarity[row, other])
        assert nearest[row].tolist() == others[:3]
    assert neighbours(similarity, 99).shape == (7, 6)
    assert neighbours(np.ones((3, 3)), 2).tolist() == [[1, 2], [0, 2], [0, 1]]


def test_names_say_the_steps_where_the_file_does_not():
    assert tuple(map(steps_of, MACROS.names)) == breakout().steps
    assert steps_of("A×1234") == ("A×1234",)


def test_names_of_other_actions_are_refused():
    now = Movement(0, 1.0, 1.0, 1.0, 0.0)
    with pytest.raises(SimilarityError, match="Σ is of 3 actions, but there are 2 names"):
        SimilarityReport(np.eye(3), ("a", "b"), (("a",),) * 3, SimilarityAbout(), "fixed", now)


def test_the_text_says_the_figures_and_each_actions_neighbours():
    report = breakout()
    text = describe(report, top=5, most=2)
    lines = text.splitlines()
    assert lines[0] == "Similarity of 6 actions"
    assert re.search(r"^frames of training +900$", text, re.MULTILINE)
    assert re.search(r"^agreement with distances of values +0\.25$", text, re.MULTILINE)
    assert lines[-1] == "and 1 more"
    first, second = neighbours(report.similarity, 2)[4]
    strips = ["·", "•", "→", "←", "←←←", "→→·"]
    entries = report.similarity[4]
    words = [
        "←←←",
        strips[first],
        f"{entries[first]:.3g}",
        strips[second],
        f"{entries[second]:.3g}",
    ]
    assert lines[-2].split() == words


def test_rows_later_than_the_similarity_are_left_out_and_agreement_is_of_its_moment():
    report = make_report(stochastic(6), SimilarityAbout.of(MACROS, 41), HISTORY)
    assert report.history == tuple(HISTORY[:2])
    assert np.isnan(report.now.agreement)
    assert breakout().now.agreement == 0.25
    assert breakout().now.effective_rank != 3.5


@pytest.mark.parametrize("n_actions", [2, 5, 131])
def test_the_map_names_every_action_in_the_trees_order(n_actions):
    names = [f"${i}$" for i in range(n_actions)]
    similarity = stochastic(n_actions)().detach().numpy()
    figure = pictures.heat_map(similarity, names)
    axes = figure.axes[1]
    order = [names[action] for action in cluster(similarity).order]
    assert [label.get_text() for label in axes.get_xticklabels()] == order
    assert [label.get_text() for label in axes.get_yticklabels()] == order
    shown = axes.images[0].get_array()
    expected = similarity[np.ix_(*[cluster(similarity).order] * 2)]
    off = ~np.eye(n_actions, dtype=bool)
    np.testing.assert_array_equal(shown[off], expected[off])
    assert np.ma.getmaskarray(shown)[~off].all()


def test_names_of_many_actions_are_thinned_and_the_title_says_so():
    figure = pictures.heat_map(
        np.random.default_rng(2).random((331, 331)), [str(i) for i in range(331)]
    )
    assert len(figure.axes[1].get_yticklabels()) == 111
    assert "one in 3 is named" in figure.axes[1].get_title()


def test_colours_span_what_is_off_the_diagonal_but_for_a_few_and_are_two_sided_where_needed():
    similarity = np.eye(5) * 9 + np.arange(25).reshape(5, 5) / 100
    assert pictures.colour_range(similarity) == ("viridis", 0.01, 0.23)
    assert pictures.colour_range(np.full((3, 3), 0.5)) == ("viridis", 0.0, 0.5)
    assert pictures.colour_range(np.eye(3)) == ("viridis", 0.0, 1.0)
    assert pictures.colour_range(similarity - 0.2) == ("RdBu_r", -0.19, 0.19)
    many = np.random.default_rng(4).random((101, 101))
    many[0, 1] = 1_000
    assert pictures.colour_range(many)[2] < 1


def test_strips_stand_beside_those_of_their_neighbours():
    report = breakout()
    figure = pictures.neighbour_strips(report, 2)
    panels = [[t.get_text() for t in axes.texts] for axes in figure.axes]
    symbols = dict(zip(MACROS.primitives, "·•→←", strict=True))
    order = cluster(report.similarity).order
    nearest = neighbours(report.similarity, 2)
    for rank, panel in enumerate(panels):
        expected = []
        for action in order:
            shown = action if rank == 0 else nearest[action, rank - 1]
            expected += [symbols[name] for name in report.steps[shown]]
            expected += [f"{report.similarity[action, shown]:.3f}"] * (rank > 0)
        assert panel == expected


def test_curves_are_the_history():
    figure = pictures.curves(HISTORY)
    assert len(figure.axes) == 6
    for axes, name in zip(figure.axes, Movement._fields[1:], strict=True):
        assert axes.lines[0].get_xdata().tolist() == [0, 40, 80]
        expected = [getattr(row, name) for row in HISTORY]
        np.testing.assert_array_equal(axes.lines[0].get_ydata(), expected)


def test_pictures_are_written_as_png_and_svg(tmp_path):
    paths = draw_report(breakout(), tmp_path)
    assert [path.name for path in paths] == [
        f"{name}.{suffix}"
        for name in ("similarity", "neighbours", "history")
        for suffix in ("png", "svg")
    ]
    for path in paths:
        if path.suffix == ".png":
            assert path.read_bytes().startswith(b"\x89PNG")
        else:
            assert ElementTree.parse(path).getroot().tag == f"{SVG}svg"
    without = make_report(FixedSimilarity(th.eye(2)), SimilarityAbout())
    assert len(draw_report(without, tmp_path / "other", formats=["png"])) == 2


@pytest.mark.parametrize("module", ["matplotlib.figure", "scipy.cluster.hierarchy"])
def test_what_is_missing_is_said(module, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'macro-gym\[plots\]'"):
        draw_report(breakout(), tmp_path)


def test_a_file_is_shown_on_the_command_line(tmp_path, capsys):
    save_similarity(tmp_path / "a.safetensors", stochastic(6), SimilarityAbout.of(MACROS, 80))
    write_history(tmp_path / "similarity.csv", HISTORY)
    page = tmp_path / "page.html"
    words = ["similarity", "show", str(tmp_path / "a.safetensors"), "--top", "1", "--html"]
    assert main([*words, str(page), "--output", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert "and 5 more" in out
    assert f"page     {page}" in out
    # The table beside a file of another name is some other run's.
    assert sorted(path.stem for path in (tmp_path / "out").glob("*.svg")) == [
        "neighbours",
        "similarity",
    ]
    assert page.read_text().startswith("<!doctype html>")


def test_a_run_is_shown_with_its_history_under_way_and_finished_and_resumed(
    tmp_path, capsys, monkeypatch
):
    MACROS.save(tmp_path / "macros.json")
    config = run.TrainConfig(
        frames=8_600,
        macros=tmp_path / "macros.json",
        obs_type="ram",
        net_arch=(7,),
        threads=1,
        run=tmp_path / "whole",
        checkpoint_every=400,
        learner=run.LearnerConfig(buffer_size=500, learning_starts=300, train_freq=50),
    )
    model = run.train(config, progress_bar=False)

    original = SimilarityHistory._on_step

    def on_step(self):
        if self.num_timesteps == 1_150:
            raise InterruptedError
        return original(self)

    folder, page = tmp_path / "parts", tmp_path / "page.html"
    with monkeypatch.context() as patch:
        patch.setattr(SimilarityHistory, "_on_step", on_step)
        with pytest.raises(InterruptedError):
            run.train(replace(config, run=folder), progress_bar=False)
    # The last checkpoint is of decision 800, the table's last row of decision 1000.
    assert decisions(folder) == [0, 1_000]
    assert main(["similarity", "show", str(folder), "--html", str(page)]) == 0
    assert re.search(r"^decisions of training +800$", capsys.readouterr().out, re.MULTILINE)
    run.resume(folder, progress_bar=False)
    assert decisions(folder) == [0, 1_000, model.num_timesteps]
    table = (tmp_path / "whole" / "similarity.csv").read_bytes()
    assert (folder / "similarity.csv").read_bytes() == table
    assert main(["similarity", "show", str(folder), "--html", str(page)]) == 0
    assert f" {model.num_timesteps:,}\n" in capsys.readouterr().out
    assert page.read_text().count("<figure") == 6


def decisions(folder):
    rows = (folder / "similarity.csv").read_text().splitlines()[1:]
    return [int(row.partition(",")[0]) for row in rows]


def test_a_learner_without_a_penalty_has_no_history(tmp_path):
    config = run.TrainConfig("CartPole-v1", "dqn", frames=60, run=tmp_path / "run", threads=1)
    run.train(config, progress_bar=False)
    assert not (tmp_path / "run" / "similarity.csv").exists()


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["nowhere.safetensors"], "there is no similarity file nowhere.safetensors"),
        (["."], "holds no run"),
        (["--top", "-1", "x"], "top is -1; it must be at least 0"),
        (["--neighbours", "0", "x"], "neighbours is 0; it must be at least 1"),
    ],
)
def test_what_cannot_be_shown_is_said(words, problem, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["similarity", "show", *words]) == 2
    assert problem in capsys.readouterr().err


def test_the_command_line_starts_without_matplotlib_and_scipy():
    code = (
        "import sys; sys.modules['matplotlib'] = sys.modules['scipy'] = None; import sb3_masp.cli"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_bank_of_512_macros_is_reported():
    report = make_report(stochastic(516), SimilarityAbout.of(load_bank("breakout")))
    assert describe(report, top=1).endswith("and 515 more")


def test_the_header_lines_up_over_names_that_are_shorter_than_itself():
    text = describe(make_report(stochastic(3), SimilarityAbout(("a", "b", "c"))))
    header, row = text.split("\n\n")[-1].splitlines()[:2]
    assert header.index("nearest") == re.match(r"a +", row).end()


def test_rows_are_all_kept_where_nobody_said_how_old_a_similarity_is():
    report = make_report(stochastic(6), SimilarityAbout.of(MACROS), HISTORY)
    assert report.history == tuple(HISTORY)
