from itertools import pairwise, product

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from macro_gym.errors import ArgumentTypeError, EnvironmentSettingError
from sb3_masp.pairwise.problems import DAG, dag


def episode(depth, actions):
    """States and rewards of an episode that makes these choices, by the environment."""
    env = DAG(depth)
    state, _ = env.reset()
    states, rewards, over = [int(state)], [], False
    actions = iter((*actions, *(0,) * depth))
    while not over:
        state, reward, over, truncated, _ = env.step(np.int64(next(actions)))
        assert not truncated
        states.append(int(state))
        rewards.append(reward)
    return states, rewards


def all_episodes(depth):
    return {choices: episode(depth, choices) for choices in product((0, 1), repeat=depth // 2)}


def test_states_are_numbered_by_layers_as_in_the_paper():
    layers = [set(layer) for layer in zip(*(s for s, _ in all_episodes(8).values()), strict=True)]
    bounds = (0, 1, 3, 7, 15, 31, 39, 43, 45, 46)
    expected = [set(range(a, b)) for a, b in pairwise(bounds)]
    assert layers == expected


def test_one_episode_at_depth_8_is_as_worked_out_by_hand():
    states, rewards = episode(8, (0, 1, 0, 0))
    assert states == [0, 1, 4, 9, 19, 36, 41, 44, 45]
    assert rewards == [0, 0, 0, 0, -1, 1, 1, 1]


def test_every_step_of_the_second_phase_and_no_other_pays_plus_or_minus_one():
    for states, rewards in all_episodes(8).values():
        for state, reward in zip(states, rewards, strict=False):
            assert (reward in (-1, 1)) if state >= 15 else reward == 0


def test_the_action_at_state_1_decides_the_reward_on_the_step_into_state_44():
    paid = {
        (states[states.index(1) + 1], rewards[states.index(44) - 1])
        for states, rewards in all_episodes(8).values()
        if 1 in states
    }
    assert paid == {(3, -1), (4, 1)}


@pytest.mark.parametrize("depth", [2, 4, 8])
def test_returns_are_those_of_counting_right_choices_and_one_path_has_the_best(depth):
    n = depth // 2
    returns = sorted(sum(rewards) for _, rewards in all_episodes(depth).values())
    signs = sorted(map(sum, product((-1, 1), repeat=n)))
    assert returns == signs
    assert max(returns) == dag.best_return(depth) == n
    assert returns.count(n) == 1


@pytest.mark.parametrize("depth", [4, 8])
def test_flipping_the_last_choice_changes_the_first_reward_alone(depth):
    episodes = all_episodes(depth)
    for choices, (states, rewards) in episodes.items():
        last = depth // 2 - 1
        flipped = (*choices[:last], 1 - choices[last])
        other_states, other = episodes[flipped]
        changed = [step for step in range(depth) if rewards[step] != other[step]]
        assert changed == [last + 1]
        assert states[last + 2 :] == other_states[last + 2 :]


@pytest.mark.parametrize("depth", [4, 8])
def test_handcrafted_weights_are_where_rewards_differ_between_actions(depth):
    """Dependence found by looking at the rewards of all paths through both states."""
    paid = {}
    for states, rewards in all_episodes(depth).values():
        for i, j in product(range(depth), repeat=2):
            if i <= j:
                by_action = paid.setdefault((states[i], states[j + 1]), {})
                by_action.setdefault(states[i + 1], set()).add(rewards[j])
    expected = np.zeros((dag.n_states(depth),) * 2)
    for pair, by_action in paid.items():
        expected[pair] = len({frozenset(outcomes) for outcomes in by_action.values()}) > 1
    np.testing.assert_array_equal(dag.handcrafted_weights(depth), expected)
    assert expected.sum() == dag.n_choices(depth)


@pytest.mark.parametrize("depth", [4, 8])
def test_reachable_pairs_are_those_on_common_paths(depth):
    expected = np.zeros((dag.n_states(depth),) * 2, bool)
    for states, _ in all_episodes(depth).values():
        for i, j in product(range(depth + 1), repeat=2):
            expected[states[i], states[j]] |= i < j
    np.testing.assert_array_equal(dag.reachable(depth), expected)
    assert not np.any(dag.handcrafted_weights(depth)[~expected])


def test_the_three_depths_of_the_paper_have_their_numbers_of_states():
    assert [dag.n_states(depth) for depth in (4, 8, 16)] == [10, 46, 766]
    assert [dag.n_choices(depth) for depth in (4, 8, 16)] == [3, 15, 255]
    assert [len(episode(depth, ())[1]) for depth in (4, 8, 16)] == [4, 8, 16]


def test_no_constant_policy_gets_half_of_the_best():
    for depth, action in product((4, 8, 16), (0, 1)):
        assert sum(episode(depth, (action,) * (depth // 2))[1]) <= dag.best_return(depth) / 2


@pytest.mark.parametrize("depth", [3, 0, -2])
def test_depths_that_are_not_even_or_too_small_are_refused(depth):
    with pytest.raises(EnvironmentSettingError, match=f"depth is {depth}; it must be"):
        DAG(depth)


def test_depths_that_are_no_integers_are_refused():
    with pytest.raises(ArgumentTypeError, match=r"depth is 8\.5; it must be an integer"):
        DAG(8.5)


def test_gymnasium_and_sb3_accept_it_and_its_spec_rebuilds_it():
    env = gym.make("Credit/DAG-v0", depth=4)
    check_env(env.unwrapped, skip_render_check=True)
    sb3_check_env(env)
    again = gym.make(env.spec)
    assert again.unwrapped.depth == 4
    assert gym.make("Credit/DAG-v0").unwrapped.depth == 8
