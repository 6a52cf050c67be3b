"""macro-gym replay films what was recorded, every step of it."""

import subprocess
import sys

import numpy as np
import pytest

import macro_gym  # noqa: F401
from macro_gym.cli import main
from macro_gym.demonstrations import Demonstration, replay
from macro_gym.demonstrations.video import video
from macro_gym.errors import MissingDependencyError
from tests.macro_gym.commands import failed


@pytest.fixture
def play(tmp_path):
    """17 steps of Breakout, no two screens of it alike, at the given frames a step."""

    def make(frameskip):
        path = tmp_path / "play.npz"
        actions = np.array([1] * 3 + [2] * 7 + [3] * 7, np.uint8)
        names = ("NOOP", "FIRE", "RIGHT", "LEFT")
        Demonstration(names, actions, None, "Breakout", frameskip).save(path)
        screens = []
        replay(Demonstration.load(path), on_screen=screens.append)
        return path, screens

    return make


def test_a_film_shows_the_start_and_every_step(play, tmp_path, capsys):
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    path, screens = play(4)
    film = tmp_path / "films/film.mp4"
    assert main(["replay", str(path), "--video", str(film), "--zoom", "3"]) == 0
    assert f"{film}  18 screens" in capsys.readouterr().out
    as_bytes = [ffmpeg.get_ffmpeg_exe(), "-i", film, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    read_back = subprocess.run(as_bytes, capture_output=True, check=True)
    assert b", 480x630, " in read_back.stderr
    assert b", 15 fps, " in read_back.stderr
    read = np.frombuffer(read_back.stdout, np.uint8).reshape(-1, 630, 480, 3)
    assert len(read) == len(screens) == 18
    for picture, screen in zip(read, screens, strict=True):
        gap = np.abs(picture[1::3, 1::3].astype(float) - screen)
        assert gap.mean() < 4  # Lossy; the paddle moves by far more than that.
    assert [item.name for item in film.parent.iterdir()] == ["film.mp4"]


@pytest.mark.parametrize(("frameskip", "shown", "delay"), [(4, 18, 60), (1, 9, 30)])
def test_a_gif_shows_them_too_but_no_more_than_viewers_can(frameskip, shown, delay, play, tmp_path):
    image = pytest.importorskip("PIL.Image")
    path, screens = play(frameskip)
    assert main(["replay", str(path), "--video", str(tmp_path / "film.gif"), "--zoom", "1"]) == 0
    expected = screens if frameskip == 4 else screens[::2]
    assert len(expected) == shown
    with image.open(tmp_path / "film.gif") as gif:
        at = 0
        for n in range(gif.n_frames):
            gif.seek(n)
            picture = np.asarray(gif.convert("RGB"), dtype=float)
            assert np.abs(picture - expected[at]).mean() < 4
            # Screens that are alike are one picture for longer.
            at += round(gif.info["duration"] / (1000 / (60 / frameskip if frameskip > 1 else 30)))
            assert gif.info["duration"] >= delay
    assert at == shown


def test_a_film_that_fails_leaves_the_old_one(tmp_path):
    pytest.importorskip("imageio")
    (tmp_path / "film.gif").write_bytes(b"old")
    screens = iter([np.zeros((6, 4, 3), np.uint8), "no screen"])
    with (
        pytest.raises(AttributeError, match="repeat"),
        video(tmp_path / "film.gif", 15) as add,
    ):
        any(add(screen) for screen in screens)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["film.avi"], "film.avi is no video to write; it must end in .mp4 or .gif"),
        (["film.mp4", "--zoom", 0], "zoom is 0"),
        (["film.mp4", "--fps", -1], "fps -1"),
        (["film.mp4", "--fps", 0], "fps 0"),
    ],
)
def test_films_that_cannot_be_are_refused(words, problem, play, tmp_path, capsys):
    path, _ = play(4)
    assert problem in failed(["replay", path, "--video", *words], capsys)
    assert not list(tmp_path.glob("film*"))


def test_a_pace_without_a_film_is_refused(play, capsys):
    path, _ = play(4)
    for fps in (0, 30):
        error = failed(["replay", path, "--fps", fps], capsys)
        assert f"fps is {fps}.0, but no film is to be made; give --video" in error


def test_suffixes_of_films_may_be_large(play, tmp_path):
    image = pytest.importorskip("PIL.Image")
    path, _ = play(4)
    assert main(["replay", str(path), "--video", str(tmp_path / "film.GIF")]) == 0
    with image.open(tmp_path / "film.GIF") as gif:
        assert gif.format == "GIF"
        assert gif.n_frames > 1


def test_without_imageio_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with (
        pytest.raises(MissingDependencyError, match=r"pip install 'macro-gym\[video\]'"),
        video(tmp_path / "film.mp4", 15),
    ):
        pass
