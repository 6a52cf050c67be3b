"""Streams of decisions, and the replay buffer as lists, for the tests of the replay buffer."""

import pickle
from collections import deque
from copy import deepcopy

import numpy as np
import pytest
from gymnasium import spaces

ACTIONS = spaces.Discrete(7)
SPACES = {
    "vector": spaces.Box(-1, 1, (5,)),
    "double": spaces.Box(-1, 1, (2, 3), dtype=np.float64),
    "image": spaces.Box(0, 255, (2, 3, 5), dtype=np.uint8),
    "stack": spaces.Box(0, 255, (3, 17, 61), dtype=np.uint8),  # frames worth sharing: over 1 KiB
    "discrete": spaces.Discrete(3, start=2),
    "bits": spaces.MultiBinary(5),
}
DICT = spaces.Dict({"stack": SPACES["stack"], "state": SPACES["discrete"], "ram": SPACES["double"]})


def observations(space, n_envs):
    """One observation of each environment, as SB3's vectorised environments stack them."""
    if isinstance(space, spaces.Dict):
        return {key: observations(part, n_envs) for key, part in space.spaces.items()}
    return np.stack([np.asarray(space.sample()) for _ in range(n_envs)])


def following(space, obs, n_envs, rng):
    """Observations after ``obs``: of stacks, those of some new frames, or none."""
    if isinstance(space, spaces.Dict):
        return {key: following(part, obs[key], n_envs, rng) for key, part in space.spaces.items()}
    new = observations(space, n_envs)
    if len(space.shape) < 3:
        return new
    shown = rng.integers(space.shape[0] + 1)
    return np.concatenate([obs[:, shown:], new[:, :shown]], axis=1)


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
        next_obs = following(space, obs, n_envs, rng)
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
                assert_equal(mine[key], reference[key])
        elif reference is not None:
            assert_equal(mine, reference)


def assert_equal(mine, reference):
    """Two tensors or arrays: their values and what they are."""
    assert mine.dtype == reference.dtype
    np.testing.assert_array_equal(np.asarray(mine), np.asarray(reference), strict=True)


def assert_same_draws(ours, theirs, stream, env=None):
    """Fill both and compare what the same seed draws, along the way."""
    for step, decision in enumerate(stream):
        ours.add(*decision)
        theirs.add(*deepcopy(decision))  # SB3's Dict buffer reshapes what it is given
        np.random.seed(step)
        mine = ours.sample(13, env=env)
        np.random.seed(step)
        assert_same(mine, theirs.sample(13, env=env))


def in_bytes(obs, position):
    """The bytes of one observation of many, of Dict spaces or not."""
    parts = obs if isinstance(obs, dict) else {"": obs}
    return {key: np.asarray(part[position]).tobytes() for key, part in parts.items()}


class NaiveReplay:
    """The decisions of each environment as a list, and every formula as a loop over them."""

    def __init__(self, rows, n_envs, gamma, n_steps, clip, handle_timeouts):
        self.entries = [deque(maxlen=rows) for _ in range(n_envs)]
        self.rows, self.added = rows, 0
        self.gamma, self.n_steps, self.clip = gamma, n_steps, clip
        self.handle_timeouts = handle_timeouts

    def add(self, obs, next_obs, action, reward, done, infos):
        for env, entries in enumerate(self.entries):
            duration = infos[env].get("duration", 1)
            rewards = infos[env].get("primitive_rewards", [reward[env]])[:duration]
            if self.clip:
                rewards = [min(max(r, -1), 1) for r in rewards]
            timeout = self.handle_timeouts and infos[env]["TimeLimit.truncated"]
            shown, left = in_bytes(obs, env), in_bytes(next_obs, env)
            entry = (shown, left, action[env], list(rewards), done[env], timeout)
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
            if entries[following][0] != next_obs:
                break  # reset from outside
            first = following
        return obs, action, next_obs, float(done and not timeout), total, self.gamma**passed


def assert_like_naive(samples, naive):
    for position, index in enumerate(samples.indices):
        obs, action, next_obs, done, total, discount = naive.sample(index)
        assert in_bytes(samples.observations, position) == obs
        assert in_bytes(samples.next_observations, position) == next_obs
        assert samples.actions[position].item() == action
        assert samples.dones[position].item() == done
        assert samples.rewards[position].item() == pytest.approx(total, rel=1e-5, abs=1e-5)
        assert samples.discounts[position].item() == pytest.approx(discount, rel=1e-5)


def reloaded(buffer):
    return pickle.loads(pickle.dumps(buffer, protocol=pickle.HIGHEST_PROTOCOL))
