"""The ids that importing macro_gym registers, and what the import costs."""

import importlib.util
import re
import subprocess
import sys

import ale_py
import gymnasium as gym
import numpy as np
import pytest

import macro_gym
from macro_gym.registration import atari_games

gym.register_envs(ale_py)

GAMES = sorted(
    name.removeprefix("MacroALE/").removesuffix("-v5")
    for name in gym.registry
    if name.startswith("MacroALE/")
)


def test_there_is_a_macro_environment_for_every_game_of_ale_py():
    theirs = {name for name in gym.registry if re.fullmatch(r"ALE/\w+-v5", name)}
    assert {f"ALE/{game}-v5" for game in GAMES} == theirs
    assert len(GAMES) == 104
    for game in GAMES:
        ours, other = gym.spec(f"MacroALE/{game}-v5"), gym.spec(f"ALE/{game}-v5")
        assert ours.kwargs["game"] == other.kwargs["game"]


@pytest.mark.parametrize("game", GAMES)
def test_every_game_can_be_made_and_played(game):
    env = gym.make(f"MacroALE/{game}-v5", k=0)
    observation, _ = env.reset(seed=1)
    for action in range(3):
        assert observation in env.observation_space
        observation, *_ = env.step(np.int64(action))


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)


def test_importing_macro_gym_imports_no_emulator_opencv_or_torch():
    heavy = {"ale_py", "cv2", "torch", "stable_retro", "stable_baselines3", "tqdm", "tyro"}
    result = run(
        "import sys, gymnasium; before = set(sys.modules); import macro_gym; "
        f"print(sorted(set(sys.modules) & {heavy}), "
        "sorted({name.split('.')[0] for name in set(sys.modules) - before}"
        " - sys.stdlib_module_names))"
    )
    assert result.stdout.strip() == "[] ['macro_gym']"


def test_without_ale_py_nothing_is_registered_and_nothing_fails(monkeypatch):
    monkeypatch.setattr("macro_gym.registration.find_spec", lambda name: None)
    assert atari_games() == []
    macro_gym.register_envs()


def test_the_games_are_found_without_importing_ale_py():
    assert importlib.util.find_spec("ale_py") is not None
    result = run(
        "import sys, macro_gym, gymnasium; "
        "print(sum(i.startswith('MacroALE/') for i in gymnasium.registry), 'ale_py' in sys.modules)"
    )
    assert result.stdout.split() == ["104", "False"]


def test_a_misspelt_game_is_refused_with_the_name_that_was_meant():
    with pytest.raises(gym.error.NameNotFound, match="Did you mean: `Breakout`"):
        gym.make("MacroALE/Brekout-v5")
