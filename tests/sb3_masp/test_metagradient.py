"""Law 8: the outer gradient equals the double-backward one, to rounding."""

from itertools import combinations

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from stable_baselines3.common.torch_layers import FlattenExtractor, NatureCNN

from benchmarks.double_backward import double_backward_gradient
from macro_gym import MacroSet
from macro_gym.macro_action import MacroAction
from sb3_masp import MASPDQN, MASPQRDQN, optimizer_vjp
from sb3_masp.rainbow.masp_rainbow import MASPRainbow
from sb3_masp.similarity import FixedSimilarity
from sb3_masp.similarity_learning import meta
from tests.sb3_masp.learners import is_shown

MACROS = MacroSet(("LEFT", "RIGHT"), ((0, 0), (1, 1), (0, 1, 0), (1, 0, 1, 1), (0, 0, 1)))


LEARNERS = {
    MASPDQN: {},
    MASPQRDQN: {"policy_kwargs": {"n_quantiles": 7}},
    # Few atoms, close enough for TD errors to matter, and returns beyond both ends.
    MASPRainbow: {"n_atoms": 7, "v_min": -3.0, "v_max": 5.0},
}
every_learner = pytest.mark.parametrize("kind", LEARNERS, ids=lambda kind: kind.__name__)


class DoubleFlatten(FlattenExtractor):
    """SB3 hands networks float32; the law is checked in float64."""

    def forward(self, observations):
        return super().forward(observations).double()


class DoubleNormalised(DoubleFlatten):
    def __init__(self, observation_space):
        super().__init__(observation_space)
        self.norm = th.nn.BatchNorm1d(self.features_dim)

    def forward(self, observations):
        return self.norm(super().forward(observations))


class DoubleNatureCNN(NatureCNN):
    def forward(self, observations):
        return super().forward(observations.double())


class NoisyImages(gym.Env):
    """Random pixels and rewards: all that a gradient check needs of a game."""

    observation_space = gym.spaces.Box(0, 255, (4, 84, 84), np.uint8)
    action_space = gym.spaces.Discrete(7)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._image(), {}

    def step(self, action):
        done = bool(self.np_random.random() < 0.1)
        return self._image(), float(self.np_random.normal()), done, False, {}

    def _image(self):
        return self.np_random.integers(0, 256, (4, 84, 84), np.uint8)


def learner(kind=MASPDQN, updates=3, policy="MlpPolicy", env=None, policy_kwargs=None, **kwargs):
    """A float64 learner with some experience and ``updates`` updates behind it."""
    net = {"features_extractor_class": DoubleFlatten, "net_arch": [13, 11]}
    if policy == "CnnPolicy":
        net = {"features_extractor_class": DoubleNatureCNN, "net_arch": []}
    own = LEARNERS[kind]
    net |= own.get("policy_kwargs", {}) | (policy_kwargs or {})
    model = kind(
        policy,
        env or MacroAction(gym.make("CartPole-v1"), MACROS),
        buffer_size=211,
        learning_rate=kwargs.pop("learning_rate", 1e-2),
        learning_starts=101,
        seed=5,
        meta_interval=1,
        **own | kwargs | {"policy_kwargs": net},
    )
    model.policy.double()
    model.similarity.double()
    model.similarity_learning.gradients.double()
    model.learn(101)
    # Away from the symmetric start, where most errors would hide.
    for parameter in model.similarity.parameters():
        parameter.data += 0.3 * th.randn_like(parameter)
    model._show_similarity()
    for _ in range(updates):
        model._begin_update()
        model._inner_step(model._sample(19), keep=False)
    model._begin_update()
    return model


def relative_error(model):
    """Largest error of the learner's gradient over the reference's largest entry."""
    inner, outer = model._sample(17), model._sample(23)
    expected, _ = double_backward_gradient(model, inner, outer)
    model.similarity_learning.outer_step(model, model._inner_step(inner, keep=True), outer)
    found = [parameter.grad for parameter in model.similarity.parameters()]
    scale = max(float(gradient.abs().max()) for gradient in expected)
    assert scale > 0
    errors = [(f - e).abs().max() for f, e in zip(found, expected, strict=True)]
    return float(max(errors)) / scale


@pytest.mark.parametrize("max_grad_norm", [1e3, 1e-2], ids=["unclipped", "clipped"])
@pytest.mark.parametrize(
    ("optimizer", "settings"),
    [
        (th.optim.Adam, {}),
        (th.optim.Adam, {"weight_decay": 0.1}),
        (th.optim.AdamW, {"weight_decay": 0.1}),
        (th.optim.SGD, {}),
        (th.optim.SGD, {"momentum": 0.9}),
        (th.optim.SGD, {"momentum": 0.9, "nesterov": True}),
        (th.optim.RMSprop, {"alpha": 0.95, "eps": 0.01}),
    ],
    ids=["adam", "adam+decay", "adamw", "sgd", "sgd+momentum", "sgd+nesterov", "rmsprop"],
)
@every_learner
def test_outer_gradient_is_exact_through_the_optimizer_and_clipping(
    kind, optimizer, settings, max_grad_norm
):
    model = learner(
        kind,
        max_grad_norm=max_grad_norm,
        policy_kwargs={"optimizer_class": optimizer, "optimizer_kwargs": settings},
    )
    assert relative_error(model) < 1e-9


@every_learner
def test_outer_gradient_is_exact_through_normalised_batches(kind):
    net = {"features_extractor_class": DoubleNormalised}
    model = learner(kind, max_grad_norm=0.1, policy_kwargs=net)
    model.policy.set_training_mode(True)
    assert relative_error(model) < 1e-9


@pytest.mark.parametrize("max_grad_norm", [1e3, 1e-2], ids=["unclipped", "clipped"])
@every_learner
def test_outer_gradient_is_exact_on_adams_first_step(kind, max_grad_norm):
    assert relative_error(learner(kind, updates=0, max_grad_norm=max_grad_norm)) < 1e-8


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"embedding_dim": 0},
        {"embedding": "dense"},
        {"double_q": True},
        {"penalty_reduction": "sum"},
        {"n_steps": 3},
        {"prioritized_replay": True},
        {"similarity": "softmax_diagonal"},
        {"similarity": "sigmoid"},
        {"similarity": "unconstrained", "similarity_start": "overlap"},
    ],
    ids=str,
)
@every_learner
def test_outer_gradient_is_exact_for_every_setting(kind, settings):
    assert relative_error(learner(kind, **{"max_grad_norm": 0.1} | settings)) < 1e-9


@pytest.mark.parametrize(
    "off",
    [
        {"noisy": False},
        {"dueling": False},
        {"distributional": False},
        {"double_q": False},
        {"prioritized_replay": False},
        {"n_steps": 1},
        {"noisy": False, "dueling": False, "distributional": False, "double_q": False},
    ],
    ids=str,
)
def test_outer_gradient_is_exact_without_parts_of_rainbow(off):
    assert relative_error(learner(MASPRainbow, max_grad_norm=0.1, **off)) < 1e-9


def test_outer_gradient_is_exact_where_gradients_are_not_clipped_at_all():
    model = learner(MASPQRDQN)
    assert model.max_grad_norm is None
    assert relative_error(model) < 1e-9


@pytest.mark.parametrize("steps", [2, 3])
@every_learner
def test_the_average_over_outer_steps_is_exact_and_moves_the_similarity_once(kind, steps):
    model = learner(kind, max_grad_norm=0.1, meta_average=steps)
    model.train(steps - model._n_updates % steps, 17)  # to where an average begins
    model._begin_update()
    before = model.similarity().detach()
    expected = []
    for _ in range(steps):
        assert th.equal(model.similarity(), before)
        inner, outer = model._sample(17), model._sample(23)
        expected.append(double_backward_gradient(model, inner, outer)[0][0])
        step = model._inner_step(inner, keep=True)
        model.similarity_learning.outer_step(model, step, outer)
        model._n_updates += 1
        model._begin_update()
    (found,) = (parameter.grad for parameter in model.similarity.parameters())
    mean = sum(expected) / steps
    assert float((found - mean).abs().max()) < 1e-9 * float(mean.abs().max())
    assert not th.equal(model.similarity(), before)
    assert all(not total.any() for total in model.similarity_learning.gradients)


@every_learner
def test_outer_gradient_is_exact_through_the_nature_cnn(kind):
    model = learner(kind, updates=1, policy="CnnPolicy", env=NoisyImages(), max_grad_norm=0.1)
    assert relative_error(model) < 1e-9


def forget_the_projection(cotangents, clipped, norm, max_norm):
    scale = min(float(max_norm / (norm + 1e-6)), 1.0)
    return [scale * cotangent for cotangent in cotangents]


def forget_the_clipping(cotangents, clipped, norm, max_norm):
    return list(cotangents)


def plain_sgd(optimizer, parameters, cotangents, before):
    return [-1e-2 * cotangent for cotangent in cotangents]


def frozen_denominator(cotangent, gradient, first, second, *, step, lr, betas, eps):
    root = (second / (1 - betas[1] ** step)).sqrt()
    return -lr * cotangent * (1 - betas[0]) / (1 - betas[0] ** step) / (root + eps)


@pytest.mark.parametrize(
    ("module", "name", "mutant"),
    [
        (meta, "clip_vjp", forget_the_projection),
        (meta, "clip_vjp", forget_the_clipping),
        (meta, "optimizer_vjp", plain_sgd),
        (optimizer_vjp, "adam_vjp", frozen_denominator),
    ],
    ids=["no projection", "no clipping", "no optimizer", "frozen denominator"],
)
@every_learner
def test_the_law_notices_each_part_that_is_left_out(monkeypatch, kind, module, name, mutant):
    model = learner(kind, max_grad_norm=0.1)
    monkeypatch.setattr(module, name, mutant)
    assert relative_error(model) > 1e-4


@every_learner
def test_the_law_notices_importance_weights_that_are_ignored(monkeypatch, kind):
    model = learner(kind, max_grad_norm=0.1, prioritized_replay=True)
    assert len(model._sample(17).weights.unique()) > 1
    td_loss = model._td_loss
    monkeypatch.setattr(
        model, "_td_loss", lambda batch: td_loss(batch._replace(weights=batch.weights**0))
    )
    assert relative_error(model) > 1e-4


@every_learner
def test_the_law_notices_an_action_chosen_by_the_other_network(monkeypatch, kind):
    model = learner(kind, max_grad_norm=0.1, double_q=True, learning_rate=0.1)
    with th.no_grad():
        for parameter in model._target_network.parameters():
            parameter.add_(th.randn_like(parameter))
    monkeypatch.setattr(model, "double_q", False)
    inner, outer = model._sample(17), model._sample(23)
    (found,), _ = double_backward_gradient(model, inner, outer)
    monkeypatch.setattr(model, "double_q", True)
    (expected,), _ = double_backward_gradient(model, inner, outer)
    assert float((found - expected).norm() / expected.norm()) > 1e-4


@every_learner
def test_the_law_notices_an_outer_batch_evaluated_before_the_step(kind):
    model = learner(kind, max_grad_norm=0.1, learning_rate=0.1)
    inner, outer = model._sample(17), model._sample(23)
    (expected,), _ = double_backward_gradient(model, inner, outer)
    before = [p.detach().clone() for p in model._network.parameters()]
    step = model._inner_step(inner, keep=True)
    for parameter, old in zip(model._network.parameters(), before, strict=True):
        parameter.data.copy_(old)
    model.similarity_learning.outer_step(model, step, outer)
    (found,) = (parameter.grad for parameter in model.similarity.parameters())
    assert float((found - expected).norm() / expected.norm()) > 1e-3


@pytest.mark.parametrize("before", ["outer evaluation", "tangent"])
def test_the_law_notices_noise_that_is_not_held(monkeypatch, before):
    model = learner(MASPRainbow, max_grad_norm=0.1)
    owner, name = {
        "outer evaluation": (model.similarity_learning, "outer_step"),
        "tangent": (meta, "meta_loss"),
    }[before]
    function = getattr(owner, name)

    def under_fresh_noise(*args):
        model._begin_update()
        return function(*args)

    monkeypatch.setattr(owner, name, under_fresh_noise)
    assert relative_error(model) > 1e-4


def test_every_update_draws_noise_of_its_own(monkeypatch):
    model = learner(MASPRainbow)
    drawn = []
    update = model._update

    def noting(batch_size):
        before = model.q_net.advantages[0].noise_in.clone()
        update(batch_size)
        assert th.equal(before, model.q_net.advantages[0].noise_in)
        drawn.append((before, model.q_net_target.advantages[0].noise_in.clone()))

    monkeypatch.setattr(model, "_update", noting)
    model.train(gradient_steps=3, batch_size=17)
    noises = [noise for pair in drawn for noise in pair]
    assert not any(th.equal(first, second) for first, second in combinations(noises, 2))


def test_the_law_notices_a_penalty_on_anything_but_expected_values(monkeypatch):
    model = learner(MASPQRDQN, max_grad_norm=0.1)
    monkeypatch.setattr(model, "_expected_values", lambda quantiles: quantiles[:, 3])
    assert relative_error(model) > 1e-4


def test_a_dead_unit_leaves_the_gradient_finite_and_exact():
    model = learner(updates=0, max_grad_norm=0.1)
    first = model.q_net.q_net[0]
    first.weight.data[0] = 0.0
    first.bias.data[0] = -1.0
    assert relative_error(model) < 1e-8


@pytest.mark.parametrize("embedding", ["factored", "dense"])
@pytest.mark.parametrize(
    ("kind", "last"),
    [
        (MASPDQN, ["q_net.4.weight", "q_net.4.bias"]),
        (MASPQRDQN, ["quantile_net.4.weight", "quantile_net.4.bias"]),
        (
            MASPRainbow,
            [
                f"{stream}.4.{name}"
                for stream in ("advantages", "values")
                for name in ("weight", "bias", "weight_sigma", "bias_sigma")
            ],
        ),
    ],
)
def test_last_layer_gradient_is_that_layers_part_of_the_exact_one(kind, last, embedding):
    model = learner(kind, max_grad_norm=1e3, meta_gradient="last_layer", embedding=embedding)
    inner, outer = model._sample(17), model._sample(23)
    (expected,), _ = double_backward_gradient(model, inner, outer, through=last)
    (whole,), _ = double_backward_gradient(model, inner, outer)
    model.similarity_learning.outer_step(model, model._inner_step(inner, keep=True), outer)
    (found,) = (parameter.grad for parameter in model.similarity.parameters())
    scale = float(expected.abs().max())
    assert float((found - expected).abs().max()) < 1e-9 * scale
    assert float((found - whole).abs().max()) > 1e-3 * scale


@pytest.mark.parametrize("embedding", ["factored", "dense"])
@every_learner
def test_target_network_keeps_the_similarity_of_its_own_time(kind, embedding):
    env = MacroAction(gym.make("CartPole-v1"), MACROS)
    settings = {"buffer_size": 211, "learning_starts": 101, "meta_interval": 1, "seed": 3}
    model = kind("MlpPolicy", env, embedding=embedding, **settings)
    model.learn(101)
    online, target = model._network, model._target_network
    start = FixedSimilarity(model.similarity.start)
    assert is_shown(target, start)
    model.train(gradient_steps=1, batch_size=17)
    assert is_shown(online, model.similarity)
    assert not is_shown(online, start)
    assert is_shown(target, start)
    model._n_calls = model.target_update_interval - 1
    model._on_step()
    assert is_shown(target, model.similarity)
