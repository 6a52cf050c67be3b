"""The problems of benchmarks.learning have the answers that their page states."""

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from benchmarks.learning_page import interval
from benchmarks.problems import PROBLEMS, Chain, chain


def play(env, actions):
    env.reset(seed=0)
    total, ends = 0.0, (False, False)
    for action in actions:
        assert not any(ends)
        _, reward, *ends, _ = env.step(action)
        total += reward
    return total, tuple(ends)


def test_the_chain_pays_only_at_its_end_and_wrong_actions_go_back_to_its_start():
    def held(actions):
        return play(Chain(5, 11, lock=(1,)), actions)

    assert held([1] * 5) == (1.0, (True, False))
    assert held([1, 1, 1, 1, 0, 1, 1, 1, 1, 0, 1]) == (0.0, (False, True))
    assert held([1, 1, 0, 1, 1, 1, 1, 1]) == (1.0, (True, False))
    assert play(Chain(5, 11, lock=(1, 0, 0)), [1, 0, 1, 1, 0, 0, 1, 0]) == (1.0, (True, False))


def test_two_macros_are_the_whole_chain_that_primitives_do_not_find():
    env = PROBLEMS["chain"].make()
    assert play(env, [2, 2]) == (1.0, (True, False))
    rng = np.random.default_rng(3)
    found = {True: 0.0, False: 0.0}
    for _ in range(300):
        for macros, problem in ((True, env), (False, chain())):
            over, _ = False, problem.reset()
            while not over:
                _, reward, ended, cut, _ = problem.step(rng.integers(problem.action_space.n))
                found[macros] += reward
                over = ended or cut
    assert found[False] == 0
    assert found[True] >= 3


def test_the_chain_is_an_environment_as_gymnasium_wants_it():
    check_env(Chain(), skip_render_check=True)


def test_the_interval_is_students():
    # Four degrees of freedom: 2.776 standard errors.
    low, high = interval(np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    assert (low, high) == pytest.approx((3 - 2.776 * 0.5**0.5, 3 + 2.776 * 0.5**0.5), abs=1e-3)
