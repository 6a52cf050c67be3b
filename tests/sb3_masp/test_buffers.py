from itertools import pairwise

import ale_py
import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3 import DQN
from stable_baselines3.common.atari_wrappers import ClipRewardEnv

from macro_gym.errors import ReplayBufferError
from macro_gym.macro_action import MacroAction
from macro_gym.macro_set import MacroSet
from sb3_masp.buffers import MacroReplayBuffer
from tests.sb3_masp.replay import (
    ACTIONS,
    DICT,
    SPACES,
    NaiveReplay,
    assert_like_naive,
    assert_same,
    play,
)

gym.register_envs(ale_py)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    # Bits repeat: a reset may go unnoticed, rightly.
    space=st.sampled_from([SPACES["vector"], SPACES["bits"], SPACES["stack"], DICT]),
    rows=st.integers(1, 11),
    n_envs=st.sampled_from([1, 2, 5]),
    steps=st.integers(1, 40),
    n_steps=st.sampled_from([1, 3, 5]),
    longest=st.sampled_from([1, 4]),
    gamma=st.sampled_from([0.9, 0.99, 1.0]),
    clip=st.booleans(),
    prioritized=st.booleans(),
    handle_timeouts=st.booleans(),
    compress=st.sampled_from([None, False, True]),
)
def test_returns_over_decisions_are_the_discounted_returns_over_their_primitives(
    seed, space, rows, n_envs, steps, n_steps, longest, gamma, clip, prioritized, handle_timeouts,
    compress,
):  # fmt: skip
    # Law 7, through n-step, overwriting, episode ends, outside resets, many environments, shared
    # frames and compression.
    buffer = MacroReplayBuffer(
        rows * n_envs,
        space,
        ACTIONS,
        "cpu",
        n_envs,
        handle_timeout_termination=handle_timeouts,
        gamma=gamma,
        n_steps=n_steps,
        clip_rewards=clip,
        prioritized=prioritized,
        compress=compress,
    )
    naive = NaiveReplay(rows, n_envs, gamma, n_steps, clip, handle_timeouts)
    np.random.seed(seed % 2**31)
    for decision in play(seed, space, n_envs, steps, longest=longest, outside=0.15):
        buffer.add(*decision)
        naive.add(*decision)
        assert_like_naive(buffer.sample(7), naive)
    assert_like_naive(buffer.sample(61), naive)


def test_one_episode_of_primitives_gives_one_return_however_it_is_cut_into_decisions():
    # Law 7 by itself: the whole episode in one window is the episode's discounted return.
    rng = np.random.default_rng(11)
    rewards = rng.normal(size=29).astype(np.float32)
    direct = sum(0.9**i * float(r) for i, r in enumerate(rewards))
    for _ in range(20):
        cuts = [0, *sorted(rng.choice(np.arange(1, 29), size=6, replace=False)), 29]
        buffer = MacroReplayBuffer(7, SPACES["vector"], ACTIONS, "cpu", gamma=0.9, n_steps=7)
        frames = np.arange(30, dtype=np.float32)
        for start, end in pairwise(cuts):
            paid = np.zeros(29, dtype=np.float32)
            paid[: end - start] = rewards[start:end]
            info = {"duration": end - start, "primitive_rewards": paid}
            obs, next_obs = (np.full((1, 5), frames[i]) for i in (start, end))
            done, action = np.array([end == 29]), np.array([0])
            buffer.add(obs, next_obs, action, paid.sum(keepdims=True), done, [info])
        samples = buffer.sample(97)
        whole = samples.indices == 0
        assert whole.any()
        np.testing.assert_allclose(samples.rewards[whole].numpy(), direct, rtol=1e-5)
        np.testing.assert_allclose(samples.discounts[whole].numpy(), 0.9**29, rtol=1e-5)
        assert samples.dones[whole].all()
        assert (samples.next_observations[whole] == 29).all()


def pac_man():
    return gym.make("ALE/MsPacman-v5", obs_type="ram", repeat_action_probability=0.0)


@pytest.mark.parametrize("clip", [False, True])
def test_on_the_emulator_macros_return_what_their_primitives_do(clip):
    # Law 7: Ms. Pac-Man by macros, and again by the primitives one after the other.
    rng = np.random.default_rng(17)
    plain = pac_man()
    names = tuple(plain.unwrapped.get_action_meanings())
    macros = MacroSet(names, ((2, 2, 2, 2, 2), (3, 3, 3), (1, 4, 4, 4), (7, 6)))
    env = MacroAction(pac_man(), macros)
    buffer = MacroReplayBuffer(
        151, env.observation_space, env.action_space, "cpu", n_steps=7, clip_rewards=clip
    )
    plain.reset(seed=19)
    obs, _ = env.reset(seed=19)
    played, rams = [], []
    for action in rng.integers(env.action_space.n, size=131):
        next_obs, reward, terminated, truncated, info = env.step(action)
        assert not terminated
        assert not truncated
        buffer.add(obs[None], next_obs[None], action, np.array([reward]), [False], [info])
        played.append([plain.step(primitive)[:2] for primitive in macros.expand(int(action))])
        rams.append(played[-1][-1][0])
        obs = next_obs
    samples = buffer.sample(200)
    assert samples.rewards.max() > (2 if clip else 20)  # it is paid more than once in a window
    for index, ram, total, discount in zip(
        samples.indices, samples.next_observations, samples.rewards, samples.discounts, strict=True
    ):
        rewards = [float(r) for decision in played[index : index + 7] for _, r in decision]
        if clip:
            rewards = [min(max(r, -1.0), 1.0) for r in rewards]
        direct = sum(0.99**i * r for i, r in enumerate(rewards))
        assert total.item() == pytest.approx(direct, rel=1e-5)
        assert discount.item() == pytest.approx(0.99 ** len(rewards), rel=1e-5)
        np.testing.assert_array_equal(ram, rams[min(index + 6, 130)])


def test_clipping_around_the_macro_environment_is_refused_in_learning():
    cart_pole = MacroAction(gym.make("CartPole-v1"), MacroSet(("LEFT", "RIGHT"), ((0, 1, 0),)))
    model = DQN("MlpPolicy", ClipRewardEnv(cart_pole), replay_buffer_class=MacroReplayBuffer)
    with pytest.raises(ReplayBufferError, match=r"sum to [23] .* the reward is 1\..*ClipRewardEnv"):
        model.learn(50)


def test_an_unchanged_observation_of_nan_is_no_reset():
    space = spaces.Box(-np.inf, np.inf, (2,))
    buffer = MacroReplayBuffer(5, space, ACTIONS, "cpu", n_steps=2, gamma=0.5)
    nan = np.full((1, 2), np.nan, dtype=np.float32)
    for _ in range(3):
        buffer.add(nan, nan, np.array([0]), np.array([1.0]), np.array([False]), [{}])
    samples = buffer.sample(31)
    np.testing.assert_array_equal(
        samples.rewards[:, 0].numpy(), np.where(samples.indices == 2, 1.0, 1.5)
    )


def test_arrays_that_change_after_they_were_added_change_nothing_here():
    buffer = MacroReplayBuffer(7, SPACES["vector"], ACTIONS, "cpu", n_steps=2)
    obs, next_obs, action, reward = np.ones((1, 5)), np.full((1, 5), 2.0), np.ones(1), np.ones(1)
    buffer.add(*(a.astype(np.float32) for a in (obs, next_obs)), action, reward, [False], [{}])
    arrays = [array.astype(np.float32) for array in (next_obs, obs, action, reward)]
    buffer.add(*arrays, np.array([False]), [{}])
    for array in arrays:
        array[...] = 5
    samples = buffer.sample(31)
    assert samples.observations.unique().tolist() == [1, 2]
    assert samples.next_observations.unique().tolist() == [1]
    assert samples.actions.unique().tolist() == [1]
    assert samples.rewards.unique().tolist() == [1, th.tensor(1.99).item()]
    buffer.add(obs, next_obs, action, reward, np.array([False]), [{}])  # goes on from where it was
    samples = buffer.sample(31)
    np.testing.assert_array_equal(samples.rewards[:, 0] > 1, samples.indices < 2)


def test_reset_forgets_decisions_and_priorities():
    arguments = (37, SPACES["vector"], ACTIONS, "cpu", 3)
    settings = {"n_steps": 3, "prioritized": True}
    used, fresh = (MacroReplayBuffer(*arguments, **settings) for _ in range(2))
    for decision in play(1, SPACES["vector"], 3, 50, outside=0.2):
        used.add(*decision)
    used.update_priorities(np.arange(7), np.full(7, 100.0))
    used.reset()
    assert used.size() == 0
    for decision in play(2, SPACES["vector"], 3, 50, outside=1):
        samples = []
        for buffer in (used, fresh):
            buffer.add(*decision)
            np.random.seed(buffer.pos)
            samples.append(buffer.sample(17))
            buffer.update_priorities(samples[-1].indices, np.linspace(0, 0.5, 17))
        assert_same(*samples)


@pytest.mark.parametrize(
    ("info", "reward", "message"),
    [
        (
            {"duration": 3, "primitive_rewards": np.array([1, 2, 4, 0], np.float32)},
            1.0,
            r"infos\[0\]: primitive_rewards sum to 7 over duration 3, but the reward is 1\..*"
            r"ClipRewardEnv.*clip_rewards=True",
        ),
        (
            {"duration": 2, "primitive_rewards": np.array([1, 2, 4, 0], np.float32)},
            7.0,
            "primitive_rewards sum to 3 over duration 2, but the reward is 7",
        ),
        ({"duration": 5}, 7.0, r"infos\[0\] says duration 5, but has 1 primitive_rewards"),
        (
            {"duration": 0, "primitive_rewards": np.zeros(4, np.float32)},
            0.0,
            r"infos\[0\] says duration 0, but has 4 primitive_rewards",
        ),
    ],
)
def test_decisions_whose_info_contradicts_their_reward_are_refused(info, reward, message):
    buffer = MacroReplayBuffer(7, SPACES["vector"], ACTIONS, "cpu")
    obs = np.zeros((1, 5))
    with pytest.raises(ReplayBufferError, match=message):
        buffer.add(obs, obs, np.array([0]), np.array([reward]), np.array([False]), [info])
    assert buffer.size() == 0


def test_rewards_that_cancel_are_no_contradiction():
    buffer = MacroReplayBuffer(7, SPACES["vector"], ACTIONS, "cpu")
    paid = np.array([1e6, 0.1, -1e6], dtype=np.float32)
    info = {"duration": 3, "primitive_rewards": paid}
    reward = np.array([paid.sum()])  # float32: 0.125, not 0.1
    obs = np.zeros((1, 5))
    buffer.add(obs, obs, np.array([0]), reward, np.array([False]), [info])
    assert buffer.size() == 1


@pytest.mark.parametrize(
    ("setting", "value", "allowed"),
    [
        ("buffer_size", 0, "at least 1"),
        ("n_envs", 0, "at least 1"),
        ("gamma", 1.01, r"within 0\.\.1"),
        ("gamma", -0.1, r"within 0\.\.1"),
        ("n_steps", 0, "1, 2, 3"),
        ("n_steps", 2.5, "1, 2, 3"),
        ("priority_exponent", -1, "at least 0"),
        ("importance_exponent", 2, r"within 0\.\.1"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(setting, value, allowed):
    arguments = {"buffer_size": 7, "observation_space": DICT, "action_space": ACTIONS}
    with pytest.raises(ReplayBufferError, match=rf"{setting} is {value}; it must be {allowed}"):
        MacroReplayBuffer(**(arguments | {setting: value}))


def test_what_cannot_be_sampled_or_updated_says_why():
    uniform = MacroReplayBuffer(7, SPACES["vector"], ACTIONS, "cpu")
    with pytest.raises(ReplayBufferError, match="the replay buffer is empty"):
        uniform.sample(3)
    with pytest.raises(ReplayBufferError, match="is uniform; build it with prioritized=True"):
        uniform.update_priorities(np.array([0]), np.array([1.0]))
    prioritized = MacroReplayBuffer(7, SPACES["vector"], ACTIONS, "cpu", prioritized=True)
    with pytest.raises(ReplayBufferError, match="td_errors hold nan: has the loss diverged"):
        prioritized.update_priorities(np.arange(3), np.array([1.0, np.nan, 0.0]))
