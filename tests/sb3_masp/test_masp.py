"""Which updates have an outer step, on what data, and at which learning rate."""

from itertools import combinations

import gymnasium as gym
import numpy as np
import pytest
import torch as th

from macro_gym import MacroAction, MacroSet
from sb3_masp import (
    MASPDQN,
    SoftmaxSimilarity,
    load_similarity,
    save_similarity,
)
from sb3_masp.similarity import SimilarityAbout
from tests.sb3_masp.poles import same_weights

MACROS = MacroSet(("LEFT", "RIGHT"), ((0, 0), (1, 1), (0, 1, 0), (1, 0, 1, 1), (0, 0, 1)))
STEPS = 101


def learner(**kwargs):
    """A learner that will make its first update after 23 decisions."""
    env = MacroAction(gym.make("CartPole-v1"), MACROS)
    settings = {"buffer_size": 199, "learning_starts": 23, "train_freq": 1, "seed": 3} | kwargs
    return MASPDQN("MlpPolicy", env, batch_size=13, **settings)


def at_each(monkeypatch, model, name, note):
    """What ``note(*args)`` gives at each call of the model's method, which still runs."""
    notes, method = [], getattr(model, name)

    def noting(*args, **kwargs):
        notes.append(note(*args))
        return method(*args, **kwargs)

    monkeypatch.setattr(model, name, noting)
    return notes


@pytest.mark.parametrize("meta_interval", [1, 3])
def test_the_first_update_and_every_meta_interval_th_after_it_have_an_outer_step(
    monkeypatch, meta_interval
):
    model = learner(meta_interval=meta_interval).learn(23)
    updates = at_each(
        monkeypatch, model.similarity_learning, "outer_step", lambda *_: model._n_updates
    )
    for gradient_steps in (1, 5, 2, 11):
        model.train(gradient_steps, batch_size=7)
    assert model._n_updates == 19
    assert updates == list(range(0, 19, meta_interval))


@pytest.mark.parametrize("settings", [{"eta": 0}, {"similarity_frozen": True}], ids=str)
def test_a_similarity_that_does_not_learn_has_no_outer_steps(monkeypatch, settings):
    model = learner(meta_interval=1, **settings).learn(23)
    updates = at_each(
        monkeypatch, model.similarity_learning, "outer_step", lambda *_: model._n_updates
    )
    model.train(5, batch_size=7)
    assert updates == []


def test_outer_batches_are_of_the_size_that_was_asked_for(monkeypatch):
    model = learner(meta_interval=2, outer_batch_size=17).learn(23)
    sizes = at_each(monkeypatch, model, "_sample", lambda size: size)
    model.train(3, batch_size=7)
    assert sizes == [7, 17, 7, 7, 17]


def test_the_penalty_weighs_what_the_schedule_of_eta_has_come_to(monkeypatch):
    falling, constant = (
        learner(eta=eta, similarity="uniform").learn(23) for eta in (lambda p: 8 * p**2, 2.0)
    )
    logged = at_each(monkeypatch, falling.logger, "record", lambda *args, **_: args)
    for model in (falling, constant):
        model._current_progress_remaining = 0.5
        np.random.seed(5)
        model.train(2, batch_size=7)
    assert same_weights(falling, constant)
    assert ("train/eta", 2.0) in logged


@pytest.mark.parametrize("prioritized_replay", [False, True], ids=["uniform", "prioritised"])
def test_every_inner_and_every_outer_step_gets_a_draw_of_its_own(monkeypatch, prioritized_replay):
    model = learner(meta_interval=1, prioritized_replay=prioritized_replay).learn(23)
    inner = at_each(monkeypatch, model, "_inner_step", lambda batch: batch.indices)
    outer = at_each(
        monkeypatch, model.similarity_learning, "outer_step", lambda *args: args[2].indices
    )
    model.train(5, batch_size=7)
    assert [len(indices) for indices in inner + outer] == [7] * 10
    assert not any(np.array_equal(*pair) for pair in combinations(inner + outer, 2))


@pytest.mark.parametrize(
    ("given", "schedule"),
    [
        (0.0037, lambda remaining: 0.0037),
        (lambda remaining: 0.02 * remaining**2, lambda remaining: 0.02 * remaining**2),
    ],
    ids=["number", "schedule"],
)
def test_outer_steps_are_taken_at_the_meta_learning_rate(monkeypatch, given, schedule):
    model = learner(meta_interval=1, meta_learning_rate=given)
    optimizer = model.similarity_learning.optimizer
    found = at_each(monkeypatch, optimizer, "step", lambda: optimizer.param_groups[0]["lr"])
    model.learn(STEPS)
    expected = [schedule(1 - decision / STEPS) for decision in range(24, STEPS + 1)]
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(("buffer", "start"), [({}, 0.4), ({"importance_exponent": 0.7}, 0.7)])
def test_importance_weights_grow_from_the_buffers_exponent_to_full_strength(
    monkeypatch, buffer, start
):
    model = learner(prioritized_replay=True, replay_buffer_kwargs=buffer)
    found = at_each(
        monkeypatch, model, "_inner_step", lambda _: model.replay_buffer.importance_exponent
    )
    model.learn(STEPS)
    expected = [start + (1 - start) * decision / STEPS for decision in range(24, STEPS + 1)]
    assert found == pytest.approx(expected)


def test_a_run_starts_from_the_similarity_that_it_is_given_and_a_loaded_one_from_its_own(tmp_path):
    given = SoftmaxSimilarity(th.ones(7, 7))
    given.logits.data[0, 1] += 3
    save_similarity(tmp_path / "sigma", given, SimilarityAbout.of(MACROS))
    assert th.equal(load_similarity(tmp_path / "sigma")[0].start, given.start)
    for similarity in (given, str(tmp_path / "sigma")):
        model = learner(similarity=similarity)
        assert th.equal(model.similarity.start, given())
        model.similarity.logits.data[2, 3] += 1
        model.save(tmp_path / "model")
        assert th.equal(MASPDQN.load(tmp_path / "model").similarity.start, given())
