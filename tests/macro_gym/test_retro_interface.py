"""MacroRetro does what others expect of an environment: closing, specs, pickles, videos."""

import copy
import pickle
from contextlib import closing
from functools import partial

import cv2
import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import RecordVideo
from stable_baselines3.common.env_checker import check_env as check_env_for_sb3

from macro_gym.errors import EmulatorInUseError, EnvironmentClosedError
from macro_gym.retro import MacroRetroEnv
from tests.macro_gym.airstriker import GAME, ID, NAMES, assert_same_play, play, random_macros


def test_a_closed_environment_says_so():
    env = MacroRetroEnv(GAME, macros=random_macros())
    env.reset(seed=0)
    env.close()
    for use in (env.reset, partial(env.step, 0), partial(pickle.dumps, env)):
        with pytest.raises(EnvironmentClosedError, match="make a new one"):
            use()


def test_closing_frees_the_emulator_also_if_the_movie_cannot_be_written(tmp_path):
    env = MacroRetroEnv(GAME, macros=random_macros(), record=tmp_path / "movies")
    env.reset(seed=0)
    env.step(0)
    (tmp_path / "movies").rmdir()
    (tmp_path / "movies").write_text("in the way")
    with pytest.raises(FileExistsError):
        env.close()
    gym.make(ID, k=0).close()


def test_a_second_game_in_a_process_is_refused_with_the_way_out():
    with (
        closing(gym.make(ID, macros=random_macros())),
        pytest.raises(EmulatorInUseError, match=r"only one in a process.*SubprocVecEnv"),
    ):
        gym.make(ID, macros=random_macros())
    gym.make(ID, macros=random_macros()).close()


def test_closing_twice_does_no_harm():
    env = gym.make(ID, macros=random_macros())
    env.close()
    env.close()


def test_environments_pass_the_checks_of_gymnasium_and_of_sb3():
    for obs_type in ("grayscale", "ram"):
        with closing(gym.make(ID, macros=random_macros(), obs_type=obs_type)) as env:
            check_env_for_sb3(env)
        # Without a spec: Gymnasium's checker would make a second one from it.
        with closing(MacroRetroEnv(GAME, macros=random_macros(), obs_type=obs_type)) as env:
            check_env(env, skip_render_check=True)


def test_an_environment_is_rebuilt_from_its_spec():
    env = gym.make(ID, macros=random_macros(), frameskip=3)
    spec = env.spec
    expected = play(env, 9)
    assert_same_play(expected, play(gym.make(spec), 9))


def test_a_pickled_environment_goes_on_in_the_middle_of_an_episode():
    rng = np.random.default_rng(2)
    actions = rng.integers(136, size=80)
    env = MacroRetroEnv(GAME, macros=random_macros())
    env.reset(seed=4)
    for action in actions[:31]:
        env.step(action)
    pickled = pickle.dumps(env)
    with closing(env):
        with pytest.raises(EmulatorInUseError, match="one in a process"):
            copy.deepcopy(env)
        expected = [env.step(action) for action in actions[31:]]
    with closing(pickle.loads(pickled)) as copied:
        found = [copied.step(action) for action in actions[31:]]
    assert_same_play(expected, found)
    assert [result[-1] for result in expected][-1]["frame_number"] == found[-1][-1]["frame_number"]
    assert sum(result[1] for result in expected) > 0


def test_a_fresh_environment_can_be_pickled():
    env = MacroRetroEnv(GAME, macros=random_macros())
    pickled = pickle.dumps(env)
    expected = play(env, 5)
    assert_same_play(expected, play(pickle.loads(pickled), 5))


def test_videos_and_screens_can_be_had(tmp_path):
    macros = random_macros(lengths=(7,))
    env = RecordVideo(gym.make(ID, macros=macros, render_mode="rgb_array"), str(tmp_path / "of"))
    play(env, 5)
    assert [path.suffix for path in (tmp_path / "of").iterdir()] == [".mp4"]
    with closing(gym.make(ID, macros=macros, render_mode="rgb_array_list")) as env:
        env.reset(seed=0)
        env.step(len(NAMES))
        screens = env.render()
        assert [screen.shape for screen in screens] == [(224, 320, 3)] * 8
        assert env.render() == []


def test_a_screen_of_another_resolution_is_brought_to_the_first():
    with closing(MacroRetroEnv(GAME, macros=random_macros())) as env:
        env.reset(seed=0)
        emulator = env._emulator
        screen = emulator.screen()
        smaller, expected = (
            np.empty((112, 160), np.uint8),
            cv2.resize(screen, (160, 112), interpolation=cv2.INTER_AREA),
        )
        emulator.draw(smaller)
        np.testing.assert_array_equal(smaller, cv2.cvtColor(expected, cv2.COLOR_RGB2GRAY))
