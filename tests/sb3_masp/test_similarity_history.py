"""The record of how Σ moves: what its figures are, and that keeping it changes nothing."""

import math

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import spearmanr
from stable_baselines3 import DQN
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import configure
from stable_baselines3.common.torch_layers import FlattenExtractor
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from macro_gym.errors import ArgumentTypeError, LearnerSettingError
from sb3_masp import MASPDQN, MASPQRDQN, MASPRainbow
from sb3_masp.similarity import SimilarityError, initial_similarity
from sb3_masp.similarity.health import similarity_health
from sb3_masp.similarity_callbacks import SimilarityHistory
from sb3_masp.similarity_report import Movement, read_history, write_history
from sb3_masp.similarity_report.measures import (
    rank_correlation,
    relative_distance,
    value_agreement,
    value_distances,
)
from tests.sb3_masp.learners import MACROS, macro_cartpole, small
from tests.sb3_masp.poles import macro_breakout

MASPS = [MASPDQN, MASPQRDQN, MASPRainbow]


def learned(history=None, learner=MASPDQN, decisions=210, **settings):
    model = small(learner, meta_interval=1, meta_learning_rate=0.1, **settings)
    return model.learn(decisions, callback=history)


@given(arrays(np.float64, 23, elements=st.sampled_from([0.0, 0.5, -1.0, 2.0, 7.0])))
def test_rank_correlation_is_scipys_ties_included(values):
    other = np.random.default_rng(5).random(23).round(1)
    if len(set(values)) == 1:
        assert math.isnan(rank_correlation(values, other))
    else:
        assert rank_correlation(values, other) == pytest.approx(spearmanr(values, other)[0])


def test_differences_by_rounding_have_no_ranks():
    noise = 1e-9 * np.random.default_rng(3).random(29)
    assert math.isnan(rank_correlation(0.1 + noise, np.arange(29.0)))


def test_distances_of_values_match_naive_loops():
    q = th.randn(11, 5, dtype=th.float64, generator=th.Generator().manual_seed(2))
    naive = [[sum(abs(s[i] - s[j]) for s in q) / 11 for j in range(5)] for i in range(5)]
    th.testing.assert_close(value_distances(q), th.tensor(naive, dtype=th.float64))


def test_agreement_is_the_rank_correlation_of_pairs_of_different_actions():
    generator = th.Generator().manual_seed(7)
    q = th.randn(13, 5, dtype=th.float64, generator=generator)
    similarity = th.rand(5, 5, generator=generator)
    pairs = [(i, j) for i in range(5) for j in range(5) if i != j]
    entries = [float(similarity[pair]) for pair in pairs]
    distances = [float((q[:, i] - q[:, j]).abs().mean()) for i, j in pairs]
    expected = spearmanr(entries, [-distance for distance in distances])[0]
    assert value_agreement(similarity, q) == pytest.approx(expected)
    near = (-value_distances(q)).softmax(dim=1)
    assert value_agreement(-value_distances(q), q) == pytest.approx(1)
    assert value_agreement(near, q) > 0.5
    assert value_agreement(-near, q) < -0.5


def test_states_are_spread_over_the_whole_buffer(monkeypatch):
    history = SimilarityHistory(every=500, states=5)
    model = learned(history, decisions=102)
    asked, original = [], model.replay_buffer._get_samples
    monkeypatch.setattr(
        model.replay_buffer,
        "_get_samples",
        lambda rows, env: [asked.append(rows.tolist()), original(rows, env)][1],
    )
    history._describe()
    assert asked == [[0, 25, 50, 75, 101]]


def test_agreement_says_nothing_of_a_similarity_that_says_nothing():
    assert math.isnan(value_agreement(th.full((5, 5), 0.25), th.randn(3, 5)))
    assert math.isnan(value_agreement(th.rand(5, 5), th.ones(3, 5)))


def test_a_row_holds_the_figures_of_that_moment(tmp_path):
    path = tmp_path / "similarity.csv"
    history = SimilarityHistory(path, every=50, pictures_every=None, states=17)
    model = learned(history)
    assert [row.decisions for row in history.rows] == [0, 50, 100, 150, 200, 210]
    row, similarity = history.rows[-1], model.similarity().detach()
    health = similarity_health(similarity, model.similarity.start)
    kept = {name: value for name, value in health.items() if name in Movement._fields}
    assert {name: getattr(row, name) for name in kept} == pytest.approx(kept)
    assert set(kept) == set(Movement._fields[1:5])
    overlap = initial_similarity("overlap", 5, MACROS).fill_diagonal_(0.0)
    overlap /= overlap.sum(dim=1, keepdim=True)
    expected = float((similarity - overlap).norm() / overlap.norm())
    assert row.distance_from_overlap == pytest.approx(expected)
    assert relative_distance(similarity, overlap) == pytest.approx(expected)
    assert model.replay_buffer.size() == 199
    rows = np.array([round(i * 198 / 16 - 0.5 + 1e-9) for i in range(17)])
    observations = model.replay_buffer._gather(rows, np.ones(17), None).observations
    with th.no_grad():
        q_values = model.q_net(observations)
    assert row.agreement == pytest.approx(value_agreement(similarity, q_values))
    assert history.rows[0].distance_from_start == 0
    assert history.rows[-1].distance_from_start > 0
    assert math.isnan(history.rows[0].agreement)
    assert_same(read_history(path), history.rows)


def assert_same(ours, theirs):
    np.testing.assert_array_equal(np.array(ours), np.array(theirs))


@pytest.mark.parametrize("learner", MASPS)
def test_a_run_that_is_described_is_the_run_that_is_not(learner):
    described, alone = (
        learned(history, learner, decisions=96, env=make_vec_env(macro_cartpole, 2, seed=5))
        for history in (SimilarityHistory(every=10), None)
    )
    assert alone._n_updates > 10
    for name, tensor in alone.policy.state_dict().items():
        assert th.equal(tensor, described.policy.state_dict()[name]), name
    assert th.equal(alone.similarity(), described.similarity())


def test_sb3s_own_buffers_and_batch_norm_are_left_alone_too():
    class Extractor(FlattenExtractor):
        def __init__(self, observation_space):
            super().__init__(observation_space)
            self.norm = th.nn.BatchNorm1d(self.features_dim)

        def forward(self, observations):
            return self.norm(super().forward(observations))

    settings = {
        "replay_buffer_class": ReplayBuffer,
        "similarity_frozen": True,
        "policy_kwargs": {"net_arch": [7], "features_extractor_class": Extractor},
    }
    ends = []
    for history in (SimilarityHistory(every=7), None):
        env = make_vec_env("CartPole-v1", 2, seed=5)
        ends.append(small(MASPDQN, env, embedding_dim=0, **settings).learn(101, callback=history))
    for name, tensor in ends[0].policy.state_dict().items():
        assert th.equal(tensor, ends[1].policy.state_dict()[name]), name


def test_without_macros_there_is_no_overlap_to_be_far_from():
    history = SimilarityHistory(every=45)
    learned(history, env=gym.make("CartPole-v1"), decisions=90)
    assert [row.decisions for row in history.rows] == [0, 45, 90]
    assert all(math.isnan(row.distance_from_overlap) for row in history.rows)


def test_going_on_adds_rows_and_beginning_again_begins_the_table_again(tmp_path):
    history = SimilarityHistory(tmp_path / "similarity.csv", every=40, pictures_every=None)
    model = learned(history, decisions=90)
    model.learn(60, callback=history, reset_num_timesteps=False)
    assert [row.decisions for row in history.rows] == [0, 40, 80, 90, 120, 150]
    resumed = SimilarityHistory(tmp_path / "similarity.csv", every=40, pictures_every=None)
    vars(resumed).update({"rows": history.rows[:3]})
    model.learn(3, callback=resumed, reset_num_timesteps=False)
    assert [row.decisions for row in read_history(tmp_path / "similarity.csv")] == [
        0,
        40,
        80,
        151,
        153,
    ]
    model.learn(90, callback=history)
    assert [row.decisions for row in history.rows] == [0, 40, 80, 90]


def test_the_log_shows_the_figures_and_the_map(tmp_path):
    history = SimilarityHistory(every=40, pictures_every=100)
    model = small(MASPDQN, meta_interval=1)
    model.set_logger(configure(str(tmp_path), ["tensorboard", "csv", "json"]))
    model.learn(211, callback=history, log_interval=1)
    model.dump_logs()
    model.logger.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    shown = {name.partition("/")[2] for name in events.Tags()["scalars"] if "similarity/" in name}
    assert shown >= set(Movement._fields[1:])
    last = events.Scalars("similarity/agreement")[-1].value
    assert last == pytest.approx(history.rows[-1].agreement, rel=1e-6)
    images = events.Images("similarity/map")
    assert len(images) == 2  # past 100 and past 200
    assert images[-1].encoded_image_string.startswith(b"\x89PNG")


def test_the_map_can_be_left_out(tmp_path):
    model = small(MASPDQN)
    model.set_logger(configure(str(tmp_path), []))
    model.learn(60, callback=SimilarityHistory(every=20, pictures_every=None))
    assert "similarity/map" not in model.logger.name_to_value


def test_a_history_of_screens_is_kept():
    history = SimilarityHistory(every=30, states=3, pictures_every=None)
    env = macro_breakout()
    model = small(MASPDQN, env, "CnnPolicy", similarity_start="overlap", learning_starts=50)
    model.learn(31, history)
    assert not math.isnan(history.rows[1].agreement)


def test_learners_without_a_similarity_are_refused():
    model = DQN("MlpPolicy", macro_cartpole())
    with pytest.raises(ArgumentTypeError, match="describes Σ, which a DQN does not have"):
        model.learn(5, callback=SimilarityHistory())


@pytest.mark.parametrize("name", ["every", "pictures_every", "states"])
def test_numbers_below_one_are_refused(name):
    with pytest.raises(LearnerSettingError, match=f"{name} is 0; it must be at least 1"):
        SimilarityHistory(**{name: 0})


def test_a_table_is_read_as_it_was_written_gaps_included(tmp_path):
    rows = [
        Movement(0, 1.0, 1.0, 3.25, 0.0),
        Movement(7, 1 / 3, 0.1, 2.0, 1e-9, math.nan, -0.5),
        Movement(11, 0.5, 0.5, 0.5, 0.5, 2.0, math.nan),
    ]
    write_history(tmp_path / "a.csv", rows)
    assert_same(read_history(tmp_path / "a.csv"), rows)
    text = (tmp_path / "a.csv").read_text().splitlines()
    assert text[1] == "0,1.0,1.0,3.25,0.0,,"
    assert read_history(tmp_path / "none.csv") == ()


@pytest.mark.parametrize("content", ["decisions,entropy\n3,0.5\n", "a\n1\n"])
def test_another_table_is_refused(content, tmp_path):
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(SimilarityError, match=r"a\.csv is no history of a similarity"):
        read_history(tmp_path / "a.csv")


def test_a_table_of_other_than_numbers_is_refused(tmp_path):
    write_history(tmp_path / "a.csv", [Movement(0, 1.0, 1.0, 3.25, 0.0)])
    (tmp_path / "a.csv").write_text((tmp_path / "a.csv").read_text().replace("3.25", "x"))
    with pytest.raises(SimilarityError, match="Was it edited, or cut short"):
        read_history(tmp_path / "a.csv")
