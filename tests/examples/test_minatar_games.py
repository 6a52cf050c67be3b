"""The experiment on MinAtar: its play, its macros, and what a run says of itself."""

import numpy as np
import pytest

from examples.experiments.minatar_games import (
    GAMES,
    Budget,
    Settings,
    learn,
    macros,
    main,
    make,
    record_play,
)
from examples.experiments.rows import Cell, Run, read_rows
from macro_gym.demonstrations import read_play

TINY = Budget(
    steps=230,
    player_steps=230,
    play=1_300,
    learner=Budget().learner | {"learning_starts": 50, "buffer_size": 500},
)


@pytest.fixture(scope="module")
def play(tmp_path_factory):
    folder = tmp_path_factory.mktemp("play")
    record_play(TINY, folder, "Breakout")
    return folder / "Breakout.npz"


def test_play_is_recorded_once_and_is_what_the_game_did(play):
    written = play.read_bytes()
    record_play(TINY, play.parent, "Breakout")
    assert play.read_bytes() == written
    episodes = list(read_play(play))
    assert sum(len(episode.actions) for episode in episodes) == TINY.play
    env = make("Breakout")
    env.reset(seed=1_000)
    for episode in episodes[:-1]:
        ends = [env.step(int(action))[2] for action in episode.actions]
        assert ends == [False] * (len(ends) - 1) + [True]
        env.reset()
    assert len(episodes) > 2


def test_macros_are_of_all_arms_and_named_as_the_games_actions(play):
    assert macros(play, 7).macros == macros(play, 11).macros[:7]
    assert macros(play, 0).macros == ()
    assert macros(play, 7).primitives == ("NOOP", "LEFT", "RIGHT")
    for game in GAMES:
        env = make(game)
        assert len(set(env.get_action_meanings())) == env.action_space.n


def test_a_run_says_what_it_took(play):
    def row(arm, strength, k, updates="decision"):
        run = Run(Cell("Breakout", k, 1.0, updates), arm, strength, 3)
        return learn(TINY, play.parent, run) | {"seconds": 0}

    with_macros, without = row("meta", "1", 7), row("primitives", "", 0)
    assert without["decisions"] == without["steps"] == TINY.steps
    assert without["updates_taken"] == (TINY.steps - 50) // 4
    assert with_macros["decisions"] < with_macros["steps"]
    assert with_macros == row("meta", "1", 7)
    by_step = row("meta", "1", 7, "step")
    assert with_macros["updates_taken"] < by_step["updates_taken"]
    assert by_step["updates_taken"] == pytest.approx(without["updates_taken"], abs=1)
    assert np.isfinite([*with_macros.values()]).all()


def test_with_a_given_eta_penalties_have_it_without_runs_to_choose(tmp_path):
    settings = Settings(
        arms=("macros", "uniform", "weight decay"),
        games=("Breakout",),
        k=(7,),
        updates=("decision",),
        eta="3",
        seeds=2,
        workers=1,
        output=tmp_path / "rows.csv",
        full=True,
        budget=TINY,
    )
    main(settings)
    rows = read_rows(settings.output)
    runs = {(run.arm, run.strength, run.seed) for run in rows if run.arm != "weight decay"}
    assert runs == {
        (arm, eta, s) for arm, eta in (("macros", ""), ("uniform", "3")) for s in (0, 1)
    }
    assert sum(run.arm == "weight decay" and not run.is_reported for run in rows) == 4
