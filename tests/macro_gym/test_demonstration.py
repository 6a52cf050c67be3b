"""Demonstration: a valid value, and a file that is whole or refused."""

import json

import numpy as np
import pytest

from macro_gym.demonstrations import Demonstration
from macro_gym.errors import DemonstrationError

NAMES = ("NOOP", "FIRE", "LEFT")


def demonstration(**changes):
    fields = {
        "primitives": NAMES,
        "actions": np.array([2, 2, 0, 1, 2], dtype=np.uint8),
        "rewards": np.array([0, 1, -1, 0, 0.5], dtype=np.float32),
        "game": "Breakout",
        "frameskip": 4,
        "source": "a person, «quoted»",
        "settings": {"id": "ALE/Breakout-v5", "kwargs": {"mode": None, "size": (5, 7)}, "seed": 3},
    }
    return Demonstration(**(fields | changes))


def test_score_is_the_sum_of_rewards_and_nan_if_they_are_unknown():
    assert demonstration().score == 0.5
    assert np.isnan(demonstration(rewards=None).score)


@pytest.mark.parametrize("rewards", [None, np.arange(5, dtype=np.float32)])
def test_load_returns_what_was_saved(tmp_path, rewards):
    saved = demonstration(rewards=rewards)
    saved.save(tmp_path / "play.npz")
    loaded = Demonstration.load(tmp_path / "play.npz")
    np.testing.assert_array_equal(loaded.actions, saved.actions)
    assert loaded.actions.dtype == np.uint8
    if rewards is None:
        assert loaded.rewards is None
    else:
        np.testing.assert_array_equal(loaded.rewards, rewards)
    for name in ("primitives", "game", "frameskip", "source", "settings"):
        assert getattr(loaded, name) == getattr(saved, name)


def test_the_same_play_makes_the_same_bytes(tmp_path):
    for name in ("a.npz", "b.npz"):
        demonstration().save(tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_a_file_without_settings_is_as_before_there_were_any(tmp_path):
    demonstration(settings={}).save(tmp_path / "play.npz")
    with np.load(tmp_path / "play.npz") as arrays:
        about = json.loads(str(arrays["about"]))
    assert list(about) == ["primitives", "game", "frameskip", "source"]
    assert Demonstration.load(tmp_path / "play.npz").settings == {}


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_file_cut_short_is_refused(tmp_path, share):
    path = tmp_path / "play.npz"
    demonstration().save(path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(DemonstrationError, match=r"play\.npz is not a whole demonstration"):
        Demonstration.load(path)


def test_a_damaged_array_is_refused(tmp_path):
    path = tmp_path / "play.npz"
    demonstration(actions=np.zeros(997, np.uint8), rewards=None).save(path)
    content = bytearray(path.read_bytes())
    content[80] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DemonstrationError, match="not a whole demonstration"):
        Demonstration.load(path)


def test_what_holds_no_arrays_is_refused_without_numpys_advice(tmp_path):
    (tmp_path / "film.mp4").write_bytes(b"\x00\x00\x00\x20ftypisom")
    np.savez(tmp_path / "objects.npz", about=np.array([None]), actions=np.array([1]))
    for name in ("film.mp4", "objects.npz"):
        with pytest.raises(DemonstrationError, match=rf"{name} is not a whole .*") as caught:
            Demonstration.load(tmp_path / name)
        assert str(caught.value).endswith("not a whole demonstration: it holds something else")


def test_a_file_of_other_arrays_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", weights=np.zeros(3))
    with pytest.raises(DemonstrationError, match=r"other\.npz is not a whole demonstration"):
        Demonstration.load(tmp_path / "other.npz")


@pytest.mark.parametrize(
    ("about", "actions", "problem"),
    [
        ("{}", [1], "not a whole demonstration: 'primitives'"),
        ("[]", [1], "not a whole demonstration"),
        ('{"primitives": ["A"], "colour": 1}', [0], "not a whole demonstration: .*colour"),
        ('{"primitives": ["A"], "settings": 7}', [0], "settings is 7, which a file cannot hold"),
        ('{"primitives": ["A", "B"]}', [0.5], "actions are float64; they must be indices"),
    ],
)
def test_a_file_that_describes_no_play_is_refused(tmp_path, about, actions, problem):
    np.savez(tmp_path / "play.npz", about=np.array(about), actions=np.array(actions))
    with pytest.raises(DemonstrationError, match=problem):
        Demonstration.load(tmp_path / "play.npz")


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.npz"):
        Demonstration.load(tmp_path / "nothing.npz")


def test_arrays_that_do_not_fit_are_refused():
    with pytest.raises(DemonstrationError, match=r"actions has shape \(2, 3\)"):
        demonstration(actions=np.zeros((2, 3), np.uint8), rewards=None)
    with pytest.raises(DemonstrationError, match=r"range over 0\.\.3, but there are 3 primitives"):
        demonstration(actions=np.array([0, 3]), rewards=None)
    with pytest.raises(DemonstrationError, match=r"range over -1\.\.0"):
        demonstration(actions=np.array([0, -1]), rewards=None)
    with pytest.raises(DemonstrationError, match=r"\(4,\) rewards for \(5,\) actions"):
        demonstration(rewards=np.zeros(4, np.float32))
    for settings in ({"seed": np.int64(3)}, {"kwargs": {"p": float("nan")}}, "abc"):
        with pytest.raises(DemonstrationError, match=r"settings is .*, which a file cannot hold"):
            demonstration(settings=settings)
