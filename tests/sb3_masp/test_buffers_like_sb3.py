import io

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from stable_baselines3 import DQN
from stable_baselines3.common.buffers import DictReplayBuffer, NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from sb3_masp.buffers import MacroReplayBuffer
from tests.sb3_masp.replay import ACTIONS, DICT, SPACES, assert_same, assert_same_draws, play


@pytest.mark.parametrize("handle_timeouts", [True, False])
@pytest.mark.parametrize("n_envs", [1, 3])
@pytest.mark.parametrize("name", SPACES)
def test_uniform_samples_are_those_of_sb3s_buffer(name, n_envs, handle_timeouts):
    arguments = (37, SPACES[name], ACTIONS, "cpu", n_envs, False, handle_timeouts)
    ours, theirs = MacroReplayBuffer(*arguments), ReplayBuffer(*arguments)
    assert_same_draws(ours, theirs, play(3, SPACES[name], n_envs, 50, outside=0.1))
    assert (ours.sample(5).discounts == th.tensor(0.99)).all()
    np.testing.assert_array_equal(ours.dones, theirs.dones)
    np.testing.assert_array_equal(ours.timeouts, theirs.timeouts)


@pytest.mark.parametrize("n_steps", [1, 2, 3, 5])
@pytest.mark.parametrize("n_envs", [1, 3])
def test_n_step_samples_are_those_of_sb3s_n_step_buffer(n_envs, n_steps):
    arguments = (37, SPACES["vector"], ACTIONS, "cpu", n_envs)
    settings = {"n_steps": n_steps, "gamma": 0.97}
    ours = MacroReplayBuffer(*arguments, **settings)
    assert_same_draws(
        ours,
        NStepReplayBuffer(*arguments, **settings),
        play(n_steps, SPACES["vector"], n_envs, 90),
    )


@pytest.mark.parametrize("n_envs", [1, 3])
def test_dict_samples_are_those_of_sb3s_dict_buffer(n_envs):
    arguments = (37, DICT, ACTIONS, "cpu", n_envs)
    stream = play(5, DICT, n_envs, 50, outside=0.1)
    assert_same_draws(MacroReplayBuffer(*arguments), DictReplayBuffer(*arguments), stream)


@pytest.mark.parametrize("n_steps", [1, 3])
def test_samples_normalised_by_vec_normalize_are_those_of_sb3s_buffers(n_steps):
    venv = VecNormalize(DummyVecEnv([lambda: gym.make("CartPole-v1")]))
    venv.reset()
    for _ in range(50):
        venv.step([venv.action_space.sample()])
    arguments = (37, venv.observation_space, ACTIONS, "cpu", 1)
    stream = play(7, SPACES["vector"], 1, 50)
    four = ((o[:, :4], n[:, :4], *rest) for o, n, *rest in stream)
    ours = MacroReplayBuffer(*arguments, n_steps=n_steps)
    assert_same_draws(ours, NStepReplayBuffer(*arguments, n_steps=n_steps), four, env=venv)


def test_dict_samples_normalised_by_vec_normalize_are_those_of_sb3s_dict_buffer():
    class Readings(gym.Env):
        observation_space, action_space = DICT, ACTIONS

        def reset(self, *, seed=None, options=None):
            return DICT.sample(), {}

        def step(self, action):
            return DICT.sample(), float(action), False, False, {}

    venv = VecNormalize(DummyVecEnv([Readings] * 3), norm_obs_keys=["ram"])
    venv.reset()
    for _ in range(5):
        venv.step([ACTIONS.sample() for _ in range(3)])
    arguments = (37, DICT, ACTIONS, "cpu", 3)
    ours, theirs = MacroReplayBuffer(*arguments), DictReplayBuffer(*arguments)
    assert_same_draws(ours, theirs, play(11, DICT, 3, 50), env=venv)


def trained(n_steps=1, calls=2, **kwargs):
    """DQN after some calls of `learn`, each of which resets the environment from outside."""
    # Rewards of 1 would leave the Huber loss's quadratic part, and targets would hardly matter.
    model = DQN(
        "MlpPolicy",
        gym.wrappers.TransformReward(gym.make("CartPole-v1"), lambda reward: 0.1 * reward),
        learning_starts=50,
        train_freq=2,
        buffer_size=200,
        target_update_interval=50,
        seed=3,
        device="cpu",
        policy_kwargs={"net_arch": [13]},
        n_steps=n_steps,
        **kwargs,
    )
    for _ in range(calls):
        model.learn(170)  # rows of one call are left in the buffer during the next
    return model


# SB3's n-step buffer runs on into the next episode where `learn` was called again; ours does not.
@pytest.mark.parametrize(("n_steps", "calls"), [(1, 2), (3, 1)])
def test_sb3s_dqn_learns_the_same_weights_from_this_buffer(n_steps, calls):
    # Law 6, the buffer's part.
    own = trained(n_steps, calls)
    settings = {"n_steps": n_steps, "gamma": own.gamma}
    ours = trained(1, calls, replay_buffer_class=MacroReplayBuffer, replay_buffer_kwargs=settings)
    for name, weights in own.policy.state_dict().items():
        th.testing.assert_close(ours.policy.state_dict()[name], weights, rtol=0, atol=0)


def test_sb3s_dqn_runs_on_priorities():
    model = trained(
        replay_buffer_class=MacroReplayBuffer, replay_buffer_kwargs={"prioritized": True}
    )
    assert model.replay_buffer.prioritized


def test_sb3s_mark_on_the_last_transition_invents_no_terminal_state():
    with pytest.warns(UserWarning, match="last trajectory in the replay buffer"):
        model = trained(calls=3, replay_buffer_class=MacroReplayBuffer, optimize_memory_usage=True)
    plain = trained(calls=3, replay_buffer_class=MacroReplayBuffer)
    np.testing.assert_array_equal(model.replay_buffer.dones, plain.replay_buffer.dones)


def test_sb3_saves_and_loads_it_with_the_model():
    model = trained(replay_buffer_class=MacroReplayBuffer)
    buffer, file = model.replay_buffer, io.BytesIO()
    model.save_replay_buffer(file)
    file.seek(0)
    model.load_replay_buffer(file)
    assert model.replay_buffer is not buffer
    np.random.seed(0)
    expected = buffer.sample(19)
    np.random.seed(0)
    samples = model.replay_buffer.sample(19)
    assert_same(samples, expected)
    model.learn(50)
