"""Emulator frames are counted wherever the environments run, and schedules follow them."""

import gc
from functools import partial

import gymnasium as gym
import pytest
from ale_py.vector_env import AtariVectorEnv
from gymnasium.envs.classic_control import CartPoleEnv
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers import AtariPreprocessing, MaxAndSkipObservation
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.atari_wrappers import AtariWrapper, MaxAndSkipEnv
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecMonitor

from macro_gym import MacroAction, MacroSet
from macro_gym.errors import FrameSkipError
from sb3_masp import GymnasiumVecEnv, PairwiseA2C
from sb3_masp.callbacks import FrameBudget
from sb3_masp.frame_schedules import FrameSchedules

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


class FrameA2C(FrameSchedules, A2C):
    pass


class FramePPO(FrameSchedules, PPO):
    pass


class RateSpy(BaseCallback):
    """Notes the share of the budget left and the learning rate of every update."""

    def __init__(self, budget):
        super().__init__()
        self.budget, self.left, self.rates = budget, [], []

    def _on_step(self):
        return True

    def _on_rollout_start(self):
        if self.left:
            self.rates.append(self.model.policy.optimizer.param_groups[0]["lr"])

    def _on_rollout_end(self):
        self.left.append(1 - self.budget.frames / self.budget.budget)


def acrobot(learner, **kwargs):
    env = MacroAction(gym.make("Acrobot-v1"), MacroSet(("0", "1", "2"), ((0,) * 7, (2, 1) * 3)))
    return learner("MlpPolicy", env, n_steps=32, seed=3, **kwargs)


@pytest.mark.parametrize("learner", [FrameA2C, FramePPO, PairwiseA2C])
def test_schedules_of_on_policy_learners_follow_frames(learner, tmp_path):
    settings = {"batch_size": 32} if learner is FramePPO else {}
    acrobot(learner, learning_rate=lambda left: left / 1_000, **settings).save(tmp_path / "model")
    model = learner.load(tmp_path / "model", acrobot(learner, **settings).env)
    budget = FrameBudget(1_000)
    spy = RateSpy(budget)
    model.learn(10**6, callback=[budget, spy])
    assert len(spy.rates) > 2
    assert spy.rates == pytest.approx([left / 1_000 for left in spy.left[: len(spy.rates)]])


@pytest.mark.parametrize(
    ("learner", "changing", "names"),
    [
        (A2C, {"learning_rate": lambda left: left}, "lr_schedule of A2C"),
        (PPO, {"clip_range": lambda left: left, "batch_size": 32}, "clip_range of PPO"),
    ],
)
def test_schedules_that_cannot_follow_frames_are_warned_of(learner, changing, names):
    with pytest.warns(UserWarning, match=rf"{names} will .*\(FrameSchedules, "):
        acrobot(learner, **changing).learn(64, callback=FrameBudget(20))
    # Constant ones are alike over frames and decisions: no warning, which would be an error.
    acrobot(A2C).learn(64, callback=FrameBudget(20))
