"""Planned play on disk: the same files, however it was made."""

import multiprocessing
import os
import shutil
from concurrent.futures import ProcessPoolExecutor

import pytest

from macro_gym.demonstrations import Demonstration, PlannerSettings, plan_episode, planner
from macro_gym.errors import DemonstrationError, OutputError
from macro_gym.play import _result, plan_play

TINY = PlannerSettings(trials=2, horizon=9, commit=3, steps=11, holds=(1, 2))


def played(folder, steps=40, workers=1, **options):
    return plan_play(
        "pong", folder, steps, settings=TINY, seed=3, workers=workers, progress_bar=False, **options
    )


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def play(tmp_path_factory):
    """Four episodes of 11 steps: the fewest that make 40."""
    folder = tmp_path_factory.mktemp("play")
    paths = played(folder)
    assert paths == [folder / f"pong-{seed}.npz" for seed in (3, 4, 5, 6)]
    assert set(paths) == set(folder.iterdir())
    return folder


def test_each_file_is_the_episode_of_its_seed(play):
    alone = plan_episode("pong", TINY, 4)
    stored = Demonstration.load(play / "pong-4.npz")
    assert stored.actions.tolist() == alone.actions.tolist()
    assert stored.source == alone.source


def test_seeds_are_left_out_where_asked(play, tmp_path):
    paths = played(tmp_path, skip_seeds={4, 6})
    assert [path.name for path in paths] == [f"pong-{seed}.npz" for seed in (3, 5, 7, 8)]
    assert paths[1].read_bytes() == (play / "pong-5.npz").read_bytes()


def test_more_workers_make_the_same_files(play, tmp_path):
    played(tmp_path, workers=3)
    assert contents(tmp_path) == contents(play)


def test_interrupted_play_goes_on_to_the_same_files(play, tmp_path, monkeypatch):
    monkeypatch.setattr(planner, "REFRESH", 1)  # saved at every point
    shutil.copy(play / "pong-3.npz", tmp_path)
    kept = (tmp_path / "pong-3.npz").stat().st_mtime_ns

    def stop(_):
        if checkpoint.exists():
            raise KeyboardInterrupt

    checkpoint = tmp_path / "pong-4.progress.json"
    with pytest.raises(KeyboardInterrupt):
        plan_episode("pong", TINY, 4, checkpoint=checkpoint, checkpoint_seconds=0, on_steps=stop)
    played(tmp_path)
    assert contents(tmp_path) == contents(play)
    assert (tmp_path / "pong-3.npz").stat().st_mtime_ns == kept


def test_play_with_other_settings_is_not_taken_for_this(play, tmp_path):
    shutil.copytree(play, tmp_path, dirs_exist_ok=True)
    other = PlannerSettings(trials=1, horizon=9, commit=3, steps=11, holds=(1, 2))
    with pytest.raises(DemonstrationError, match=r"pong-3\.npz holds other play .*trials=2"):
        plan_play("pong", tmp_path, 11, settings=other, seed=3, progress_bar=False)
    assert contents(tmp_path) == contents(play)


def test_a_checkpoint_of_other_settings_stops_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(planner, "REFRESH", 1)
    plan_episode(
        "pong",
        PlannerSettings(trials=1, steps=9),
        3,
        checkpoint=tmp_path / "pong-3.progress.json",
        checkpoint_seconds=0,
    )
    with pytest.raises(DemonstrationError, match="progress of other play"):
        played(tmp_path, steps=5)


def test_a_process_that_dies_is_reported_with_what_to_do():
    with (
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool,
        pytest.raises(
            DemonstrationError, match=r"process that planned has died.*run the same again"
        ),
    ):
        _result(pool.submit(os._exit, 1))


def test_the_progress_bar_ends_at_the_steps_done(play, capsys):
    plan_play("pong", play, 40, settings=TINY, seed=3)
    assert "40/40" in capsys.readouterr().err


def test_a_file_in_place_of_the_folder_is_refused_before_planning(tmp_path, monkeypatch):
    monkeypatch.setattr("macro_gym.play._pool", None)
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path / "file", tmp_path / "file" / "play"):
        with pytest.raises(OutputError, match=f"{folder} cannot be a folder"):
            played(folder)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"steps": 0}, "steps is 0"), ({"workers": 0}, "workers is 0")],
)
def test_amounts_out_of_range_are_refused(tmp_path, options, message):
    with pytest.raises(DemonstrationError, match=f"{message}; it must be at least 1"):
        played(tmp_path, **options)


def test_a_negative_seed_is_refused(tmp_path):
    with pytest.raises(DemonstrationError, match="seed is -1; it must be at least 0"):
        plan_play("pong", tmp_path, 1, seed=-1)
