"""Σ(s): the formula, its penalty, and law 8 through it."""

import math

import pytest
import torch as th

from sb3_masp import MASPDQN, StateSimilarity, load_similarity
from sb3_masp import save_similarity as save
from sb3_masp.losses import matrix_mixer, similarity_penalty, similarity_penalty_tangent
from sb3_masp.similarity import SimilarityError
from sb3_masp.similarity.forms import make_similarity
from sb3_masp.similarity_learning import meta
from tests.sb3_masp.learners import is_shown
from tests.sb3_masp.poles import MACROS, SMALL, macro_cartpole
from tests.sb3_masp.test_metagradient import every_learner, learner, relative_error

A, STATES, FEATURES, RANK = 7, 3, 5, 2


def drawn(*shape, seed=17):
    return th.randn(*shape, dtype=th.float64, generator=th.Generator().manual_seed(seed))


def stirred():
    similarity = StateSimilarity(th.rand(A, A).double() + 0.1, RANK, seed=5, n_features=FEATURES)
    similarity.strengths.data += drawn(RANK, FEATURES)
    return similarity


def test_the_similarity_of_a_state_is_the_formula_in_loops():
    similarity, features = stirred(), drawn(STATES, FEATURES, seed=3)
    found = similarity.at(features).detach()
    shared, rows, columns, weights = (p.detach() for p in similarity.parameters())
    for state in range(STATES):
        f = [float(x) for x in features[state]]
        mean = sum(f) / FEATURES
        spread = math.sqrt(sum((x - mean) ** 2 for x in f) / FEATURES + 1e-5)
        unit = [(x - mean) / spread / math.sqrt(FEATURES) for x in f]
        c = [
            math.tanh(sum(float(weights[r, k]) * unit[k] for k in range(FEATURES)))
            for r in range(RANK)
        ]
        for i in range(A):
            row = []
            for j in range(A):
                logit = float(shared[i, j])
                for r in range(RANK):
                    logit += c[r] * float(rows[i, r] * columns[j, r])
                row.append(math.exp(logit) * (i != j))
            expected = th.tensor(row, dtype=th.float64) / sum(row)
            th.testing.assert_close(found[state, i], expected)
    assert float((found[0] - found[1]).abs().max()) > 0.01


def test_at_first_every_state_has_the_similarity_that_it_starts_from():
    similarity = make_similarity("state", "overlap", A, MACROS, seed=1)
    similarity.read(FEATURES)
    everywhere = similarity.at(drawn(STATES, FEATURES).float())
    softmax = make_similarity("softmax", "overlap", A, MACROS)()
    th.testing.assert_close(everywhere, softmax.expand(STATES, A, A))
    assert th.equal(similarity(), softmax)
    assert th.equal(similarity.at(), softmax)


def test_gradients_reach_all_parameters_and_never_the_features():
    similarity, features = stirred(), drawn(STATES, FEATURES, seed=3).requires_grad_()
    names, parameters = zip(*similarity.named_parameters(), strict=True)

    def at(*values):
        named = {f"module.{name}": value for name, value in zip(names, values, strict=True)}
        return th.func.functional_call(Located(similarity), named, (features.detach(),))

    assert th.autograd.gradcheck(at, parameters, fast_mode=True)
    loss = similarity.at(features)[:, 0].square().sum()
    gradients = th.autograd.grad(loss, [*parameters, features], allow_unused=True)
    assert all(bool(gradient.abs().max() > 0) for gradient in gradients[:-1])
    assert gradients[-1] is None


class Located(th.nn.Module):
    """Σ(s) as what a module gives when it is called."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, features):
        return self.module.at(features)


def test_renaming_actions_renames_the_similarity_of_every_state():
    similarity, features = stirred(), drawn(STATES, FEATURES, seed=3)
    order = th.tensor([3, 0, 6, 1, 5, 2, 4])
    plain = similarity.at(features).detach()
    similarity.logits.data = similarity.logits.data[order][:, order]
    similarity.row_keys.data = similarity.row_keys.data[order]
    similarity.column_keys.data = similarity.column_keys.data[order]
    th.testing.assert_close(similarity.at(features).detach(), plain[:, order][:, :, order])


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_penalty_takes_each_state_with_its_own_similarity(reduction):
    q_values = drawn(STATES, A, seed=2).requires_grad_()
    sigma = drawn(STATES, A, A, seed=4).requires_grad_()
    naive = 0
    for state in range(STATES):
        for i in range(A):
            mixed = sum(sigma[state, i, j] * q_values[state, j] for j in range(A))
            naive = naive + (q_values[state, i] - mixed) ** 2
    naive = naive / STATES / (A if reduction == "mean" else 1)
    th.testing.assert_close(similarity_penalty(q_values, matrix_mixer(sigma), reduction), naive)
    tangents = drawn(STATES, A, seed=6)
    (slopes,) = th.autograd.grad(naive, q_values)
    found = similarity_penalty_tangent(q_values, tangents, matrix_mixer(sigma), reduction)
    th.testing.assert_close(found, (slopes * tangents).sum())


@every_learner
def test_outer_gradient_is_exact_through_the_similarity_of_states(kind):
    model = learner(kind, similarity="state", max_grad_norm=0.1)
    assert relative_error(model) < 1e-9
    assert all(bool(p.grad.abs().max() > 0) for p in model.similarity.parameters())


@every_learner
def test_the_law_notices_features_that_are_not_held(monkeypatch, kind):
    model = learner(kind, similarity="state", max_grad_norm=0.1, learning_rate=0.1)
    gradients = meta._gradients

    def after_the_step(learner, inner, *others):
        features = learner.trunk_features(inner.batch.observations)
        return gradients(learner, inner._replace(features=features), *others)

    monkeypatch.setattr(meta, "_gradients", after_the_step)
    assert relative_error(model) > 1e-4


def test_a_learner_comes_to_see_states_apart_and_is_shown_what_they_share(tmp_path):
    model = MASPDQN("MlpPolicy", macro_cartpole(), similarity="state", meta_interval=1, **SMALL)
    model.learn(61)
    features = model.trunk_features(model.replay_buffer.sample(5).observations)
    of_states = model.similarity.at(features).detach()
    assert float((of_states[0] - of_states[1]).abs().max()) > 1e-4
    assert is_shown(model._network, model.similarity)
    model.save(tmp_path / "model")
    loaded = MASPDQN.load(tmp_path / "model").similarity
    assert th.equal(loaded.at(features).detach(), of_states)


def test_what_it_learned_of_states_is_in_its_file_and_for_as_many_features_only(tmp_path):
    similarity, features = stirred(), drawn(STATES, FEATURES, seed=3)
    save(tmp_path / "sigma.safetensors", similarity)
    loaded, _ = load_similarity(tmp_path / "sigma.safetensors")
    assert th.equal(loaded.at(features), similarity.at(features))
    loaded.read(FEATURES)
    assert th.equal(loaded.at(features), similarity.at(features))
    with pytest.raises(SimilarityError, match=r"learned on 5 features of a state, .* has 64"):
        MASPDQN("MlpPolicy", macro_cartpole(), similarity=loaded, **SMALL)
    with pytest.raises(SimilarityError, match="rank is 0"):
        StateSimilarity(th.ones(A, A), rank=0)
