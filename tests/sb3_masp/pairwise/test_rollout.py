import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer

from sb3_masp.pairwise import DictTrajectoryBuffer, TrajectoryBuffer

TIME, ENVS, GAMMA, LAMBDA = 7, 3, 0.9, 0.8
SPACE, ACTIONS = spaces.Box(-1, 1, (2,), np.float32), spaces.Discrete(5)


class Play:
    """Made-up decisions of several environments, fed to a buffer and written down beside it."""

    def __init__(self, seed=0, longest=1, rollouts=1):
        rng = np.random.default_rng(seed)
        self.steps = []
        for _ in range(TIME * rollouts):
            dones = rng.random(ENVS) < 0.3
            cut = dones & (rng.random(ENVS) < 0.5)
            durations = rng.integers(1, longest + 1, ENVS)
            paid = rng.normal(size=(ENVS, longest)).astype(np.float32)
            paid[np.arange(longest) >= durations[:, None]] = 0
            self.steps.append(
                {
                    "observations": rng.normal(size=(ENVS, 2)).astype(np.float32),
                    "terminal": rng.normal(size=(ENVS, 2)).astype(np.float32),
                    "actions": rng.integers(0, 5, ENVS),
                    "paid": paid,
                    "durations": durations,
                    "dones": dones,
                    "cut": cut,
                    "values": rng.normal(size=ENVS).astype(np.float32),
                    "cut_values": np.where(cut, rng.normal(size=ENVS), 0).astype(np.float32),
                }
            )
        self.last_values = rng.normal(size=ENVS).astype(np.float32)
        self.last_observations = rng.normal(size=(ENVS, 2)).astype(np.float32)

    def infos(self, step):
        return [
            {
                "duration": int(step["durations"][env]),
                "primitive_rewards": step["paid"][env],
                "terminal_observation": step["terminal"][env],
                "TimeLimit.truncated": bool(step["cut"][env]),
            }
            for env in range(ENVS)
        ]

    def feed(self, buffer, steps=slice(0, TIME), wrap=lambda observations: observations):
        starts = self.steps[steps.start - 1]["dones"] if steps.start else np.ones(ENVS)
        for step in self.steps[steps]:
            rewards, values = step["paid"].sum(axis=1), th.as_tensor(step["values"])
            given = rewards + GAMMA * step["cut_values"]  # as SB3 does
            if isinstance(buffer, TrajectoryBuffer):
                infos = self.infos(step)
                for env, info in enumerate(infos):
                    info["terminal_observation"] = (
                        {name: part[env] for name, part in wrap(step["terminal"]).items()}
                        if isinstance(buffer, DictTrajectoryBuffer)
                        else step["terminal"][env]
                    )
                buffer.note(infos, rewards, step["dones"], step["cut_values"])
            observations = wrap(step["observations"])
            buffer.add(observations, step["actions"], given, starts, values, th.zeros(ENVS))
            starts = step["dones"]
        buffer.compute_returns_and_advantage(
            th.as_tensor(self.last_values), self.steps[steps][-1]["dones"]
        )


def make(kind, space=SPACE, **kwargs):
    return kind(TIME, space, ACTIONS, "cpu", gae_lambda=LAMBDA, gamma=GAMMA, n_envs=ENVS, **kwargs)


def test_without_macros_advantages_and_returns_are_sb3s():
    play, ours, theirs = Play(1), make(TrajectoryBuffer), make(RolloutBuffer)
    play.feed(ours)
    play.feed(theirs)
    np.testing.assert_allclose(ours.advantages, theirs.advantages, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ours.returns, theirs.returns, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("clip", [False, True])
def test_decisions_that_last_discount_rewards_and_bootstraps_step_by_step(clip):
    play = Play(2, longest=4)
    buffer = make(TrajectoryBuffer, clip_rewards=clip)
    play.feed(buffer)
    for env in range(ENVS):
        advantage = 0.0
        for t in reversed(range(TIME)):
            step = play.steps[t]
            lasted = int(step["durations"][env])
            paid = step["paid"][env].clip(-1, 1) if clip else step["paid"][env]
            reward = sum(GAMMA**i * paid[i] for i in range(lasted))
            if step["dones"][env]:
                advantage, following = 0.0, step["cut_values"][env]
            elif t == TIME - 1:
                following = play.last_values[env]
            else:
                following = play.steps[t + 1]["values"][env]
            delta = reward + GAMMA**lasted * following - step["values"][env]
            advantage = delta + (GAMMA * LAMBDA) ** lasted * advantage
            np.testing.assert_allclose(buffer.advantages[t, env], advantage, rtol=1e-4, atol=1e-5)


def test_arrivals_are_the_next_states_and_at_an_end_the_terminal_ones():
    play, buffer = Play(3, longest=4), make(TrajectoryBuffer)
    play.feed(buffer)
    traj = buffer.trajectory(play.last_observations)
    arrived = traj.observations[traj.arrivals].numpy()
    decided = traj.decided.reshape(ENVS, TIME, 2).numpy()
    for env in range(ENVS):
        for t in range(TIME):
            step = play.steps[t]
            np.testing.assert_array_equal(decided[env, t], step["observations"][env])
            if step["dones"][env]:
                expected = step["terminal"][env]
            elif t == TIME - 1:
                expected = play.last_observations[env]
            else:
                expected = play.steps[t + 1]["observations"][env]
            np.testing.assert_array_equal(arrived[env, t], expected)
            assert bool(traj.last[env, t]) == (bool(step["dones"][env]) or t == TIME - 1)
            assert traj.actions.reshape(ENVS, TIME)[env, t] == step["actions"][env]


def test_the_clock_goes_on_from_one_rollout_to_the_next_and_stops_at_ends():
    play, buffer = Play(4, longest=4, rollouts=3), make(TrajectoryBuffer)
    now = np.zeros(ENVS, int)
    for rollout in range(3):
        steps = slice(rollout * TIME, (rollout + 1) * TIME)
        buffer.reset()
        play.feed(buffer, steps)
        clock = buffer.trajectory(play.last_observations).clock.numpy()
        for t, step in enumerate(play.steps[steps]):
            np.testing.assert_array_equal(clock[:, t], now)
            now = (now + step["durations"]) * ~step["dones"]
    assert clock.max() > 4


def test_the_clock_starts_anew_where_environments_were_reset_in_the_middle_of_episodes():
    play, buffer = Play(4, longest=4), make(TrajectoryBuffer)
    for _ in range(2):  # each begins with new episodes, as `learn` does
        buffer.reset()
        play.feed(buffer)
        clock = buffer.trajectory(play.last_observations).clock
        assert (clock[:, 0] == 0).all()
        assert clock.max() > 4


def test_terminated_episodes_are_not_bootstrapped_and_those_cut_off_are():
    play, buffer = Play(5), make(TrajectoryBuffer)
    play.feed(buffer)
    traj = buffer.trajectory(play.last_observations)
    for t, step in enumerate(play.steps):
        terminated = step["dones"] & ~step["cut"]
        np.testing.assert_array_equal(traj.discounts[:, t].numpy() == 0, terminated)
        np.testing.assert_allclose(
            traj.next_values[:, t][th.as_tensor(step["cut"])], step["cut_values"][step["cut"]]
        )


def test_dictionaries_are_stored_part_by_part():
    space = spaces.Dict({"whole": SPACE, "sign": spaces.Discrete(2)})

    def wrap(observations):
        return {"whole": observations, "sign": (observations[:, 0] > 0).astype(int)}

    play = Play(6)
    plain, of_parts = make(TrajectoryBuffer), make(DictTrajectoryBuffer, space)
    play.feed(plain)
    play.feed(of_parts, wrap=wrap)
    expected = plain.trajectory(play.last_observations)
    found = of_parts.trajectory(wrap(play.last_observations))
    assert th.equal(found.observations["whole"], expected.observations)
    signs = (expected.observations[:, 0] > 0).long()
    assert th.equal(found.observations["sign"].flatten(), signs)
    assert th.equal(found.arrivals, expected.arrivals)


def test_numbered_states_are_stored_as_they_are():
    env = gym.make("FrozenLake-v1")
    buffer = make(TrajectoryBuffer, env.observation_space)
    play = Play(7)
    number = lambda observations: (np.abs(observations[:, 0]) * 3).astype(int)  # noqa: E731
    for step in play.steps:
        infos = play.infos(step)
        for env_index, info in enumerate(infos):
            info["terminal_observation"] = int(number(step["terminal"])[env_index])
        buffer.note(infos, step["paid"].sum(axis=1), step["dones"], step["cut_values"])
        values = th.as_tensor(step["values"])
        buffer.add(number(step["observations"]), step["actions"], 0, 0, values, th.zeros(ENVS))
    buffer.compute_returns_and_advantage(th.as_tensor(play.last_values), step["dones"])
    traj = buffer.trajectory(number(play.last_observations))
    assert traj.observations.shape[1:] == (1,)
    assert traj.observations[TIME + 2] == number(play.steps[2]["observations"])[1]
