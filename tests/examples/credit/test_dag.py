import itertools

import gymnasium as gym
import numpy as np
import pytest

from examples.credit.dag import (
    ARMS,
    LEARNED,
    Budget,
    Settings,
    episodes_needed,
    expected_return,
    handcrafted,
    learn_weights,
    learner,
    main,
    policys_return,
    regular,
    table_path,
)
from examples.credit.runs import read_rows
from sb3_masp.pairwise.problems import dag
from sb3_masp.pairwise.weight_files import load_weights


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
    assert found["episodes"] == 80
    assert found["expected"] < 0.5


def test_learned_weights_grow_where_a_reward_depends_on_the_action():
    budget = Budget(outer_steps=40, inner_learning_rate=0.1)
    table = learn_weights(4, "pwr", 100, budget).values.numpy()
    due = dag.handcrafted_weights(4) > 0
    elsewhere = dag.reachable(4) & ~due
    assert table[due].mean() > table[elsewhere].mean() + 0.1
    assert (table[~dag.reachable(4)] == 0.5).all()


def test_weights_are_learned_once_and_used_by_the_run_of_their_seed(tmp_path, capsys):
    settings = Settings(smoke=True, output=tmp_path / "dag.csv")
    main(settings)
    weights, learned = read_rows(tmp_path / "dag_weights.csv"), read_rows(tmp_path / "dag.csv")
    assert {(run.arm, run.seed) for run in weights} == {
        (arm, seed) for arm in LEARNED for seed in (0, 100)
    }
    assert len(learned) == len(ARMS) * (4 + 1)
    assert {run.choice for run in learned if not run.is_reported} == set(
        ARMS["handcrafted"].choices
    )
    for run in weights:
        assert load_weights(table_path(tmp_path / "dag_weights", run)).values.shape == (10, 10)
    capsys.readouterr()
    main(settings)
    assert "0 of 4 runs to do" in capsys.readouterr().out
