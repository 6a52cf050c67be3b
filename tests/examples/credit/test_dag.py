import itertools

import gymnasium as gym
import numpy as np
import pytest

from examples.credit.dag import (
    episodes_needed,
    expected_return,
    handcrafted,
    learn_weights,
    learner,
    policys_return,
    regular,
)
from sb3_masp.pairwise.problems import dag


@pytest.mark.parametrize("depth", [4, 8])
def test_the_expected_return_is_that_of_all_ways_through_the_environment(depth):
    right = np.random.default_rng(depth).random(dag.n_choices(depth))
    total = 0.0
    for actions in itertools.product((0, 1), repeat=depth // 2):
        env, probability, paid, state = gym.make("Credit/DAG-v0", depth=depth), 1.0, 0.0, 0
        env.reset()
        for action in (*actions, *(0,) * (depth // 2)):
            if state < dag.n_choices(depth):
                probability *= right[state] if action == state % 2 else 1 - right[state]
            state, reward, *_ = env.step(action)
            paid += reward
        total += probability * paid
    assert expected_return(depth, right) == pytest.approx(total)


def test_a_policy_that_knows_nothing_is_worth_nothing_and_a_perfect_one_the_best():
    assert abs(policys_return(learner(8, 0, 0.1), 8)) < 0.2
    assert expected_return(8, np.ones(15)) == dag.best_return(8) == 4


def test_handcrafted_weights_need_fewer_episodes_than_regular_returns():
    needed = [
        episodes_needed(8, weights, "pwr", 0.1, seed=100, most=1_000)["episodes"]
        for weights in (handcrafted(8), regular())
    ]
    assert needed[0] < needed[1] < 1_000


def test_episodes_that_were_not_enough_are_said_to_be():
    found = episodes_needed(8, regular(), "pwr", 1e-6, seed=100, most=40)
    assert found["episodes"] == np.inf
    assert found["expected"] < 0.5


def test_learned_weights_grow_where_a_reward_depends_on_the_action():
    table = learn_weights(4, "pwr", 100, 40, learning_rate=0.1, meta_learning_rate=0.1)
    due = dag.handcrafted_weights(4) > 0
    elsewhere = dag.reachable(4) & ~due
    assert table[due].mean() > table[elsewhere].mean() + 0.1
    assert (table[~dag.reachable(4)] == 0.5).all()
