"""The ablations: their variants, where macros and carried similarities come from, their rows."""

from dataclasses import replace

import numpy as np
import pytest
import torch as th
from scipy.stats import spearmanr

from examples.experiments import ablations
from examples.experiments.ablations import Settings, carried_over, learn, macros_from, main
from examples.experiments.comparison import scores_of
from examples.experiments.problems import PROBLEMS, macros, play
from examples.experiments.rows import Cell, Results, Run, read_rows
from examples.experiments.runs import chosen_strength, complete, missing
from examples.experiments.similarity_statistics import curves
from examples.experiments.small_problems import Budget, train
from examples.experiments.table import optimal_q_values, with_macros
from examples.experiments.trial import Trial
from examples.experiments.variants import ABLATIONS, ETAS, OTHERS, STARTS, VARIANTS, WATCHED
from macro_gym.extraction import ExtractionSettings, mine_byte_pairs
from sb3_masp.callbacks import FrameBudget

CELL = Cell("rooms, near", 11, 0.5, "decision")
TINY = Budget(steps=230, looks=3, learner=Budget().learner | {"learning_starts": 30})


def trained(name, cell=CELL, strength="1", seed=3):
    variant = VARIANTS[name]
    macro_set = macros_from(variant.source, cell, seed)
    own = variant.learner_arguments(strength)
    return train(TINY, Run(cell, name, strength, seed), macro_set, own, FrameBudget(TINY.steps))[0]


def test_a_frozen_similarity_stays_where_the_learned_one_of_its_name_starts():
    for start in (*STARTS, "identity"):
        frozen, learned = (trained(f"{start}, {how}").similarity for how in ("frozen", "learned"))
        everyone = th.arange(frozen.n_actions)
        th.testing.assert_close(frozen(), learned.start_rows(everyone))
        assert not th.allclose(learned(), frozen(), atol=1e-4)


def test_starts_are_different_matrices():
    starts = [trained(f"{start}, frozen").similarity() for start in (*STARTS, "identity")]
    for index, start in enumerate(starts):
        th.testing.assert_close(start.sum(dim=1), th.ones(len(start)))
        for other in starts[:index]:
            assert (start - other).abs().max() > 0.01
    assert starts[-1].diag().min() > 0.5
    assert all(start.diag().max() < 1e-6 for start in starts[:-1])


def test_variants_say_what_their_names_say():
    arguments = {name: v.learner_arguments(v.strengths[0]) for name, v in VARIANTS.items()}
    assert arguments["none"]["eta"] == 0
    assert VARIANTS["uniform, learned, η = 0.03"].strengths == ("0.03",)
    assert arguments["uniform, learned, summed, η = 0.7"]["penalty_reduction"] == "sum"
    assert arguments["uniform, learned, β = 0.005"]["meta_learning_rate"] == 0.005
    assert VARIANTS["none, planner"].source == "planner"
    assert VARIANTS["uniform, frozen, byte pairs"].source == "byte pairs"
    default = trained("uniform, learned")
    assert default.meta_learning_rate == 0.01
    assert default.penalty_reduction == "mean"


def test_a_carried_similarity_is_the_one_that_an_earlier_run_ended_with():
    for name, problem in (("own Σ, frozen", CELL.problem), ("other's Σ, frozen", "rooms, far")):
        run = Run(CELL, name, "3", 5)
        macro_set = macros_from("play", CELL, 5)
        carried = carried_over(TINY, run, macro_set)
        own = {"similarity_start": "uniform", "eta": 3.0}
        earlier = Run(replace(CELL, problem=problem), "", "", 1_005)
        model, _ = train(TINY, earlier, macro_set, own, FrameBudget(TINY.steps))
        th.testing.assert_close(carried(), model.similarity())
        used = VARIANTS[name].learner_arguments("3") | {"similarity": carried}
        after, _ = train(TINY, run, macro_set, used, FrameBudget(TINY.steps))
        th.testing.assert_close(after.similarity(), carried())
        assert (carried() - 1 / (len(carried()) - 1)).fill_diagonal_(0).abs().max() > 1e-3
    assert learn(TINY, run) | {"seconds": 0} == learn(TINY, run) | {"seconds": 0}


def test_problems_that_carry_over_have_the_same_macros():
    for problem, other in OTHERS.items():
        assert macros(problem, 64, 0.5, 7) == macros(other, 64, 0.5, 7)


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_source_has_macros_enough_and_its_own(name):
    cell = Cell(name, 64, 1.0, "decision")
    found = {source: macros_from(source, cell, 2) for source in ("play", "byte pairs", "planner")}
    problem = PROBLEMS[name]()
    played = list(play(problem, np.random.default_rng(2), 10_000))
    settings = ExtractionSettings(64, primitives=problem.primitives)
    assert found["byte pairs"] == mine_byte_pairs(played, settings)
    assert found["play"] == macros(name, 64, 1.0, 2)
    assert {len(macro_set.macros) for macro_set in found.values()} == {64}
    assert len({macro_set.macros for macro_set in found.values()}) == 3
    assert macros_from("planner", cell, 3) != found["planner"]


def test_sources_other_than_play_are_not_mixed_with_noise():
    with pytest.raises(ValueError, match=r"share is 0\.5; macros of planner are never mixed"):
        macros_from("planner", CELL, 0)


def test_play_errs_more_the_more_it_is_told_to():
    problem = PROBLEMS["chain"]()
    lengths = []
    for errors in (0.0, 0.01, 0.1, 0.5):
        episodes = list(play(problem, np.random.default_rng(0), 9_000, errors))
        lengths.append(np.mean([len(episode.actions) for episode in episodes]))
        # The goal is 24 steps from the first place at most; from itself there is one step to take.
        assert errors or max(len(episode.actions) for episode in episodes) == 24
    assert lengths == sorted(lengths)
    assert lengths[2] > 1.05 * lengths[0]


def test_a_run_that_is_watched_is_the_run_that_is_not():
    for name in ("uniform, learned, η = 1", "overlap, frozen"):
        run = Run(CELL, name, "1", 3)
        alone, watched = learn(TINY, run), learn(TINY, run, is_watched=True)
        assert alone | {"seconds": 0} == {k: watched[k] for k in alone} | {"seconds": 0}
        assert len(watched) > len(alone)


def test_what_is_watched_is_what_the_similarity_is():
    """A frozen Σ, so that it is known at every look."""
    row = learn(TINY, Run(CELL, "overlap, frozen", "1", 3), is_watched=True)
    similarity = trained("overlap, frozen").similarity().detach().double().numpy()
    actions = len(similarity)
    beside = similarity[~np.eye(actions, dtype=bool)].reshape(actions, actions - 1)
    entropy = -np.sum(np.where(beside > 0, beside * np.log(beside), 0), axis=1).mean()
    table = with_macros(PROBLEMS[CELL.problem]().table, macros_from("play", CELL, 3))
    q_values = optimal_q_values(table)
    apart = np.abs(q_values[:, :, None] - q_values[:, None]).mean(axis=0)
    pairs = ~np.eye(actions, dtype=bool)
    for look in (1, 2, 3):
        assert row[f"entropy {look}"] == pytest.approx(entropy / np.log(actions - 1), abs=1e-5)
        assert row[f"mass {look}"] == pytest.approx(1, abs=1e-6)
        gap = np.sqrt(np.square(np.eye(actions) - similarity).sum() / actions)
        assert row[f"gap {look}"] == pytest.approx(gap, abs=1e-5)
        assert row[f"distance {look}"] == 0
        expected = spearmanr(similarity[pairs].round(9), -apart[pairs].round(9)).statistic
        assert row[f"agreement {look}"] == pytest.approx(expected, abs=2e-3)
        assert np.isnan([row[f"gradient {look}"], row[f"cosine {look}"]]).all()
    assert "entropy 4" not in row


def test_a_similarity_that_learns_is_seen_to_move():
    budget = replace(TINY, steps=700, learner=TINY.learner | {"train_freq": 1})
    row = learn(budget, Run(CELL, "uniform, learned", "1", 3), is_watched=True)
    for name, most in (("distance", np.inf), ("gradient", 1.0)):
        values = curves(row, name)
        assert values.shape == (3,)
        assert ((values > 0) & (values < most)).all()
    assert (np.diff(curves(row, "distance")) > 0).all()
    told = curves(row, "cosine")
    assert (np.abs(told[~np.isnan(told)]) <= 1).all()
    assert not np.isnan(told).all()
    with_diagonal = learn(
        budget, Run(CELL, "uniform with diagonal, learned", "1", 3), is_watched=True
    )
    assert 0 < with_diagonal["mass 3"] < 1 - 1e-4


def test_curves_are_in_the_order_of_the_looks():
    row = {f"entropy {look}": look / 20 for look in (10, 2, 1, 11)} | {"area": 3.0, "gap 1": 7.0}
    np.testing.assert_array_equal(curves(row, "entropy"), np.array([1, 2, 10, 11]) / 20)


def test_variants_choose_their_strengths_like_arms():
    rows = {
        Run(CELL, "permuted, learned", strength, seed): {"area": score, "seconds": 1.0}
        for strength, score in (("0.1", 0.3), ("0.3", 0.1), ("1", 0.5), ("3", 0.2))
        for seed in (100, 101)
    }
    lure = {Run(CELL, "permuted, learned", "3", 0): {"area": 9.0, "seconds": 1.0}}
    assert chosen_strength(rows | lure, CELL, "permuted, learned", known=VARIANTS) == "1"
    names = ("permuted, learned", "none")
    left = missing(rows | lure, [CELL], names, (2, 3), known=VARIANTS)
    assert [(run.arm, run.strength, run.seed) for run in left] == [
        *(("permuted, learned", "1", seed) for seed in range(3)),
        *(("none", "", seed) for seed in range(3)),
    ]


def test_tables_share_the_runs_that_they_have_in_common(tmp_path):
    asked = []

    def work(run):
        asked.append(run)
        return {"area": len(asked) % 7 / 7 + 0.1 * (run.strength == "0.3"), "seconds": 1.0}

    results = Results(tmp_path / "rows.csv", {})
    for name in ("eta", "initialisation", "beta"):
        variants = tuple(ABLATIONS[name].variants(0.5))
        complete(results, [CELL], variants, (2, 3), work, 1, known=VARIANTS)
    assert len(set(asked)) == len(asked)
    for arm in ("uniform, frozen", "uniform, learned"):
        reported = {(run.strength, run.seed) for run in asked if run.arm == arm and run.is_reported}
        # What was chosen is among what the table of η had asked for.
        assert reported == {(eta, seed) for eta in ETAS for seed in range(3)}
    control, summed = (
        scores_of(results.rows, [CELL], name, known=VARIANTS).tolist()
        for name in ("uniform, frozen, η = 0.1", "uniform, frozen, summed, η = 0.1")
    )
    assert control == [
        [results.rows[Run(CELL, "uniform, frozen", "0.1", seed)]["area"]] for seed in range(3)
    ]
    assert summed != control


def test_a_fixed_strength_is_the_variant_that_its_name_begins_with():
    for name, variant in VARIANTS.items():
        if variant.runs_of:
            (eta,) = variant.strengths
            assert name == f"{variant.runs_of}, η = {eta}"
            of_both = variant, VARIANTS[variant.runs_of]
            first, second = (found.learner_arguments(eta) for found in of_both)
            assert first == second


@pytest.mark.parametrize("name", ABLATIONS)
def test_lines_of_a_table_are_told_apart_and_have_their_controls(name):
    table = ABLATIONS[name]
    said = [(line.panel, line.label) for line in table.lines]
    assert len(set(said)) == len(said)
    runs = {share: set(table.variants(share)) for share in table.shares}
    for line in table.lines:
        assert line.variant in runs[line.share]
        assert table.is_watched or line.control in runs[line.share]
        if line.control != "none":
            alike = VARIANTS[line.variant], VARIANTS[line.control]
            assert alike[0].source == alike[1].source
            assert (
                line.label == "none" or alike[0].strengths == alike[1].strengths or table.is_watched
            )


def test_the_smoke_run_is_gone_on_with_and_has_a_row_for_each_variant(tmp_path):
    output = tmp_path / "rows.csv"
    settings = Settings(output=output, smoke=True, tables=("transfer", "statistics"), workers=1)
    main(settings)
    rows = read_rows(output)
    watched = read_rows(ablations.watched_output(output))
    assert {run.arm for run in rows} == set(ABLATIONS["transfer"].variants(0.5))
    assert {run.arm for run in watched} == {*WATCHED}
    written = output.read_bytes()
    main(settings)
    assert output.read_bytes() == written


def test_without_being_told_to_run_it_only_says_what_it_would(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Trial, "seconds", lambda self, run: 1.0)
    output = tmp_path / "rows.csv"
    main(Settings(output=output, tables=("beta", "noise"), problems=("chain",), seeds=7))
    said = capsys.readouterr().out.splitlines()
    # Five values of β and the control, each 4 strengths on 3 seeds, then 7 to report.
    assert said[0].startswith(f"beta, 50% of the macros mined: {6 * (12 + 7)} runs to do")
    # Three penalties, and none.
    assert [line.split(" runs")[0].split(": ")[1] for line in said[1:]] == [str(3 * 19 + 7)] * 5
    assert not output.exists()
