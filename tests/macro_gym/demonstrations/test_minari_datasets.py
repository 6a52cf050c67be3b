"""Minari: datasets that Minari itself wrote are read without their observations."""

import shutil
import sys
import warnings
from pathlib import Path

import ale_py
import gymnasium as gym
import h5py
import minari
import numpy as np
import pytest
from gymnasium.wrappers import AtariPreprocessing, MaxAndSkipObservation
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from minari.data_collector import EpisodeBuffer
from stable_baselines3.common.atari_wrappers import MaxAndSkipEnv

from macro_gym.demonstrations.actions import ALE_ACTIONS
from macro_gym.demonstrations.minari_datasets import read_minari
from macro_gym.errors import DemonstrationError, MissingDependencyError

gym.register_envs(ale_py)
EPISODES = (np.array([3, 1, 0, 2, 2]), np.array([1, 0, 3]))


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    return tmp_path


def create(name, env="ALE/Breakout-v5", episodes=EPISODES, **kwargs):
    buffers = [
        EpisodeBuffer(
            observations=np.zeros((len(actions) + 1, 2), np.float32),
            actions=actions,
            rewards=np.arange(len(actions), dtype=np.float64),
            terminations=np.arange(len(actions)) == len(actions) - 1,
            truncations=np.zeros(len(actions), dtype=bool),
            infos={},
        )
        for actions in episodes
    ]
    space = gym.spaces.Box(-1, 1, (2,), np.float32)
    with warnings.catch_warnings():  # Minari misses an author, a licence, ...
        warnings.simplefilter("ignore")
        minari.create_dataset_from_buffers(
            name, buffers, env=env, observation_space=space, **kwargs
        )


def read(path, **kwargs):
    return list(read_minari(path, **kwargs))


def test_episodes_are_read_as_minari_reads_them(root):
    create("atari/breakout/expert-v0")
    plays = read(root / "atari" / "breakout" / "expert-v0")
    episodes = list(minari.load_dataset("atari/breakout/expert-v0").iterate_episodes())
    assert len(plays) == len(episodes) == 2
    for play, episode in zip(plays, episodes, strict=True):
        np.testing.assert_array_equal(play.actions, episode.actions)
        np.testing.assert_array_equal(play.rewards, episode.rewards)
    assert plays[0].primitives == ("NOOP", "FIRE", "RIGHT", "LEFT")
    assert (plays[0].game, plays[0].frameskip) == ("Breakout", 4)
    assert plays[1].source == "Minari: atari/breakout/expert-v0, episode 1"


def test_a_dataset_is_found_by_its_id_and_in_a_folder_of_several(root, tmp_path):
    create("atari/breakout/expert-v0")
    create("atari/pong/expert-v0", "ALE/Pong-v5")
    assert [play.game for play in read(Path("atari/pong/expert-v0"))] == ["Pong", "Pong"]
    assert [play.game for play in read(root)] == ["Breakout"] * 2 + ["Pong"] * 2


def test_the_frame_skip_and_the_action_set_are_the_environments(root):
    def skip_of(env):
        create("some/play-v0", env)
        (first, *_) = read(root / "some" / "play-v0")
        minari.delete_dataset("some/play-v0")
        return first.frameskip, first.primitives

    minimal = ("NOOP", "FIRE", "RIGHT", "LEFT")
    made = gym.make("ALE/Breakout-v5", frameskip=1)
    assert skip_of(AtariPreprocessing(made, frame_skip=3, noop_max=0)) == (3, minimal)
    full = gym.make("ALE/Breakout-v5", frameskip=5, full_action_space=True)
    assert skip_of(full) == (5, ALE_ACTIONS)
    assert skip_of(gym.make("ALE/Breakout-v5", frameskip=(2, 5))) == (0, minimal)
    memory = gym.make("ALE/Breakout-v5", obs_type="ram", frameskip=2)
    assert skip_of(MaxAndSkipObservation(memory, 3)) == (6, minimal)
    # Stable-Baselines3's wrapper does not say its arguments.
    assert skip_of(MaxAndSkipEnv(memory, 3)) == (0, minimal)


def test_other_environments_actions_are_named_by_their_numbers(root):
    create("box/cart-v0", "CartPole-v1", [np.array([0, 1, 1])])
    (play,) = read(root)
    assert (play.primitives, play.game, play.frameskip) == (("0", "1"), "CartPole", 0)


def test_the_environment_says_the_game_whatever_is_asked_for(root):
    create("box/cart-v0", "CartPole-v1", [np.array([0, 1, 1])])
    assert [play.game for play in read(root, game="breakout")] == ["CartPole"]


def test_a_dataset_without_environment_is_of_the_game_named(root):
    create("some/play-v0", None, action_space=gym.spaces.Discrete(4))
    assert read(root, game="breakout")[0].primitives[3] == "LEFT"
    assert read(root)[0].primitives[3] == "3"
    with pytest.raises(DemonstrationError, match=r"Discrete\(4\), but ms_pacman has 9"):
        read(root, game="ms_pacman")


def test_actions_that_are_not_discrete_are_refused(root):
    actions = np.zeros((3, 1), np.float32)
    create("some/play-v0", "Pendulum-v1", [actions])
    with pytest.raises(DemonstrationError, match=r"its actions are Box.*must be Discrete"):
        read(root)


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda file: file.__delitem__("episode_1"), "episode 1 has no whole actions"),
        (lambda file: file["episode_1"].__delitem__("actions"), "episode 1 has no whole actions"),
        (lambda file: file["episode_1/actions"].write_direct(np.array([9, 9, 9])), "outside Disc"),
        (
            lambda file: (
                file["episode_1"].__delitem__("rewards"),
                file["episode_1"].create_dataset("rewards", data=np.zeros(2)),
            ),
            r"episode 1 has no whole actions and rewards: int64\(3,\), float64\(2,\)",
        ),
    ],
)
def test_damaged_episodes_are_refused_by_number(root, damage, problem):
    create("some/play-v0")
    with h5py.File(root / "some" / "play-v0" / "data" / "main_data.hdf5", "r+") as file:
        damage(file)
    with pytest.raises(DemonstrationError, match=problem):
        read(root)


@pytest.mark.parametrize("name", ["metadata.json", "main_data.hdf5"])
def test_damaged_files_are_refused_or_passed_over(root, name):
    create("some/play-v0")
    create("some/rest-v0")
    path = root / "some" / "play-v0" / "data" / name
    path.write_bytes(path.read_bytes()[:100])
    bad = []
    assert len(read(root, on_bad=bad.append)) == 2
    assert len(bad) == 1
    with pytest.raises(DemonstrationError, match="play-v0"):
        read(root)


def test_unknown_datasets_and_empty_folders_are_refused_with_advice(root, tmp_path):
    with pytest.raises(DemonstrationError, match="`minari download atari/none-v0`"):
        read(Path("atari/none-v0"))
    with pytest.raises(DemonstrationError, match="holds no dataset of Minari"):
        read(root)


@pytest.mark.parametrize("library", ["minari", "h5py"])
def test_without_the_library_the_error_says_what_to_install(monkeypatch, tmp_path, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'macro-gym\[minari\]'"):
        read(tmp_path)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), name=st.sampled_from(["metadata.json", "main_data.hdf5"]))
def test_damage_is_refused_with_the_documented_error_or_read(root, data, name):
    folder = root / "some" / "play-v0" / "data"
    if not folder.exists():
        create("some/play-v0")
        shutil.copytree(folder, root / "whole")
    content = bytearray((root / "whole" / name).read_bytes())
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    shutil.copytree(root / "whole", folder, dirs_exist_ok=True)
    (folder / name).write_bytes(content[: data.draw(st.integers(len(content) // 2, len(content)))])
    bad = []
    plays = read(root / "some", on_bad=bad.append)
    assert plays or bad
    assert all("play-v0" in str(error) for error in bad)
