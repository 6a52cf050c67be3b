from itertools import product

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from macro_gym.errors import ArgumentTypeError, EnvironmentSettingError
from sb3_masp.pairwise.problems import UmbrellaChain, umbrella


def episode(env, actions, seed=None):
    state, _ = env.reset(seed=seed)
    states, rewards, overs = [int(state)], [], []
    for action in actions:
        state, reward, over, truncated, _ = env.step(np.int64(action))
        assert not truncated
        states.append(int(state))
        rewards.append(reward)
        overs.append(over)
    assert overs == [False] * (len(actions) - 1) + [True]
    return states, rewards


def test_only_the_first_action_matters_and_only_to_the_last_reward():
    env = UmbrellaChain(length=5, mean=2, std=3)
    for actions in product((0, 1), repeat=5):
        states, rewards = episode(env, actions, seed=7)
        _, standard = episode(env, (0,) * 5, seed=7)
        assert rewards[:-1] == standard[:-1]
        assert rewards[-1] == (1 if actions[0] else -1)
        assert states == [0] + [2 * t - 1 + actions[0] for t in range(1, 6)]


def test_rewards_on_the_way_are_normal_with_the_given_mean_and_deviation():
    env = UmbrellaChain(length=4001, mean=3, std=7)
    _, rewards = episode(env, (1,) * 4001, seed=11)
    noise = (np.array(rewards[:-1]) - 3) / 7
    assert abs(noise.mean()) < 4 / np.sqrt(4000)
    assert abs(noise.std() - 1) < 4 / np.sqrt(2 * 4000)
    assert abs((np.abs(noise) < 1).mean() - 0.6827) < 0.03


def test_the_best_return_is_that_of_taking_it_where_there_is_no_noise():
    env = UmbrellaChain(length=7, mean=0.5, std=0)
    returns = [sum(episode(env, (first,) * 7)[1]) for first in (0, 1)]
    assert returns == [6 * 0.5 - 1, 6 * 0.5 + 1]
    assert umbrella.best_return(7, mean=0.5) == max(returns)


def test_handcrafted_weights_are_where_rewards_depend_on_the_action():
    length = 4
    env = UmbrellaChain(length=length, std=2)
    expected = np.zeros((umbrella.n_states(length),) * 2)
    for i in range(length):
        for actions in product((0, 1), repeat=length):
            flipped = tuple(a ^ (t == i) for t, a in enumerate(actions))
            states, rewards = episode(env, actions, seed=5)
            _, other = episode(env, flipped, seed=5)
            for k in range(i, length):
                expected[states[i], states[k + 1]] += rewards[k] != other[k]
    np.testing.assert_array_equal(umbrella.handcrafted_weights(length), expected > 0)


def test_seeds_decide_the_rewards():
    first, again, other = (episode(UmbrellaChain(9), (1,) * 9, seed)[1] for seed in (3, 3, 4))
    assert first == again != other


@pytest.mark.parametrize(
    ("settings", "said"), [({"length": 0}, "length is 0"), ({"std": -1}, "-1")]
)
def test_settings_out_of_range_are_refused(settings, said):
    with pytest.raises(EnvironmentSettingError, match=said):
        UmbrellaChain(**settings)


def test_lengths_that_are_no_integers_are_refused():
    with pytest.raises(ArgumentTypeError, match=r"length is 2\.5; it must be an integer"):
        UmbrellaChain(length=2.5)


def test_gymnasium_and_sb3_accept_it_and_its_spec_rebuilds_it():
    env = gym.make("Credit/UmbrellaChain-v0", length=3, mean=2.0)
    check_env(env.unwrapped, skip_render_check=True)
    sb3_check_env(env)
    again = gym.make(env.spec).unwrapped
    assert (again.length, again.mean, again.std) == (3, 2.0, 1.0)
