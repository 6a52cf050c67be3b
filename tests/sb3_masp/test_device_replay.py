import numpy as np
import pytest
import torch as th
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from sb3_masp import MASPDQN, device_replay
from sb3_masp.buffers import MacroReplayBuffer
from sb3_masp.device_replay import DeviceReplayBuffer
from tests.sb3_masp.learners import macro_cartpole, small
from tests.sb3_masp.replay import ACTIONS, DICT, SPACES, play, reloaded

DEVICES = ["cpu"] + ["cuda"] * th.cuda.is_available()


def both(rows, space, n_envs, device="cpu", **kwargs):
    """The buffer on the device and the one in main memory."""
    return (
        kind(rows * n_envs, space, ACTIONS, device, n_envs, **kwargs)
        for kind in (DeviceReplayBuffer, MacroReplayBuffer)
    )


def assert_equal_samples(ours, theirs):
    for mine, reference in zip(ours, theirs, strict=True):
        if isinstance(reference, np.ndarray):
            np.testing.assert_array_equal(mine, reference)
        elif isinstance(reference, dict):
            assert mine.keys() == reference.keys()
            for key in reference:
                th.testing.assert_close(mine[key], reference[key], rtol=0, atol=0)
        else:
            th.testing.assert_close(mine, reference, rtol=0, atol=0)


def assert_same_draws(ours, theirs, stream, seed=0):
    for step, decision in enumerate(stream, seed):
        for buffer in (ours, theirs):
            buffer.add(*decision)
        drawn = []
        for buffer in (ours, theirs):
            np.random.seed(step)
            drawn.append(buffer.sample(13))
            if buffer.prioritized:
                errors = np.random.normal(size=13)
                buffer.update_priorities(drawn[-1].indices, th.as_tensor(errors))
        assert_equal_samples(*drawn)


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31 - 1),
    space=st.sampled_from([SPACES["vector"], SPACES["bits"], SPACES["stack"], DICT]),
    rows=st.integers(1, 11),
    n_envs=st.sampled_from([1, 2, 5]),
    steps=st.integers(1, 30),
    n_steps=st.sampled_from([1, 3]),
    longest=st.sampled_from([1, 4]),
    prioritized=st.booleans(),
)
def test_what_is_drawn_on_the_device_is_what_main_memory_holds(
    device, seed, space, rows, n_envs, steps, n_steps, longest, prioritized
):
    ours, theirs = both(
        rows, space, n_envs, device, n_steps=n_steps, prioritized=prioritized, gamma=0.9
    )
    stream = play(seed, space, n_envs, steps, longest=longest, outside=0.1)
    assert_same_draws(ours, theirs, stream)
    assert ours.on_device


@pytest.mark.parametrize("steps", [0, 1, 4, 23])
def test_a_buffer_loaded_goes_on_as_if_it_had_not_been_saved(steps):
    ours, theirs = both(7, DICT, 3)
    stream = play(5, DICT, 3, 47, outside=0.1)
    for decision, _ in zip(stream, range(steps), strict=False):
        ours.add(*decision)
        theirs.add(*decision)
    assert_same_draws(reloaded(ours), theirs, stream)


def test_decisions_that_are_written_over_leave_their_room_to_others():
    # Every episode is one decision long, the worst case: each observation after lies apart.
    ours, _ = both(5, SPACES["vector"], 3)
    for obs, _, *rest in play(1, SPACES["vector"], 3, 200):
        ours.add(obs, -obs, *rest)
    places = len(ours._store._pool[""])
    assert places <= 2 * (5 * 3 + 3)
    apart = ours._store._apart
    assert sorted([*apart, *ours._store._spare]) == list(range(places))


def test_reset_forgets_all_decisions():
    ours, theirs = both(7, SPACES["vector"], 3)
    for decision in play(1, SPACES["vector"], 3, 12):
        ours.add(*decision)
    ours.reset()
    assert_same_draws(ours, theirs, play(2, SPACES["vector"], 3, 12))


def test_drawing_reads_nothing_back_from_the_device():
    # Tensors on the device "meta" hold nothing, and raise when something is to be read of them.
    ours, _ = both(5, DICT, 3, "meta", n_steps=3)
    for decision in play(1, DICT, 3, 17, outside=0.1):
        ours.add(*decision)
        samples = ours.sample(13)
    assert samples.observations["stack"].shape == (13, *DICT["stack"].shape)
    assert all(tensor.is_meta for tensor in [samples.rewards, samples.next_observations["ram"]])
    with pytest.raises(NotImplementedError, match="no data"):
        samples.rewards.cpu()


def test_what_does_not_fit_is_held_in_main_memory_and_drawn_all_the_same(monkeypatch):
    needed = 7 * 3 * 5 * 4
    free = device_replay.HEADROOM + needed
    monkeypatch.setattr(device_replay, "free_memory", lambda device: free)
    ours, _ = both(7, SPACES["vector"], 3)
    assert ours.on_device
    monkeypatch.setattr(device_replay, "free_memory", lambda device: free - 1)
    with pytest.warns(UserWarning, match=r"21 decisions take 420\.0 B.*buffer_size=20 would fit"):
        ours, theirs = both(7, SPACES["vector"], 3)
    assert not ours.on_device
    assert "free" in ours.memory_statement()
    assert_same_draws(ours, theirs, play(2, SPACES["vector"], 3, 12))


def test_main_memory_is_a_device_that_may_be_too_small(monkeypatch):
    monkeypatch.setattr(device_replay, "available_memory", lambda: device_replay.HEADROOM)
    with pytest.warns(UserWarning, match="of cpu, which has .* free"):
        ours, _ = both(7, SPACES["vector"], 3)
    assert not ours.on_device


def test_the_memory_stated_is_that_of_all_observations():
    ours, _ = both(1024, SPACES["stack"], 3)
    assert "3,072 decisions, 9.1 MiB on cpu from the first on" in ours.memory_statement()


def test_memory_is_taken_with_the_first_decision_and_no_earlier():
    ours, _ = both(1024, SPACES["stack"], 3)
    stated = ours._store.nbytes
    assert held(ours._store) < 0.01 * stated
    ours.add(*next(iter(play(2, SPACES["stack"], 3, 1))))
    assert held(ours._store) == ours._store.nbytes == stated


def held(store):
    tensors = [*store._ring.values(), *store._pool.values()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def test_observations_are_normalised_as_those_in_main_memory():
    env = VecNormalize(DummyVecEnv([macro_cartpole]), clip_obs=0.5)
    env.obs_rms.mean, env.obs_rms.var = np.arange(4), np.arange(1, 5)
    space = env.observation_space
    ours, theirs = both(7, space, 1)
    rng = np.random.default_rng(0)
    for _ in range(9):
        obs, after = rng.normal(size=(2, 1, 4)).astype(np.float32)
        for buffer in (ours, theirs):
            buffer.add(obs, after, np.zeros(1), np.ones(1), np.zeros(1, bool), [{}])
    drawn = []
    for buffer in (ours, theirs):
        np.random.seed(3)
        drawn.append(buffer.sample(13, env=env))
    assert_equal_samples(*drawn)


def test_learning_with_it_is_learning_without_it():
    with_it, without = (
        small(MASPDQN, replay_buffer_class=kind).learn(149)
        for kind in (DeviceReplayBuffer, MacroReplayBuffer)
    )
    assert with_it.replay_buffer.on_device
    th.testing.assert_close(with_it.q_net.state_dict(), without.q_net.state_dict(), rtol=0, atol=0)
