import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.torch_layers import FlattenExtractor

from sb3_masp.pairwise.redistribution import ReturnPredictor, redistributed, stretch_sums
from sb3_masp.pairwise.weights import StateFeatures
from tests.sb3_masp.pairwise.test_weights import episodes
from tests.sb3_masp.pairwise.trajectories import ACTIONS, OBSERVED, trajectory


@pytest.fixture
def predictor():
    space = spaces.Box(-np.inf, np.inf, (OBSERVED,), np.float32)
    with th.random.fork_rng():
        th.manual_seed(1)
        made = ReturnPredictor(
            StateFeatures(space, FlattenExtractor), spaces.Discrete(ACTIONS), dim=7
        )
        th.nn.init.normal_(made.head.weight)
    return made


def test_redistribution_keeps_the_sum_of_every_stretch():
    traj = trajectory(1, 3, 7)
    predictions = th.randn(3, 7, dtype=th.float64, generator=th.Generator().manual_seed(0))
    moved = redistributed(predictions, traj.rewards, traj)
    for env, stretch in episodes(traj):
        th.testing.assert_close(moved[env, stretch].sum(), traj.rewards[env, stretch].sum())


def test_rewards_move_to_where_the_prediction_changes():
    traj = trajectory(1, 1, 7)
    (_, first), (_, second) = episodes(traj)
    predictions = th.zeros(1, 7, dtype=th.float64)
    for stretch in (first, second):  # known from the second decision on
        predictions[0, stretch[1:]] = traj.rewards[0, stretch].sum()
    moved = redistributed(predictions, traj.rewards, traj)
    for stretch in (first, second):
        expected = th.zeros(len(stretch), dtype=th.float64)
        expected[1] = traj.rewards[0, stretch].sum()
        th.testing.assert_close(moved[0, stretch], expected)


def test_sums_are_of_the_stretch_alone():
    traj = trajectory(2, 2, 7)
    sums = stretch_sums(traj.rewards, traj)
    for env, stretch in episodes(traj):
        for t in stretch:
            th.testing.assert_close(sums[env, t], traj.rewards[env, stretch].sum())


def test_predictions_depend_on_the_past_of_the_episode_alone(predictor):
    traj = trajectory(3, 2, 7)
    before = predictor(traj)
    place = 7 + 4  # decision 4 of the second environment, which has one stretch
    traj.observations[place] += 1
    changed = (predictor(traj) != before).tolist()
    assert changed == [[False] * 7, [False] * 4 + [True] * 3]


def test_the_predictor_starts_anew_with_each_stretch(predictor):
    traj = trajectory(3, 1, 7)
    cut = int(traj.last[0].nonzero()[0]) + 1
    before = predictor(traj)
    traj.observations[0] += 1
    after = predictor(traj)
    assert (after[0, :cut] != before[0, :cut]).all()
    assert (after[0, cut:] == before[0, cut:]).all()
