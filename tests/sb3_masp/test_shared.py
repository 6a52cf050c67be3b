"""One step's outer batch as the next one's inner: the same updates as by drawing it twice."""

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from stable_baselines3.common.buffers import ReplayBuffer

from macro_gym import MacroSet
from macro_gym.errors import LearnerSettingError
from macro_gym.macro_action import MacroAction
from sb3_masp import MASPDQN, MASPQRDQN, MASPRainbow
from sb3_masp.checkpoint import load_checkpoint, save_checkpoint

MACROS = MacroSet(("LEFT", "RIGHT"), ((0, 0), (1, 1), (0, 1, 0)))


def learner(kind=MASPDQN, way="meta_shared", **kwargs):
    settings = {"learning_rate": 1e-2, "meta_interval": 1, "max_grad_norm": 0.1} | kwargs
    model = kind(
        "MlpPolicy",
        MacroAction(gym.make("CartPole-v1"), MACROS),
        buffer_size=211,
        learning_starts=1000,  # no update yet
        seed=7,
        similarity_learning=way,
        **settings,
    )
    return model.learn(101)


def hand_the_outer_batch_on(model):
    """Let plain meta-learning draw as shared meta-learning should."""
    kept, sample, way = [], model._sample, model.similarity_learning

    def step(learner, inner):
        outer = sample(len(inner.batch.actions))
        way.outer_step(learner, inner, outer)
        kept.append(outer)

    way.step = step
    model._sample = lambda size: kept.pop() if kept else sample(size)


def some_updates(model):
    """Updates before and after one of the target network."""
    model.train(3, 17)
    model._n_calls = model.target_update_interval - 1
    model._on_step()
    model.train(4, 17)
    return [*model.policy.parameters(), *model.similarity.parameters()]


def count_evaluations(monkeypatch, model):
    counted, td_loss = [], model._td_loss
    monkeypatch.setattr(model, "_td_loss", lambda batch: counted.append(1) or td_loss(batch))
    return counted


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (MASPDQN, {"embedding_dim": 0}),
        (MASPDQN, {"embedding_dim": 0, "tau": 0.3}),
        (MASPDQN, {"embedding_dim": 0, "meta_interval": 3}),
        (MASPDQN, {"embedding_dim": 0, "prioritized_replay": True, "double_q": True}),
        (MASPDQN, {}),
        (MASPDQN, {"embedding": "dense", "meta_average": 2}),
        (MASPQRDQN, {"embedding_dim": 0}),
        (MASPRainbow, {}),
    ],
    ids=str,
)
def test_updates_are_those_of_drawing_the_outer_batch_again(kind, settings):
    plain = learner(kind, "meta", **settings)
    hand_the_outer_batch_on(plain)
    expected = some_updates(plain)
    found = some_updates(learner(kind, **settings))
    for ours, theirs in zip(found, expected, strict=True):
        th.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "settings", "evaluations"),
    [
        # Seven inner and seven outer steps: the first inner one has nothing to take over, and nor
        # has the one after the target network's update.
        (MASPDQN, {"embedding_dim": 0}, 9),
        (MASPQRDQN, {"embedding_dim": 0}, 9),
        (MASPDQN, {"embedding_dim": 0, "meta_interval": 3}, 7 + 3 - 2),
        (MASPDQN, {}, 14),  # e_Σ has moved
        (MASPRainbow, {"embedding_dim": 0}, 14),  # other noise
    ],
    ids=str,
)
def test_losses_are_taken_over_only_where_nothing_has_changed(
    monkeypatch, kind, settings, evaluations
):
    model = learner(kind, **settings)
    counted = count_evaluations(monkeypatch, model)
    some_updates(model)
    assert len(counted) == evaluations


@pytest.mark.parametrize("settings", [{}, {"embedding_dim": 0}], ids=str)
def test_a_resumed_run_learns_from_the_batch_that_was_kept(tmp_path, settings):
    model = learner(prioritized_replay=True, **settings)
    model.train(2, 17)
    save_checkpoint(tmp_path / "checkpoint", model, {})
    resumed = load_checkpoint(tmp_path / "checkpoint").model
    resumed.set_logger(model.logger)
    for each in (model, resumed):
        np.random.seed(3)  # which batches are drawn by
        each.train(3, 17)
    for ours, theirs in zip(
        [*resumed.policy.parameters(), *resumed.similarity.parameters()],
        [*model.policy.parameters(), *model.similarity.parameters()],
        strict=True,
    ):
        th.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


def test_a_model_saved_before_its_first_outer_step_is_loaded(tmp_path):
    model = learner()
    model.save(tmp_path / "model.zip")
    loaded = MASPDQN.load(tmp_path / "model.zip")
    assert loaded.similarity_learning.kept.batch is None
    assert type(loaded.similarity_learning).way == "meta_shared"


def test_outer_batches_of_a_size_of_their_own_are_refused():
    with pytest.raises(LearnerSettingError, match="outer_batch_size is 19; it must be None"):
        learner(outer_batch_size=19)


@pytest.mark.filterwarnings("ignore:ReplayBuffer does not know how long")
def test_a_buffer_whose_batches_cannot_be_kept_is_refused():
    with pytest.raises(LearnerSettingError, match=r"ReplayBuffer.*; it must be MacroReplayBuffer"):
        learner(replay_buffer_class=ReplayBuffer)


@pytest.mark.filterwarnings("ignore:ReplayBuffer does not know how long")
def test_a_saved_buffer_whose_batches_cannot_be_kept_is_refused(tmp_path):
    learner(way="meta", replay_buffer_class=ReplayBuffer).save_replay_buffer(tmp_path / "buffer")
    model = learner()
    own = model.replay_buffer
    with pytest.raises(LearnerSettingError, match=r"ReplayBuffer.*; it must be MacroReplayBuffer"):
        model.load_replay_buffer(tmp_path / "buffer")
    assert model.replay_buffer is own


def test_a_loaded_model_whose_replay_is_empty_draws_a_batch_of_its_own(tmp_path):
    model = learner(prioritized_replay=True)
    model.train(3, batch_size=13)
    model.save(tmp_path / "model")
    loaded = MASPDQN.load(tmp_path / "model", env=model.env)
    assert loaded.similarity_learning.kept.batch is not None
    loaded.learning_starts = 0
    loaded.learn(20)
    assert loaded._n_updates == 3 + 5
    assert len(loaded.replay_buffer.sample(97).actions) == 97
