from dataclasses import replace

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.torch_layers import FlattenExtractor

from macro_gym.errors import LearnerSettingError
from sb3_masp.pairwise.trajectory import bootstrapped_rewards, td_errors
from sb3_masp.pairwise.weights import (
    WEIGHTS,
    ClockWeights,
    EmbeddingWeights,
    FixedTableWeights,
    GeometricWeights,
    SequenceWeights,
    StateFeatures,
    StateLambdaWeights,
    TableWeights,
    base,
    make_weights,
    weighted_sum,
)
from tests.sb3_masp.pairwise.trajectories import OBSERVED, trajectory

STATES = 11
BOX = spaces.Box(-np.inf, np.inf, (OBSERVED,), np.float32)


class Float64Features(StateFeatures):
    """Features that stay in float64, where SB3's preprocessing ends in float32."""

    def __init__(self):
        super().__init__(BOX, FlattenExtractor)

    def forward(self, observations):
        return observations.double()


def episodes(traj):
    """For each environment, lists of the decisions of one episode."""
    for env, ends in enumerate(traj.last.tolist()):
        stretch = []
        for t, last in enumerate(ends):
            stretch.append(t)
            if last:
                yield env, stretch
                stretch = []


def randomised(weights):
    """The same form with parameters in float64 that make every weight another."""
    generator = th.Generator().manual_seed(5)
    for parameter in weights.double().parameters():
        parameter.data = th.randn(parameter.shape, dtype=th.float64, generator=generator) / 2
    return weights


def all_forms():
    return {
        "table": (TableWeights(STATES), STATES),
        "fixed table": (FixedTableWeights(np.random.default_rng(0).random((STATES,) * 2)), STATES),
        "clock": (ClockWeights(np.random.default_rng(0).random((50, 50))), None),
        "geometric": (GeometricWeights(0.8), None),
        "state_lambda": (StateLambdaWeights(Float64Features(), 0.9), None),
        "embedding": (EmbeddingWeights(Float64Features(), 7), None),
        "sequence": (SequenceWeights(Float64Features(), 7), None),
    }


@pytest.mark.parametrize("name", all_forms())
@pytest.mark.parametrize("pairs_at_once", [10**6, 30], ids=["at once", "in blocks"])
def test_weighted_sums_are_those_of_loops_over_pairs(name, pairs_at_once, monkeypatch):
    monkeypatch.setattr(base, "PAIRS_AT_ONCE", pairs_at_once)
    form, n_states = all_forms()[name]
    weights, traj = randomised(form), trajectory(1, 2, 7, n_states, durations=True)
    what = th.randn(2, 7, dtype=th.float64, generator=th.Generator().manual_seed(2))
    matrix = weights.matrix(traj)
    expected = th.zeros(2, 7, dtype=th.float64)
    counted = th.zeros(2, 7, 7, dtype=th.bool)
    for env, stretch in episodes(traj):
        for t in stretch:
            for later in stretch:
                if later >= t:
                    expected[env, t] = expected[env, t] + matrix[env, t, later] * what[env, later]
                    counted[env, t, later] = True
    found = weighted_sum(weights, traj, what)
    th.testing.assert_close(found, expected)
    assert (matrix[~counted] == 0).all()
    assert (matrix[counted] > 0).all()
    assert (matrix[counted] <= 1).all()
    if weights.is_learned:
        parameters = list(weights.parameters())
        gradients = th.autograd.grad(found.square().sum(), parameters, materialize_grads=True)
        wanted = th.autograd.grad(expected.square().sum(), parameters, materialize_grads=True)
        th.testing.assert_close(gradients, wanted)


def test_td_errors_weighted_by_powers_of_gamma_lambda_are_generalised_advantages():
    traj, gamma, trace = trajectory(3, 3, 11), 0.9, 0.7
    errors, expected = td_errors(traj), th.zeros(3, 11, dtype=th.float64)
    for env in range(3):
        advantage = 0.0
        for t in reversed(range(11)):
            if traj.last[env, t]:
                advantage = 0.0
            ahead = traj.discounts[env, t] * traj.next_values[env, t]
            delta = traj.rewards[env, t] + ahead - traj.values[env, t]
            advantage = delta + gamma * trace * advantage
            expected[env, t] = advantage
    th.testing.assert_close(weighted_sum(GeometricWeights(gamma * trace), traj, errors), expected)


@pytest.mark.parametrize("durations", [False, True], ids=["steps", "durations"])
def test_rewards_weighted_by_powers_of_gamma_are_monte_carlo_returns(durations):
    traj, gamma = trajectory(4, 3, 11, durations=durations), 0.9
    expected = th.zeros(3, 11, dtype=th.float64)
    for env, stretch in episodes(traj):
        following = traj.next_values[env, stretch[-1]]
        for t in reversed(stretch):
            following = traj.rewards[env, t] + traj.discounts[env, t] * following
            expected[env, t] = following
    found = weighted_sum(GeometricWeights(gamma), traj, bootstrapped_rewards(traj))
    th.testing.assert_close(found, expected)


def test_td_errors_over_decisions_that_last_telescope_to_the_return():
    traj = trajectory(6, 3, 11, durations=True)
    found = weighted_sum(GeometricWeights(0.9), traj, td_errors(traj))
    returns = weighted_sum(GeometricWeights(0.9), traj, bootstrapped_rewards(traj))
    th.testing.assert_close(found, returns - traj.values)


def test_one_lambda_for_all_states_is_the_geometric_decay():
    weights = StateLambdaWeights(Float64Features(), 0.9, start=0.7).double()
    traj = trajectory(5, 3, 7, durations=True)
    expected = GeometricWeights(0.9 * 0.7).matrix(traj)
    th.testing.assert_close(weights.matrix(traj), expected, rtol=1e-6, atol=1e-9)


def test_a_table_is_looked_up_by_the_state_decided_in_and_the_one_arrived_at():
    table = np.random.default_rng(1).random((STATES, STATES)).astype(np.float32)
    traj = trajectory(7, 2, 5, STATES)
    states = traj.observations.flatten()
    matrix = FixedTableWeights(table).matrix(traj)
    for env, stretch in episodes(traj):
        for t in stretch:
            for later in stretch[stretch.index(t) :]:
                origin, arrival = states[env * 5 + t], states[traj.arrivals[env, later]]
                assert matrix[env, t, later] == table[origin, arrival]


def test_clock_weights_are_looked_up_by_the_steps_of_the_episode():
    table = np.random.default_rng(1).random((40, 40)).astype(np.float32)
    traj = trajectory(7, 2, 5, durations=True)
    matrix = ClockWeights(table).matrix(traj)
    assert matrix[1, 2, 4] == table[traj.clock[1, 2], traj.clock[1, 4]]


@pytest.mark.parametrize("name", [name for name in WEIGHTS if name not in ("geometric",)])
def test_learned_weights_begin_close_to_one_half_and_lambdas_where_they_are_told(name):
    space = spaces.Discrete(STATES) if name == "table" else BOX
    features = StateFeatures(space, FlattenExtractor)
    with th.random.fork_rng():
        th.manual_seed(0)
        weights = make_weights(name, space, features, gamma=0.9, gae_lambda=0.8)
    traj = trajectory(8, 2, 7, STATES if name == "table" else None)
    traj = replace(traj, rewards=traj.rewards.float())
    matrix = weights.matrix(traj).double()
    everything = traj.later(slice(0, 7))
    if name == "state_lambda":
        expected = GeometricWeights(0.9 * 0.8).matrix(traj)
        th.testing.assert_close(matrix, expected.double(), rtol=1e-4, atol=1e-4)
    else:
        assert (matrix[everything] - 0.5).abs().max() < 0.06


def test_each_interval_has_an_embedding_of_its_own():
    weights = randomised(EmbeddingWeights(Float64Features(), 7))
    traj = trajectory(9, 1, 5)
    traj.observations[:] = 1.0  # nothing but the interval differs
    matrix = weights.matrix(traj)[0].detach()
    assert len({round(float(matrix[0, later]), 9) for later in range(3)}) == 3
    th.testing.assert_close(matrix[0, 1], matrix[1, 2])


def test_embeddings_read_states_and_the_steps_between_them():
    weights, traj = (
        randomised(EmbeddingWeights(Float64Features(), 7)),
        trajectory(2, 2, 5, None, True),
    )
    matrix, fading = weights.matrix(traj), (1.0, 4.0, 16.0, 64.0, 256.0)
    for env, stretch in episodes(traj):
        for t in stretch:
            for later in stretch[stretch.index(t) :]:
                waited = traj.durations[env, t : later + 1].sum().double()
                views = th.stack([waited.log1p(), *((-waited / scale).exp() for scale in fading)])
                origin = weights.origin(traj.observations[env * 5 + t])
                arrival = weights.arrival(traj.observations[traj.arrivals[env, later]])
                expected = weights.head(origin * arrival * weights.interval(views)).sigmoid()
                th.testing.assert_close(matrix[env, t, later], expected[0])


def test_clocks_far_apart_take_no_more_memory():
    traj = trajectory(2, 2, 5)
    traj = replace(traj, clock=traj.clock + th.tensor([[0], [10**9]]))
    weights = randomised(EmbeddingWeights(Float64Features(), 7))
    th.testing.assert_close(weights.matrix(traj), weights.matrix(trajectory(2, 2, 5)))


@pytest.mark.parametrize("factors", [(0.0, 0.9), (0.9, 0.0)])
def test_weights_of_states_are_numbers_where_nothing_is_left_of_credit(factors):
    gamma, trace = factors
    features = StateFeatures(BOX, FlattenExtractor)
    traj = trajectory(8, 2, 7)
    traj = replace(traj, rewards=traj.rewards.float())
    matrix = make_weights("state_lambda", BOX, features, gamma, trace).matrix(traj)
    assert matrix.isfinite().all()
    assert (matrix.diagonal(dim1=1, dim2=2) == 1).all()


@pytest.mark.parametrize("weights", [TableWeights(11), FixedTableWeights(np.eye(11))])
@pytest.mark.parametrize("space", [BOX, spaces.Discrete(10), spaces.Discrete(12)])
def test_tables_of_other_states_are_refused(weights, space):
    with pytest.raises(LearnerSettingError, match=r"they must be of Discrete\(11\)"):
        weights.require_states(space)
    weights.require_states(spaces.Discrete(11))


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (np.zeros((2, 3)), r"shape \(2, 3\); it must be square"),
        (np.eye(2) * 2, "0 to 2; they must"),
    ],
)
def test_tables_that_are_none_are_refused(table, said):
    with pytest.raises(LearnerSettingError, match=said):
        FixedTableWeights(table)


def test_a_table_of_states_that_are_not_numbered_is_refused():
    features = StateFeatures(BOX, FlattenExtractor)
    with pytest.raises(LearnerSettingError, match="use weights='embedding'"):
        make_weights("table", BOX, features, 0.9, 0.9)
