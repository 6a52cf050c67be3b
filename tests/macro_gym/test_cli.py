"""The command macro-gym, in process, on the real emulator."""

import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from macro_gym import MacroSet
from macro_gym.cli import main
from macro_gym.command_line import run_commands
from macro_gym.demonstrations import Demonstration
from macro_gym.extraction import METHODS, ExtractionSettings


@pytest.fixture
def play(tmp_path):
    """A folder with two stretches of play, of which one has no rewards."""
    folder = tmp_path / "play"
    names = ("NOOP", "UP", "DOWN")
    one = np.array([1, 1, 1, 0, 2, 2, 0], dtype=np.uint8)
    rewards = np.ones(7, dtype=np.float32)
    Demonstration(names, one, rewards, "Freeway", 4, "a test").save(folder / "a.npz")
    Demonstration(names, one[::-1].copy(), None, "Freeway", 4).save(folder / "b.npz")
    return folder


def failed(argv, capsys):
    """The one line that a failing command prints."""
    assert main([str(word) for word in argv]) == 2
    out, err = capsys.readouterr()
    assert err.startswith("macro-gym: ")
    assert err.count("\n") == 1
    assert out == ""
    return err


def test_planned_play_becomes_a_macro_set_that_can_be_shown(tmp_path, capsys):
    folder, macros = str(tmp_path / "play"), str(tmp_path / "macros.json")
    plan = ["plan", "ALE/Pong-v5", "--output", folder, "--steps", "10", "--episode-steps", "6"]
    assert main(plan) == 0
    out = capsys.readouterr().out
    assert "pong-0.npz  6 steps  score 0" in out
    assert "pong-1.npz  6 steps  score 0" in out
    assert main(["extract", folder, "--k", "5", "--lengths", "2", "3", "--output", macros]) == 0
    assert "macros.json  5 macros from 12 steps" in capsys.readouterr().out
    macro_set = MacroSet.load(macros)
    assert main(["show", macros]) == 0
    out = capsys.readouterr().out
    assert macro_set.hash in out
    assert "Pong" in out
    assert "12 steps of 4 frames" in out


def test_play_that_is_there_is_kept(tmp_path):
    plan = ["plan", "pong", "--output", str(tmp_path), "--steps", "4", "--episode-steps", "4"]
    assert main(plan) == 0
    before = (tmp_path / "pong-0.npz").stat().st_mtime_ns
    assert main(plan) == 0
    assert (tmp_path / "pong-0.npz").stat().st_mtime_ns == before


def test_files_and_folders_of_play_are_extracted_alike(play, tmp_path):
    files = [str(play / "a.npz"), str(play / "b.npz")]
    for name, what in (("folder", [str(play)]), ("files", files)):
        output = str(tmp_path / f"{name}.json")
        assert main(["extract", *what, "--k", "3", "--output", output]) == 0
    assert (tmp_path / "folder.json").read_bytes() == (tmp_path / "files.json").read_bytes()
    assert MacroSet.load(tmp_path / "files.json").counts == (4, 2, 2)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_extracts_by_its_name(method, play, tmp_path):
    output = tmp_path / "macros.json"
    argv = ["extract", str(play), "--k", "1", "--method", method, "--output", str(output)]
    assert main([*argv, "--min-count", "2"]) == 0
    demonstrations = [Demonstration.load(play / name) for name in ("a.npz", "b.npz")]
    expected = METHODS[method](demonstrations, ExtractionSettings(1, min_count=2))
    mined = MacroSet.load(output)
    assert (mined.macros, mined.counts) == (expected.macros, expected.counts)
    assert mined.provenance.method == expected.provenance.method


def test_paths_have_weights(play, tmp_path):
    argv = ["extract", str(play / "a.npz"), str(play), "--k", "2", "--lengths", "2", "2"]
    output = tmp_path / "macros.json"
    assert main([*argv, "--output", str(output), "--weights", "5", "2"]) == 0
    # (1, 1) stands twice in either file: 5·2 alone, and 2·4 in the folder.
    assert MacroSet.load(output).counts == (18, 9)
    with pytest.raises(SystemExit):
        main([*argv, "--output", str(output), "--weights", "0.5", "2"])


def test_lengths_are_those_of_the_shortest_and_the_longest(play, tmp_path, capsys):
    argv = ["extract", play, "--k", "2", "--output", tmp_path / "macros.json", "--lengths"]
    assert main([*map(str, argv), "3", "5"]) == 0
    mined = MacroSet.load(tmp_path / "macros.json")
    assert "lengths 3..5" in mined.provenance.method
    capsys.readouterr()
    assert "lengths 5..3 are no range" in failed([*argv, 5, 3], capsys)


@pytest.fixture
def qbert(tmp_path):
    """Play of Q*bert, which has no use for FIRE: UP and FIRE do what UP and NOOP do."""
    names = ("NOOP", "FIRE", "UP", "RIGHT", "LEFT", "DOWN")
    for number, steps in enumerate([(2, 1, 1, 1)] * 5 + [(2, 0, 0, 0)] * 4 + [(3, 3, 3, 3)] * 3):
        episode = Demonstration(names, np.array(steps, np.uint8), game="Qbert", frameskip=4)
        episode.save(tmp_path / "qbert" / f"{number}.npz")
    return tmp_path / "qbert"


def test_of_macros_with_the_same_effect_one_is_extracted_if_asked(qbert, tmp_path):
    argv = ["extract", qbert, "--k", 2, "--lengths", 4, 4, "--method", "compression"]
    argv = [*map(str, argv), "--output", str(tmp_path / "macros.json")]
    assert main(argv) == 0
    mined = MacroSet.load(tmp_path / "macros.json")
    assert mined.macros == ((2, 1, 1, 1), (2, 0, 0, 0))
    assert "distinct" not in mined.provenance.method
    assert main([*argv, "--distinct-effects"]) == 0
    mined = MacroSet.load(tmp_path / "macros.json")
    assert mined.macros == ((2, 1, 1, 1), (3, 3, 3, 3))
    assert mined.provenance.method.endswith("near=0.125, distinct effects")


def test_effects_are_compared_in_a_known_game_and_by_one_method_only(tmp_path, capsys):
    path, names, actions = tmp_path / "play.npz", ("NOOP", "UP"), np.array([0, 1] * 9, np.uint8)
    Demonstration(names, actions).save(path)
    argv = ["extract", path, "--k", 1, "--output", tmp_path / "macros.json", "--distinct-effects"]
    assert "need --method compression" in failed([*argv, "--method", "grammar"], capsys)
    assert "need --method compression" in failed(argv, capsys)
    argv += ["--method", "compression"]
    assert "names no game to compare what macros do in" in failed(argv, capsys)
    Demonstration(names, actions, game="CartPole").save(path)
    assert "ale-py has no such game" in failed(argv, capsys)
    assert not (tmp_path / "macros.json").exists()


def test_weights_that_do_not_fit_the_paths_are_refused(play, tmp_path, capsys):
    extract = ["extract", play, "--k", "2", "--output", tmp_path / "macros.json"]
    assert "2 weights for 1 paths of play" in failed([*extract, "--weights", "1", "2"], capsys)


def test_mistakes_are_one_line_and_leave_nothing_half_written(play, tmp_path, capsys):
    output = tmp_path / "macros.json"
    extract = ["extract", play, "--output", output]
    assert "k is 512, but the 14 steps" in failed(extract, capsys)
    (tmp_path / "empty").mkdir()
    assert "empty holds no play (.npz); `macro-gym plan GAME" in failed(
        ["extract", tmp_path / "empty", "--output", output], capsys
    )
    assert "nothing.npz" in failed(
        ["extract", tmp_path / "nothing.npz", "--output", output], capsys
    )
    (play / "c.npz").write_bytes(b"half")
    assert "c.npz is not a whole demonstration" in failed([*extract, "--k", "3"], capsys)
    assert not output.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "play"]


def test_macros_are_written_over_no_play_and_in_no_folders_place(play, tmp_path, capsys):
    content = (play / "a.npz").read_bytes()
    for output in (play / "a.npz", play, tmp_path / "macros.txt"):
        error = failed(["extract", play / "a.npz", "--k", 2, "--output", output], capsys)
        assert f"output is {output}; it must be a file of its own" in error
    assert (play / "a.npz").read_bytes() == content


@pytest.mark.parametrize(
    "argv",
    [
        ["plan", "pong", "--steps", "10", "--output", "{}"],
        ["extract", "nothing.npz", "--output", "{}/macros.json"],
        ["bank", "rebuild", "Brakeout", "--output", "{}"],
        ["show", "pong", "--plot", "{}/macros.png"],
        ["show", "pong", "--gif", "1", "--output", "{}/macro.gif"],
        ["replay", "play/a.npz", "--video", "{}/film.gif"],
    ],
    ids=lambda argv: argv[0],
)
def test_outputs_in_a_files_place_are_refused_before_any_work(
    argv, play, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    error = failed([word.format("file") for word in argv], capsys)
    assert f"file cannot be a folder: {tmp_path / 'file'} is a file" in error
    assert (tmp_path / "file").read_text() == "mine"


def test_unknown_games_are_refused(tmp_path, capsys):
    plan = ["plan", "Brakeout", "--output", tmp_path]
    assert "game is 'Brakeout', but ale-py has no such game" in failed(plan, capsys)
    assert "no bank for 'Brakeout'" in failed(["show", "Brakeout"], capsys)
    assert "nothing.json" in failed(["show", tmp_path / "nothing.json"], capsys)


def test_amounts_out_of_range_are_refused(tmp_path, capsys):
    plan = ["plan", "pong", "--output", tmp_path]
    assert "workers is 0" in failed([*plan, "--workers", "0"], capsys)
    assert "steps is 0" in failed([*plan, "--episode-steps", "0"], capsys)


@pytest.mark.parametrize("workers", [1, 2])
def test_interrupting_the_planner_says_how_to_go_on_and_nothing_else(tmp_path, workers):
    command = [sys.executable, "-m", "macro_gym.cli", "plan", "pong", "--output", tmp_path / "play"]
    command += ["--steps", "99999", "--episode-steps", "49999", "--workers", str(workers)]
    with open(tmp_path / "err", "wb") as err:
        process = subprocess.Popen(command, stderr=err, start_new_session=True)
        until = time.monotonic() + 60
        while time.monotonic() < until:
            if re.search(rb" [1-9]\d*/99999", (tmp_path / "err").read_bytes()):
                break
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)  # As a terminal does: to the workers as well.
        try:
            assert process.wait(timeout=30) == 130
        finally:
            process.kill()
    printed = (tmp_path / "err").read_text()
    assert printed.endswith("stopped; run the same command again to resume\n")
    assert "Traceback" not in printed


def interrupted(*args, **kwargs):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("argv", "advice"),
    [
        (["plan", "pong", "--output", "plan"], "; run the same command again to resume"),
        (["bank", "rebuild", "--replan"], "; run the same command again to resume"),
        (["bank", "rebuild", "pong"], ""),
        (["extract", "plan", "--output", "macros.json"], ""),
    ],
)
def test_only_what_goes_on_where_it_stopped_says_so(argv, advice, monkeypatch, capsys):
    monkeypatch.setattr("macro_gym.play.plan_play", interrupted)
    monkeypatch.setattr("macro_gym.banks.make.make", interrupted)
    monkeypatch.setattr("macro_gym.commands.bank.mine", interrupted)
    monkeypatch.setattr("macro_gym.commands.extract.gather", interrupted)
    assert main(argv) == 130
    assert capsys.readouterr().err == f"stopped{advice}\n"


@pytest.mark.parametrize("command", [[], ["show"], ["plan"], ["extract"]])
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([*command, "--help"])
    assert "usage: macro-gym" in capsys.readouterr().out


@pytest.mark.parametrize("argv", [[], ["sing"], ["plan", "pong"], ["extract", "--k", "many"]])
def test_a_command_line_that_makes_no_sense_exits_with_2(argv, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(argv)
    assert capsys.readouterr().err


@pytest.mark.parametrize("words", [["bank", "list"], ["bank", "show", "breakout"]])
def test_a_command_whose_reader_has_gone_ends_quietly(words):
    command = [sys.executable, "-m", "macro_gym.cli", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 128 + signal.SIGPIPE


def test_another_broken_pipe_is_an_error(capfd):
    def broken():
        raise BrokenPipeError("the worker has gone")

    assert run_commands("masp", None, {"train": broken, "sweep": broken}, ["train"]) == 2
    assert capfd.readouterr().err == "masp: the worker has gone\n"
