import pickle
import tracemalloc
import warnings
from itertools import pairwise

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from stable_baselines3.common.buffers import ReplayBuffer

import macro_gym  # noqa: F401  # registers the ids
from sb3_masp import memory
from sb3_masp.buffers import MacroReplayBuffer
from sb3_masp.observation_store import ObservationRing
from sb3_masp.packing import Compressed, Uncompressed
from tests.sb3_masp.replay import (
    ACTIONS,
    DICT,
    SPACES,
    assert_same,
    chosen,
    observations,
    play,
    reloaded,
)

SCREENS = spaces.Box(0, 255, (4, 84, 84), dtype=np.uint8)


def filled(rows, space, stream, **settings):
    buffer = MacroReplayBuffer(rows, space, ACTIONS, "cpu", **settings)
    for decision in stream:
        buffer.add(*decision)
    return buffer


def breakout(k, decisions, seed=0):
    """Random decisions on the emulator, as SB3 adds them."""
    env = gym.make("MacroALE/Breakout-v5", k=k)
    actions = np.random.default_rng(seed).integers(env.action_space.n, size=(decisions, 1))
    obs, _ = env.reset(seed=seed)
    for action in actions:
        next_obs, reward, terminated, truncated, info = env.step(action[0])
        done = terminated or truncated
        yield obs[None], next_obs[None], action, np.array([reward]), np.array([done]), [info]
        obs = env.reset()[0] if done else next_obs


@pytest.fixture(scope="module", params=[0, 128])
def real_play(request):
    return list(breakout(request.param, 397))


@pytest.mark.parametrize(("compress", "share"), [(False, 1 / 2), (None, 1 / 6), (True, 1 / 6)])
def test_breakout_takes_half_of_sb3s_memory_and_compressed_a_sixth(real_play, compress, share):
    ours = filled(397, SCREENS, real_play, compress=compress)
    theirs = ReplayBuffer(397, SCREENS, ACTIONS, "cpu")
    names = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
    sb3 = sum(getattr(theirs, name).nbytes for name in names)
    assert any(done for *_, done, _ in real_play)  # kept aside: an episode's last observation
    assert 0 < ours.nbytes <= share * sb3


@pytest.mark.parametrize("compress", [False, True])
def test_breakout_comes_back_bit_for_bit(real_play, compress):
    buffer = filled(397, SCREENS, real_play, compress=compress)
    samples = buffer.sample(200)
    for index, obs, next_obs in zip(
        samples.indices, samples.observations, samples.next_observations, strict=True
    ):
        np.testing.assert_array_equal(obs, real_play[index][0][0])
        np.testing.assert_array_equal(next_obs, real_play[index][1][0])


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("space", [SPACES["vector"], SPACES["stack"], DICT], ids=str)
def test_the_bytes_it_says_are_those_that_python_allocates(space, compress):
    stream = list(play(0, space, 3, 1511))
    for _ in range(2):  # what is made once and for all by the first
        tracemalloc.start()
        buffer = filled(1051 * 3, space, stream, n_envs=3, compress=compress)
        taken, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert buffer.nbytes == pytest.approx(taken, rel=0.05, abs=4096)


@given(st.lists(st.binary(min_size=30, max_size=30), min_size=1, max_size=5))
def test_what_is_packed_is_unpacked(observations):
    array = np.frombuffer(b"".join(observations), np.uint8).reshape(-1, 30)
    for packing in (Uncompressed(30), Uncompressed(6, 5), Compressed(30)):
        packed = packing.pack(array)
        assert len(packed) == len(observations) * packing.pieces
        assert b"".join(packing.unpack(packed)) == b"".join(observations)
        last = packed[-packing.pieces :]
        assert b"".join(packing.unpack(last)) == observations[-1]


def places(ring, entries):
    """Where the bytes of the observations before and after ``entries`` are, by entry."""
    pair = (ring._before, ring._after)
    return [[tuple(held.reshape(-1, held.shape[-1])[e].tolist()) for held in pair] for e in entries]


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("name", ["vector", "stack"])
def test_an_observation_that_does_not_change_is_held_once(name, compress):
    space = SPACES[name]
    ring = ObservationRing(space, space.shape, 7, 3, compress)
    obs = observations(space, 3)
    ring.add(obs, obs.copy())
    ring.add(obs.copy(), obs.copy())
    ring.add(chosen(np.arange(3) == 1, observations(space, 3), obs), obs)  # one reset from outside
    held = places(ring, range(9))
    for before, after in held[:7] + held[8:]:
        assert before == after
    assert [before for before, _ in held[3:6]] == [before for before, _ in held[:3]]
    assert held[7][0] != held[7][1] == held[4][1]


def test_a_frame_is_held_once_however_many_stacks_and_environments_show_it():
    space = SPACES["stack"]
    first, second, third, fourth, fifth = np.random.default_rng(0).integers(
        0, 256, (5, *space.shape[1:]), np.uint8
    )
    ring = ObservationRing(space, space.shape, 7, 2, compress=False)
    ring.add(
        np.array([[first, second, third], [first, first, first]]),
        np.array([[second, third, fourth], [first, first, fifth]]),
    )
    (before, after), (at_reset, later) = places(ring, range(2))
    assert after[:2] == before[1:]
    assert at_reset == later[:1] * 3 == before[:1] * 3
    assert len({*before, *after, *later}) == 5


@pytest.mark.parametrize("compress", [False, None, True])
@pytest.mark.parametrize("space", [SPACES["stack"], DICT], ids=["stack", "dict"])
@pytest.mark.parametrize("before", [0, 5, 12, 13, 31])
def test_a_buffer_that_was_saved_and_loaded_goes_on_like_the_one_that_was_not(
    space, before, compress
):
    # Law 5: 12 rows, so the cases are empty, part filled, just full, and overwritten.
    buffer = MacroReplayBuffer(
        37, space, ACTIONS, "cpu", 3, n_steps=3, prioritized=True, compress=compress
    )
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


def test_what_was_overwritten_is_freed():
    for compress in (False, True):
        stream = list(play(0, SPACES["stack"], 1, 97, outside=0.5))
        buffer = filled(97, SPACES["stack"], stream, compress=compress)
        once = buffer.nbytes
        for decision in stream * 3:
            buffer.add(*decision)
        # The first observation may share frames with the last one now, and two slabs have parts
        # that are free.
        slab = max(map(len, buffer._store._rings[""]._slabs._slabs))
        assert once - SPACES["stack"].shape[0] * 1100 <= buffer.nbytes <= once + 2 * slab


def test_reset_frees_what_was_held():
    stream = list(play(0, SPACES["stack"], 1, 97))
    for _ in range(2):  # what is made once and for all by the first
        tracemalloc.start()
        buffer = MacroReplayBuffer(97, SPACES["stack"], ACTIONS, "cpu")
        empty, _ = tracemalloc.get_traced_memory()
        for decision in stream:
            buffer.add(*decision)
        full, _ = tracemalloc.get_traced_memory()
        buffer.reset()
        emptied, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert full > empty + 97 * 1000
    assert emptied < empty + 4096


def test_memory_is_stated_with_what_there_is(monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 20 * 2**30)
    buffer = MacroReplayBuffer(200_000, SCREENS, ACTIONS, "cpu")
    assert buffer.memory_statement() == (
        "replay buffer: 200,000 decisions, at most 5.3 GiB when full, "
        "far less if screens compress as games' do; 20.0 GiB free"
    )
    monkeypatch.setattr(memory, "available_memory", lambda: None)
    noise = np.random.default_rng(0).integers(0, 256, (4, 1, 4, 84, 84), np.uint8)
    for obs, next_obs in pairwise(noise):
        buffer.add(obs, next_obs, np.array([0]), np.array([0.0]), np.array([False]), [{}])
    statement = buffer.memory_statement()
    # Noise does not compress, and three decisions hold four observations.
    assert statement == "replay buffer: 200,000 decisions, about 7.0 GiB when full"


def test_a_buffer_that_will_not_fit_warns_before_learning_starts(monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 3 * 2**20)
    message = r"MiB when full; 3\.0 MiB free.*smaller buffer_size"
    with pytest.warns(UserWarning, match=f"at most .*{message}"):
        MacroReplayBuffer(200_003, SPACES["vector"], ACTIONS, "cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MacroReplayBuffer(2003, SPACES["vector"], ACTIONS, "cpu")


def test_a_compressed_buffer_that_will_not_fit_warns_as_soon_as_it_shows(monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 3 * 2**20)
    buffer = MacroReplayBuffer(1999, SPACES["stack"], ACTIONS, "cpu")
    stream = list(play(0, SPACES["stack"], 1, 2100))
    for decision in stream[:19]:
        buffer.add(*decision)
    with pytest.warns(UserWarning, match="about .* MiB when full; 3.0 MiB free"):
        buffer.add(*stream[19])
    for decision in stream[20:]:
        buffer.add(*decision)
