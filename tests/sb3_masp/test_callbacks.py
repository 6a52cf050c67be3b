"""Emulator frames are counted the same wherever the environments run."""

import gc
from functools import partial

import gymnasium as gym
import pytest
from ale_py.vector_env import AtariVectorEnv
from gymnasium.envs.classic_control import CartPoleEnv
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers import AtariPreprocessing, MaxAndSkipObservation
from stable_baselines3 import DQN
from stable_baselines3.common.atari_wrappers import AtariWrapper, MaxAndSkipEnv
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecMonitor

from macro_gym.errors import FrameSkipError
from sb3_masp import GymnasiumVecEnv
from sb3_masp.callbacks import FrameBudget

ATARI = partial(gym.make, "ALE/Breakout-v5", obs_type="ram")
NO_SKIP = partial(gym.make, "BreakoutNoFrameskip-v4")


class Simulator(CartPoleEnv):
    """No emulator, though it has a ``frame_skip``, as MuJoCo's environments do."""

    frame_skip = 5


@pytest.fixture
def collected():
    """Leave no vector environment of ale-py to forked processes: collecting one kills them."""
    yield
    gc.collect()


def subprocesses(make):
    return SubprocVecEnv([make] * 2, start_method="fork")


def gymnasium_processes(make):
    return GymnasiumVecEnv(gym.vector.AsyncVectorEnv([make] * 2))


def ale_vector(**kwargs):
    mode = {"vectorization_mode": "vector_entry_point", "autoreset_mode": AutoresetMode.SAME_STEP}
    return GymnasiumVecEnv(gym.make_vec("ALE/Breakout-v5", num_envs=2, **mode, **kwargs))


def least_even(frames):
    """Decisions in two environments that take at least 60 frames."""
    return 2 * -(-60 // (2 * frames))


def decisions_in(env, **kwargs):
    """Decisions of a budget of 60 frames."""
    model = DQN("MlpPolicy", VecMonitor(env), learning_starts=1_000, buffer_size=100)
    try:
        return model.learn(1_000, callback=FrameBudget(60, **kwargs)).num_timesteps
    finally:
        env.close()


@pytest.mark.parametrize("elsewhere", [subprocesses, gymnasium_processes])
@pytest.mark.parametrize(
    ("make", "frames"),
    [
        (ATARI, 4),
        (partial(ATARI, frameskip=3), 3),
        (lambda: AtariWrapper(NO_SKIP(), frame_skip=5), 5),
        (lambda: MaxAndSkipEnv(NO_SKIP(), 3), 3),
        (lambda: MaxAndSkipObservation(NO_SKIP(), 5), 5),
        (lambda: AtariPreprocessing(NO_SKIP(), frame_skip=2), 2),
        (partial(gym.make, "MacroALE/Breakout-v5", k=0, obs_type="ram"), 4),
        (partial(gym.make, "CartPole-v1"), 1),
        (Simulator, 1),
    ],
)
def test_a_budget_is_as_many_decisions_in_other_processes_as_in_this_one(make, frames, elsewhere):
    assert decisions_in(DummyVecEnv([make] * 2)) == least_even(frames)
    assert decisions_in(elsewhere(make)) == least_even(frames)


@pytest.mark.usefixtures("collected")
@pytest.mark.parametrize("frames", [3, 4])
def test_frames_of_ale_pys_own_vector_are_counted(frames):
    assert decisions_in(ale_vector(frameskip=frames)) == least_even(frames)


@pytest.mark.usefixtures("collected")
def test_frames_that_cannot_be_known_have_to_be_given():
    with pytest.raises(FrameSkipError, match="games of Atari, but do not tell their frames per"):
        decisions_in(GymnasiumVecEnv(AtariVectorEnv("breakout", 2, frameskip=3)))
    vector = AtariVectorEnv("breakout", 2, frameskip=3, autoreset_mode="SameStep")
    assert decisions_in(GymnasiumVecEnv(vector), frames_per_step=3) == least_even(3)


@pytest.mark.parametrize("elsewhere", [subprocesses, gymnasium_processes])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MaxAndSkipEnv(ATARI(), 3), "skips 3 and .* skips 4 frames: together 12 frames"),
        (partial(gym.make, "Breakout-v4", obs_type="ram"), r"skips \(2, 5\) frames, a random"),
    ],
)
def test_skipping_twice_or_at_random_is_refused_in_other_processes_too(make, message, elsewhere):
    with pytest.raises(FrameSkipError, match=message):
        decisions_in(elsewhere(make))
