"""Retro games in processes: as one after the other (law 4), and killed ones are told of."""

import os
import pickle
import signal
import subprocess
import sys
import threading
from functools import partial

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import SubprocVecEnv

import macro_gym  # noqa: F401  # registers the ids
from macro_gym.errors import EmulatorInUseError, EnvironmentSettingError, VectorEnvError
from macro_gym.vector import MacroVectorEnv
from sb3_masp import make_macro_vec_env

ID = "MacroRetro/Airstriker-Genesis-v0"
IN_NEW_PROCESSES = f"macro_gym:{ID}"  # they import macro_gym by it
SETTINGS = {"k": 0, "buttons": ["NOOP", "LEFT+B", "RIGHT+B"], "max_num_frames_per_episode": 150}
DECISIONS = 45


@pytest.fixture(scope="module")
def alone():
    """What four environments return one after the other: observations, rewards, ends."""
    games = []
    for index in range(4):
        env = gym.make(ID, **SETTINGS)
        rng = np.random.default_rng(index)
        observations, rewards, ends = [env.reset(seed=7 + index)[0]], [], []
        for _ in range(DECISIONS):
            observation, reward, terminated, truncated, _ = env.step(rng.integers(3))
            rewards.append(reward)
            ends.append(terminated or truncated)
            observations.append(env.reset()[0] if ends[-1] else observation)
        env.close()
        games.append((observations, rewards, ends))
    assert sum(game[2].count(True) for game in games) >= 4
    return games


def actions(number):
    """The actions that `alone` takes, shape ``(decisions, number)``."""
    drawn = [np.random.default_rng(index).integers(3, size=DECISIONS) for index in range(number)]
    return np.stack(drawn, axis=1)


def gymnasium_vector(number, **how):
    return gym.make_vec(ID, num_envs=number, **how, **SETTINGS)


@pytest.mark.parametrize("number", [2, 4])
@pytest.mark.parametrize("how", ["ours", "async"])
def test_a_vector_of_gymnasium_equals_one_after_the_other(alone, how, number):
    same_step = gym.vector.AutoresetMode.SAME_STEP
    if how == "ours":
        envs = gymnasium_vector(number, autoreset_mode=same_step)
        assert isinstance(envs, MacroVectorEnv)
        assert len(envs.processes) == number
    else:
        vector = {"vectorization_mode": "async", "vector_kwargs": {"autoreset_mode": same_step}}
        envs = gymnasium_vector(number, **vector)
        assert isinstance(envs, AsyncVectorEnv)
    observations, _ = envs.reset(seed=7)
    for decision, chosen in enumerate(actions(number)):
        for index in range(number):
            np.testing.assert_array_equal(observations[index], alone[index][0][decision])
        observations, rewards, terminated, truncated, _ = envs.step(chosen)
        assert list(rewards) == [game[1][decision] for game in alone[:number]]
        assert list(terminated | truncated) == [game[2][decision] for game in alone[:number]]
    envs.close()


@pytest.mark.parametrize("number", [2, 4])
@pytest.mark.parametrize("how", ["SubprocVecEnv", "make_macro_vec_env"])
def test_a_vector_of_sb3_equals_one_after_the_other(alone, how, number):
    if how == "SubprocVecEnv":
        envs = make_vec_env(
            IN_NEW_PROCESSES, number, 7, env_kwargs=SETTINGS, vec_env_cls=SubprocVecEnv
        )
    else:
        envs = make_macro_vec_env("airstriker-genesis", number, 7, **SETTINGS)
    observations = envs.reset()
    for decision, chosen in enumerate(actions(number)):
        for index in range(number):
            np.testing.assert_array_equal(observations[index], alone[index][0][decision])
        observations, rewards, dones, _ = envs.step(chosen)
        assert list(rewards) == [game[1][decision] for game in alone[:number]]
        assert list(dones) == [game[2][decision] for game in alone[:number]]
    envs.close()


def step_often(envs):
    for _ in range(10_000):
        envs.step(np.zeros(envs.num_envs, int))


@pytest.mark.parametrize("number", [2, 4])
def test_a_killed_process_is_reported_with_its_environment(number):
    envs = gymnasium_vector(number)
    envs.reset(seed=1)
    os.kill(envs.processes[number - 1].pid, signal.SIGKILL)
    with pytest.raises(VectorEnvError, match=rf"environments {number - 1}, .* code -9"):
        step_often(envs)
    envs.close()


@pytest.mark.parametrize("number", [2, 4])
@pytest.mark.parametrize("how", ["async", "SubprocVecEnv"])
def test_a_process_killed_in_the_middle_of_a_run_is_not_waited_for_by_others(how, number):
    if how == "async":
        envs = gymnasium_vector(number, vectorization_mode="async")
        envs.reset(seed=1)
    else:
        envs = make_vec_env(
            IN_NEW_PROCESSES, number, 1, env_kwargs=SETTINGS, vec_env_cls=SubprocVecEnv
        )
        envs.reset()
    threading.Timer(0.1, os.kill, (envs.processes[0].pid, signal.SIGKILL)).start()
    with pytest.raises((EOFError, BrokenPipeError, ConnectionResetError)):
        step_often(envs)
    for process in envs.processes:
        process.kill()
        process.join()
    envs.closed = True  # Neither of the two can be closed after that as usual.


def test_a_process_cannot_be_given_two_games():
    with pytest.raises(EnvironmentSettingError, match="only one game in a process"):
        gymnasium_vector(4, num_workers=2)
    with pytest.raises(EmulatorInUseError, match="only one in a process"):
        gymnasium_vector(2, vectorization_mode="sync")
    gym.make(ID, **SETTINGS).close()


def test_a_vector_goes_on_where_it_was_pickled():
    envs = gymnasium_vector(2)
    envs.reset(seed=3)
    for chosen in actions(2)[:20]:
        envs.step(chosen)
    pickled = pickle.dumps(envs)
    expected = [envs.step(chosen) for chosen in actions(2)[20:30]]
    envs.close()
    envs = pickle.loads(pickled)
    for one, chosen in zip(expected, actions(2)[20:30], strict=True):
        other = envs.step(chosen)
        for left, right in zip(one[:4], other[:4], strict=True):
            np.testing.assert_array_equal(left, right)
    envs.close()


SCRIPT = f"""
import gymnasium as gym, macro_gym, numpy as np

if __name__ == "__main__":
    settings = {SETTINGS!r}
    open_one = gym.make({ID!r}, **settings)
    envs = gym.make_vec({ID!r}, num_envs=2, context="forkserver", **settings)
    print(envs.reset(seed=1)[0].shape, envs.step(np.zeros(2, int))[4]["duration"])
    envs.close()
    try:
        gym.make_vec({ID!r}, num_envs=2, **settings)
    except macro_gym.errors.EmulatorInUseError as error:
        print("forkserver" in str(error))
"""


def test_processes_can_be_started_while_this_one_has_a_game(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    run = partial(subprocess.run, capture_output=True, text=True, check=True, timeout=120)
    assert run([sys.executable, script]).stdout.split("\n")[:2] == ["(2, 4, 84, 84) [1 1]", "True"]
