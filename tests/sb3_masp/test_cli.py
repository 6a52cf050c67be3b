"""The command line: help, errors in a line, training and evaluating."""

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sb3_masp import run
from sb3_masp.cli import main
from sb3_masp.run_config import ALGORITHMS, ARGUMENTS


def test_the_command_line_starts_without_moviepy_or_matplotlib():
    code = (
        "import sys; sys.modules['moviepy'] = sys.modules['matplotlib'] = None; "
        "import sb3_masp.cli, macro_gym.cli"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_learner_setting_of_the_command_line_is_one_of_some_learner():
    signatures = [inspect.signature(learner) for learner, _ in ALGORITHMS.values()]
    known = {name for signature in signatures for name in signature.parameters}
    assert {ARGUMENTS.get(name, name) for name in vars(run.LearnerConfig())} <= known


def test_the_command_line_trains_evaluates_and_refuses_to_overwrite(tmp_path, capsys):
    folder = tmp_path / "pole"
    words = ["train", "CartPole-v1", "--frames", "400", "--run", str(folder), "--seed", "3"]
    assert main(words) == 0
    assert main(words) == 2
    assert "masp train --resume" in capsys.readouterr().err
    assert main(["train", "--resume", str(folder)]) == 2
    assert "is finished" in capsys.readouterr().err
    assert main(["evaluate", str(folder), "--episodes", "3"]) == 0
    assert "over 3 episodes" in capsys.readouterr().out
    result = json.loads((folder / "evaluation.json").read_text())
    assert len(result["trained"]["scores"]) == len(result["random"]["scores"]) == 3


def test_environments_of_a_module_in_this_folder_are_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    entry_point = '"gymnasium.envs.classic_control:CartPoleEnv"'
    Path("our_envs.py").write_text(
        f"import gymnasium as gym\ngym.register('OurPole-v0', entry_point={entry_point})\n"
    )
    assert main(["train", "our_envs:OurPole-v0", "--frames", "60", "--run", "run"]) == 0
    assert main(["evaluate", "run", "--episodes", "1"]) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "--resume", "nowhere"], "holds no run"),
        (["evaluate", "nowhere"], "holds no run"),
        (["train", "MacroALE/Braekout-v5"], "Did you mean"),
        (["train", "--k", "999999"], "k may be 0"),
        (["train", "CartPole-v1", "--k", "4"], "--k and --obs-type are for games"),
        (["train", "Pendulum-v1"], "Pendulum-v1 has the action space Box"),
        (["train", "nowhere:Foo-v0"], "with options {}: ModuleNotFoundError: No module named 'now"),
        (["train", "ALE/Pong-v5", "--options", "mode", "99"], "RuntimeError: Invalid game mode"),
        (["similarity", "outcomes", "nowhere:Foo-v0"], "options {}: ModuleNotFoundError: No mod"),
    ],
)
def test_the_command_line_says_what_is_wrong_in_a_line(words, message, capsys, tmp_path):
    if words[0] == "train" and "--resume" not in words:
        words = [*words, "--run", str(tmp_path / "run")]
    assert main(words) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("words", [["--n-envs", "0"], ["--learning-rate", "-1"]])
def test_the_command_line_says_which_option_is_out_of_range(words, capsys):
    assert main(["train", "CartPole-v1", *words]) == 2
    assert f"{words[0]} is {words[1]}" in capsys.readouterr().err


@pytest.mark.parametrize("command", [[], ["train"], ["evaluate"]])
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*command, "--help"])
    assert stop.value.code == 0
    assert "usage: masp" in capsys.readouterr().out


def test_help_tells_the_defaults_of_the_learner_that_is_meant(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    told = re.sub(r"[\s│]+", " ", capsys.readouterr().out)
    assert "Weight of the similarity penalty; 0 for none. (default: 0.3)" in told
    own = "0.0001 of masp-dqn, dqn; 5e-05 of masp-qrdqn; 6.25e-05 of masp-rainbow, rainbow; 0.0007"
    assert f"Learning rate of the network. (default: {own} of pairwise-a2c)" in told
    for algorithm, (learner, _) in ALGORITHMS.items():
        assert inspect.signature(learner).parameters["learning_rate"].default == float(
            re.search(rf"([\de.-]+) of [^;]*{algorithm}\b", own + " of pairwise-a2c")[1]
        )
