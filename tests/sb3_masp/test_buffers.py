import io
import pickle
import warnings
from collections import deque
from copy import deepcopy
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
from stable_baselines3.common.buffers import DictReplayBuffer, NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from macro_gym.errors import ReplayBufferError
from macro_gym.macro_action import MacroAction
from macro_gym.macro_set import MacroSet
from sb3_masp import buffers
from sb3_masp.buffers import MacroReplayBuffer

gym.register_envs(ale_py)
ACTIONS = spaces.Discrete(7)
SPACES = {
    "vector": spaces.Box(-1, 1, (5,)),
    "double": spaces.Box(-1, 1, (2, 3), dtype=np.float64),
    "image": spaces.Box(0, 255, (2, 3, 5), dtype=np.uint8),
    "discrete": spaces.Discrete(3, start=2),
    "bits": spaces.MultiBinary(5),
}
DICT = spaces.Dict({"image": SPACES["image"], "state": SPACES["discrete"], "ram": SPACES["double"]})


def observations(space, n_envs):
    """One observation of each environment, as SB3's vectorised environments stack them."""
    if isinstance(space, spaces.Dict):
        return {key: observations(part, n_envs) for key, part in space.spaces.items()}
    return np.stack([np.asarray(space.sample()) for _ in range(n_envs)])


def chosen(mask, first, second):
    """``first`` of the environments in ``mask``, ``second`` of the others."""
    if isinstance(first, dict):
        return {key: chosen(mask, first[key], second[key]) for key in first}
    return np.where(mask.reshape(-1, *[1] * (first.ndim - 1)), first, second)


def play(seed, space, n_envs, steps, *, longest=1, outside=0.0):
    """Arguments of `add`: decisions of episodes that end, are cut short, or reset from outside."""
    rng = np.random.default_rng(seed)
    space.seed(seed)
    obs = observations(space, n_envs)
    for _ in range(steps):
        next_obs = observations(space, n_envs)
        done = rng.random(n_envs) < 0.2
        durations = rng.integers(1, longest + 1, size=n_envs)
        paid = rng.normal(scale=2, size=(n_envs, longest)).astype(np.float32)
        ran = np.arange(longest) < durations[:, None]
        infos = [{"TimeLimit.truncated": bool(d and rng.random() < 0.5)} for d in done]
        if longest > 1:
            for info, duration, rewards in zip(infos, durations, paid, strict=True):
                info |= {"duration": int(duration), "primitive_rewards": rewards}
        action = rng.integers(ACTIONS.n, size=n_envs)
        reward = (paid * ran).sum(axis=1)  # what lies beyond a duration is not counted
        yield obs, next_obs, action, reward, done, infos
        reset = done | (rng.random(n_envs) < outside)
        obs = chosen(reset, observations(space, n_envs), next_obs)


def assert_same(ours, theirs):
    """The fields of SB3's samples, bit for bit; a discount that they leave out aside."""
    for name in theirs._fields:
        mine, reference = getattr(ours, name), getattr(theirs, name)
        if isinstance(reference, dict):
            assert mine.keys() == reference.keys()
            for key in reference:
                th.testing.assert_close(mine[key], reference[key], rtol=0, atol=0)
        elif name == "indices":
            np.testing.assert_array_equal(mine, reference)
        elif reference is not None:
            th.testing.assert_close(mine, reference, rtol=0, atol=0)


def assert_same_draws(ours, theirs, stream, env=None):
    """Fill both and compare what the same seed draws, along the way."""
    for step, decision in enumerate(stream):
        ours.add(*decision)
        theirs.add(*deepcopy(decision))  # SB3's Dict buffer reshapes what it is given
        np.random.seed(step)
        mine = ours.sample(13, env=env)
        np.random.seed(step)
        assert_same(mine, theirs.sample(13, env=env))


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


class NaiveReplay:
    """The decisions of each environment as a list, and every formula as a loop over them."""

    def __init__(self, rows, n_envs, gamma, n_steps, clip):
        self.entries = [deque(maxlen=rows) for _ in range(n_envs)]
        self.rows, self.added = rows, 0
        self.gamma, self.n_steps, self.clip = gamma, n_steps, clip

    def add(self, obs, next_obs, action, reward, done, infos):
        for env, entries in enumerate(self.entries):
            duration = infos[env].get("duration", 1)
            rewards = infos[env].get("primitive_rewards", [reward[env]])[:duration]
            if self.clip:
                rewards = [min(max(r, -1), 1) for r in rewards]
            timeout = infos[env]["TimeLimit.truncated"]
            entry = (obs[env], next_obs[env], action[env], list(rewards), done[env], timeout)
            entries.append(entry)
        self.added += 1

    def sample(self, index):
        """Observation, action, next observation, done, return and discount of an entry."""
        row, env = divmod(index, len(self.entries))
        entries = list(self.entries[env])
        first = (row - self.added) % self.rows if self.added > self.rows else row
        obs, next_obs, action, _, done, timeout = entries[first]
        total, passed = 0.0, 0
        for entry in entries[first : first + self.n_steps]:
            _, next_obs, _, rewards, done, timeout = entry
            for reward in rewards:
                total += self.gamma**passed * float(reward)
                passed += 1
            following = first + 1
            if done or timeout or following == len(entries):
                break
            if entries[following][0].tobytes() != next_obs.tobytes():
                break  # reset from outside
            first = following
        return obs, action, next_obs, float(done and not timeout), total, self.gamma**passed


def assert_like_naive(samples, naive):
    for position, index in enumerate(samples.indices):
        obs, action, next_obs, done, total, discount = naive.sample(index)
        assert samples.observations[position].numpy().tobytes() == obs.tobytes()
        assert samples.next_observations[position].numpy().tobytes() == next_obs.tobytes()
        assert samples.actions[position].item() == action
        assert samples.dones[position].item() == done
        assert samples.rewards[position].item() == pytest.approx(total, rel=1e-5, abs=1e-5)
        assert samples.discounts[position].item() == pytest.approx(discount, rel=1e-5)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    space=st.sampled_from(["vector", "bits"]),  # bits repeat: a reset may go unnoticed, rightly
    rows=st.integers(1, 11),
    n_envs=st.sampled_from([1, 2, 5]),
    steps=st.integers(1, 40),
    n_steps=st.sampled_from([1, 3, 5]),
    longest=st.sampled_from([1, 4]),
    gamma=st.sampled_from([0.9, 0.99, 1.0]),
    clip=st.booleans(),
    prioritized=st.booleans(),
)
def test_returns_over_decisions_are_the_discounted_returns_over_their_primitives(
    seed, space, rows, n_envs, steps, n_steps, longest, gamma, clip, prioritized
):
    # Law 7, through n-step, overwriting, episode ends, outside resets and many environments.
    buffer = MacroReplayBuffer(
        rows * n_envs,
        SPACES[space],
        ACTIONS,
        "cpu",
        n_envs,
        gamma=gamma,
        n_steps=n_steps,
        clip_rewards=clip,
        prioritized=prioritized,
    )
    naive = NaiveReplay(rows, n_envs, gamma, n_steps, clip)
    np.random.seed(seed % 2**31)
    for decision in play(seed, SPACES[space], n_envs, steps, longest=longest, outside=0.15):
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


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31 - 1),
    rows=st.integers(1, 11),
    n_envs=st.sampled_from([1, 3]),
    steps=st.integers(1, 30),
    α=st.sampled_from([0.0, 0.5, 1.0]),
    β=st.sampled_from([0.0, 0.4, 1.0]),
)
def test_draws_and_weights_follow_priorities_kept_in_a_list(seed, rows, n_envs, steps, α, β):
    buffer = MacroReplayBuffer(
        rows * n_envs, SPACES["vector"], ACTIONS, "cpu", n_envs, prioritized=True,
        priority_exponent=α, importance_exponent=0.7,
    )  # fmt: skip
    buffer.importance_exponent = β  # a learner anneals it
    rng = np.random.default_rng(seed)
    np.random.seed(seed)
    priorities, highest = {}, 1.0
    for step, decision in enumerate(play(seed, SPACES["vector"], n_envs, steps)):
        buffer.add(*decision)
        row = step % rows
        priorities |= {row * n_envs + env: highest**α for env in range(n_envs)}
        samples = buffer.sample(11)
        share = {index: p / sum(priorities.values()) for index, p in priorities.items()}
        raw = np.array([(len(share) * share[index]) ** -β for index in samples.indices])
        np.testing.assert_allclose(samples.weights[:, 0], raw / raw.max(), rtol=1e-5)
        counts = np.bincount(buffer.sample(101).indices, minlength=rows * n_envs)
        for index, count in enumerate(counts):
            assert abs(count - 101 * share.get(index, 0.0)) < 2
        errors = rng.normal(scale=3, size=11)
        buffer.update_priorities(samples.indices, th.tensor(errors)[:, None])
        for index, error in zip(samples.indices, errors, strict=True):
            priorities[index] = (abs(error) + 1e-6) ** α
            highest = max(highest, abs(error) + 1e-6)


def test_uniform_weights_are_one():
    buffer = MacroReplayBuffer(7, SPACES["vector"], ACTIONS, "cpu")
    for decision in play(0, SPACES["vector"], 1, 3):
        buffer.add(*decision)
    assert (buffer.sample(5).weights == th.ones(5, 1)).all()


def reloaded(buffer):
    return pickle.loads(pickle.dumps(buffer, protocol=pickle.HIGHEST_PROTOCOL))


@pytest.mark.parametrize("space", [SPACES["image"], DICT], ids=["image", "dict"])
@pytest.mark.parametrize("before", [0, 5, 12, 13, 31])
def test_a_buffer_that_was_saved_and_loaded_goes_on_like_the_one_that_was_not(space, before):
    # Law 5: 12 rows, so the cases are empty, part filled, just full, and overwritten.
    buffer = MacroReplayBuffer(37, space, ACTIONS, "cpu", 3, n_steps=3, prioritized=True)
    stream = list(play(13, space, 3, before + 20, longest=3, outside=0.2))
    for decision in stream[:before]:
        buffer.add(*decision)
    if before:
        buffer.update_priorities(buffer.sample(7).indices, np.linspace(0, 3, 7))
    loaded = reloaded(buffer)
    assert (loaded.pos, loaded.full, loaded.nbytes) == (buffer.pos, buffer.full, buffer.nbytes)
    for step, decision in enumerate(stream[before:]):
        samples = []
        for each in (buffer, loaded):
            each.add(*decision)
            np.random.seed(step)
            samples.append(each.sample(17))
            each.update_priorities(samples[-1].indices, np.arange(17))
        assert_same(*samples)


def test_only_the_filled_part_of_the_ring_is_saved():
    size = 100_003
    buffer = MacroReplayBuffer(size, SPACES["image"], ACTIONS, "cpu")
    for decision in play(0, SPACES["image"], 1, 11):
        buffer.add(*decision)
    assert len(pickle.dumps(buffer, protocol=pickle.HIGHEST_PROTOCOL)) < 10_000
    assert reloaded(buffer).nbytes == buffer.nbytes > size * 30


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


def test_each_observation_is_stored_once():
    frames = spaces.Box(0, 255, (4, 84, 84), dtype=np.uint8)
    ours = MacroReplayBuffer(1009, frames, ACTIONS, "cpu")
    assert 1009 * 4 * 84 * 84 <= ours.nbytes < 1.01 * 1009 * 4 * 84 * 84
    # SB3 holds both observations of each transition.
    theirs = ReplayBuffer(1009, frames, ACTIONS, "cpu")
    assert ours.nbytes < 0.51 * (theirs.observations.nbytes + theirs.next_observations.nbytes)


def test_the_ends_of_overwritten_episodes_are_given_up():
    buffer = MacroReplayBuffer(97, SPACES["image"], ACTIONS, "cpu")
    stream = list(play(0, SPACES["image"], 1, 97, outside=0.5))
    for decision in stream:
        buffer.add(*decision)
    once = buffer.nbytes
    for decision in stream * 10:
        buffer.add(*decision)
    assert buffer.nbytes == once


def test_memory_is_stated_with_what_there_is(monkeypatch):
    monkeypatch.setattr(buffers, "available_memory", lambda: 20 * 2**30)
    frames = spaces.Box(0, 255, (4, 84, 84), dtype=np.uint8)
    buffer = MacroReplayBuffer(200_000, frames, ACTIONS, "cpu")
    assert buffer.memory_statement() == (
        "replay buffer: 200,000 decisions, 5.3 GiB when full; 20.0 GiB free"
    )
    monkeypatch.setattr(buffers, "available_memory", lambda: None)
    assert buffer.memory_statement() == "replay buffer: 200,000 decisions, 5.3 GiB when full"


def test_a_buffer_that_will_not_fit_warns_before_learning_starts(monkeypatch):
    monkeypatch.setattr(buffers, "available_memory", lambda: 3 * 2**20)
    with pytest.warns(UserWarning, match=r"MiB when full; 3\.0 MiB free.*smaller buffer_size"):
        MacroReplayBuffer(200_003, SPACES["image"], ACTIONS, "cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MacroReplayBuffer(2003, SPACES["image"], ACTIONS, "cpu")


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
