"""Transfer between games: whose Σ a run has, of which macros, and that it is learned once."""

from dataclasses import replace

import numpy as np
import pytest
import torch as th

from examples.experiments import atari_ram, minatar_games
from examples.experiments.game_homes import HOMES, Atari, MinAtar
from examples.experiments.game_transfer import (
    Settings,
    cell_of,
    compared,
    earlier,
    learn,
    main,
)
from examples.experiments.rows import Run, read_rows
from examples.experiments.run_table import ExperimentError
from examples.experiments.transfer_similarities import read_similarities
from sb3_masp.similarity import load_similarity, transferred_similarity

TINY = {"learning_starts": 20, "buffer_size": 500}
PAIR = ("Breakout", "SpaceInvaders")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    budget = minatar_games.Budget()
    short = {"steps": 230, "player_steps": 230, "play": 900}
    budget = replace(budget, **short, learner=budget.learner | TINY)
    home = MinAtar(tmp_path_factory.mktemp("play"), budget)
    for game in PAIR:
        home.prepare(game)
    return home


def run_of(home, arm, seed=2):
    return Run(replace(cell_of(home, PAIR), k=23), arm, "1", seed)


def test_all_actions_of_a_pairs_first_game_are_in_its_second():
    atari = Atari(atari_ram.Budget())
    for source, target in atari.pairs:
        macro_set = atari.macros(source, 5)
        env = atari.make(target, macro_set)
        assert set(macro_set.primitives) <= set(env.get_wrapper_attr("macro_set").primitives)
        assert env.get_wrapper_attr("macro_set").n_actions >= macro_set.n_actions
    for source, target in MinAtar.pairs:
        names = [set(minatar_games.make(game).get_action_meanings()) for game in (source, target)]
        assert names[0] <= names[1]


def test_similarities_are_learned_once_on_the_game_that_is_asked_for(home, tmp_path):
    files = {game: earlier(home, tmp_path, game, run_of(home, "own Σ, frozen")) for game in PAIR}
    stamps = {game: path.stat().st_mtime_ns for game, path in files.items()}
    for game in PAIR:
        again = earlier(home, tmp_path, game, run_of(home, "other's Σ, frozen"))
        assert (again, again.stat().st_mtime_ns) == (files[game], stamps[game])
        similarity, about = load_similarity(again)
        assert about.frames == 230
        uniform = (1 - th.eye(similarity.n_actions)) / (similarity.n_actions - 1)
        assert (similarity() - uniform).abs().max() > 1e-5
        # Both games have the macros of the first, and their own primitives.
        assert about.macros_of_actions.names[-23:] == home.macros("Breakout", 23).names[-23:]
        primitives = tuple(minatar_games.make(game).get_action_meanings())
        assert about.macros_of_actions.primitives == primitives
    other_seed = earlier(home, tmp_path, PAIR[1], run_of(home, "own Σ, frozen", seed=3))
    of_seeds = [load_similarity(path)[0]() for path in (other_seed, files[PAIR[1]])]
    assert (of_seeds[0] - of_seeds[1]).abs().max() > 1e-5


def test_a_run_has_the_similarity_of_the_game_that_its_name_says(home, tmp_path, monkeypatch):
    given = {}
    learner = MinAtar.learner

    def noted(self, env, seed, own):
        model = learner(self, env, seed, own)
        if seed < 1_000:
            given[arm] = model.similarity().clone(), model
        return model

    monkeypatch.setattr(MinAtar, "learner", noted)
    for arm in compared("1"):
        row = learn(home, tmp_path, run_of(home, arm))
        assert np.isfinite([*row.values()]).all()
        assert row["decisions"] < row["frames"] < 230 + 8
    for arm, game in (("own Σ, frozen", PAIR[1]), ("other's Σ, frozen", PAIR[0])):
        path = earlier(home, tmp_path, game, run_of(home, arm))
        start, model = given[arm]
        expected, _ = transferred_similarity(path, model.macro_set, "uniform")
        th.testing.assert_close(start, expected())
        th.testing.assert_close(model.similarity(), start)
    moved, model = given["uniform, learned"]
    assert not th.allclose(model.similarity(), moved, atol=1e-6)


def test_own_similarities_are_those_of_the_second_game():
    found = read_similarities("minatar")
    assert len(found) == 2 * 5 * len(MinAtar.pairs)
    for (pair, whose, _), learned in found.items():
        game = pair.split(" to ")[whose == "own"]
        primitives = minatar_games.make(game).get_action_meanings()
        assert len(learned.names) == len(primitives) + MinAtar.k
        assert list(learned.names[: len(primitives)]) == primitives


def test_every_penalty_has_the_same_strength():
    assert {variant.strengths for variant in compared("0.3").values()} == {("",), ("0.3",)}
    assert len(compared("0.3")) == 5


def test_a_pair_of_ataris_games_is_run(tmp_path):
    output = tmp_path / "rows.csv"
    main(Settings(home="atari", output=output, smoke=True))
    rows = read_rows(output)
    assert {run.arm for run in rows} == set(compared("1"))
    assert {run.cell for run in rows} == {cell_of(HOMES["atari"], HOMES["atari"].pairs[0])}
    assert len(list((tmp_path / "rows").rglob("*.safetensors"))) == 2


def test_pairs_that_are_none_are_refused():
    with pytest.raises(ExperimentError, match="none is a pair here: Breakout to SpaceInvaders, "):
        main(Settings(pairs=("SpaceInvaders to Breakout",)))
