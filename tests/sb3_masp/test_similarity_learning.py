"""Ways to find Σ: what all promise, and the auxiliary head against formulas written out."""

import copy
import json
import math
import re
from itertools import product
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch as th

from benchmarks.similarity_learning import table
from macro_gym import MacroAction
from macro_gym.errors import LearnerSettingError
from sb3_masp import MASPDQN, MASPQRDQN, MASPRainbow, SoftmaxSimilarity
from sb3_masp.similarity import SimilarityError
from sb3_masp.similarity.matrices import distance_logits
from sb3_masp.similarity_learning import (
    SIMILARITY_LEARNING,
    AuxiliaryHead,
    MetaLearning,
    SimilarityLearning,
)
from sb3_masp.similarity_learning.auxiliary import action_distances
from tests.sb3_masp.learners import is_shown
from tests.sb3_masp.poles import (
    MACROS,
    SMALL,
    DictCartPole,
    cartpole,
    macro_cartpole,
    small_rewards,
)

A = 7
DOCS = Path(__file__).parents[2] / "docs" / "similarity.md"
# Atoms far enough out for no return to be cut off, so that projecting keeps the mean.
LEARNERS = {
    MASPDQN: {},
    MASPQRDQN: {"policy_kwargs": {"n_quantiles": 5, "net_arch": [11]}},
    MASPRainbow: {"n_atoms": 11, "v_min": -60.0, "v_max": 60.0},
}
every_learner = pytest.mark.parametrize("kind", LEARNERS, ids=lambda kind: kind.__name__)
every_way = pytest.mark.parametrize("way", ["meta", "auxiliary"])


def learner(kind=MASPDQN, way="auxiliary", env=None, policy="MlpPolicy", **kwargs):
    """A learner at its first update, of small layers."""
    settings = (
        {"policy_kwargs": {"net_arch": [11]}, "meta_interval": 1, "train_freq": 1}
        | SMALL
        | LEARNERS[kind]
    )
    model = kind(policy, env or macro_cartpole(), similarity_learning=way, **settings | kwargs)
    model.learn(23)
    model._begin_update()
    return model


def given_to_last_layers(model, observations):
    """What each of the network's last layers is given, one after the other."""
    seen = []
    layers = [getattr(model._network, part)[-1] for part in model.value_parts]
    hooks = [
        each.register_forward_pre_hook(lambda _, args: seen.append(args[0])) for each in layers
    ]
    model._network(observations)
    for hook in hooks:
        hook.remove()
    return th.cat(seen, dim=1).detach()


def expected_targets(model, batch):
    """``R + γ^τ Q⁻(s′, a′)`` by expected values alone."""
    with th.no_grad():
        of_target = model._expected_values(model._target_network(batch.next_observations))
        online = model._expected_values(model._network(batch.next_observations))
    best = (online if model.double_q else of_target).argmax(1)
    values = of_target[range(len(best)), best][:, None]
    return batch.rewards + (1 - batch.dones) * batch.discounts * values


@pytest.mark.parametrize("settings", [{}, {"double_q": True, "prioritized_replay": True}], ids=str)
@every_learner
def test_the_head_learns_by_td_on_the_networks_targets_whatever_the_penalty(kind, settings):
    env = MacroAction(small_rewards(), MACROS)
    model = learner(kind, AuxiliaryHead(learning_rate=0.03), env, eta=50.0, **settings)
    head = model.similarity_learning.head
    weight, bias = (p.detach().clone().requires_grad_() for p in (head.weight, head.bias))
    adam = th.optim.Adam([weight, bias], lr=0.03)
    for size in (13, 5, 17):
        batch = model._sample(size)
        targets = expected_targets(model, batch)
        inner = model._inner_step(batch, keep=False)
        th.testing.assert_close(inner.targets, targets, rtol=1e-3, atol=1e-4)
        features = given_to_last_layers(model, batch.observations)
        model.similarity_learning.step(model, inner)
        losses = 0
        for n in range(size):
            error = targets[n, 0] - weight[batch.actions[n, 0]] @ features[n]
            error = error - bias[batch.actions[n, 0]]
            huber = error**2 / 2 if error.abs() < 1 else error.abs() - 0.5
            losses = losses + (batch.weights[n, 0] if model.prioritized_replay else 1) * huber
        adam.zero_grad()
        (losses / size).backward()
        th.testing.assert_close(head.weight.grad, weight.grad, rtol=1e-3, atol=1e-4)
        adam.step()
        th.testing.assert_close(head.weight, weight, rtol=1e-3, atol=1e-4)
        th.testing.assert_close(head.bias, bias, rtol=1e-3, atol=1e-4)
    assert float(head.weight.detach().abs().max()) > 0.03


@every_learner
def test_no_gradient_of_the_head_reaches_the_network(kind):
    model = learner(kind, AuxiliaryHead(interval=1, states=19))
    inner = model._inner_step(model._sample(13), keep=False)
    before = [parameter.detach().clone() for parameter in model.policy.parameters()]
    model.policy.optimizer.zero_grad()
    model.similarity_learning.step(model, inner)
    assert all(parameter.grad is None for parameter in model.policy.parameters())
    assert all(map(th.equal, before, model.policy.parameters()))
    assert not model.trunk_features(inner.batch.observations).requires_grad


@pytest.mark.parametrize("prior", [0.0, 0.5])
def test_the_similarity_is_the_softmax_of_distances_of_the_heads_values(monkeypatch, prior):
    model = learner(way=AuxiliaryHead(prior, interval=3, states=19, rate=0.3, temperature=0.2))
    looks, overlap = [], MACROS.overlap()
    sample = model._sample

    def sampling(size):
        batch = sample(size)
        if size == 19:
            looks.append(given_to_last_layers(model, batch.observations))
        return batch

    monkeypatch.setattr(model, "_sample", sampling)
    average = [[0.0] * A for _ in range(A)]
    for update in range(9):
        before = model.similarity().detach()
        model.train(1, batch_size=13)
        sigma = model.similarity().detach()
        assert (update % 3 == 2) == (len(looks) == 1) == (not th.equal(sigma, before))
        if not looks:
            continue
        values = model.similarity_learning.head(looks.pop()).tolist()
        for i, j in product(range(A), range(A)):
            distance = sum((value[i] - value[j]) ** 2 for value in values) / 19
            average[i][j] += 0.3 * (distance - average[i][j])
        mean = sum(map(sum, average)) / (A * (A - 1))
        for i in range(A):
            row = [
                math.exp(-average[i][j] / mean / 0.2 + prior * overlap[i][j] / 0.2) * (i != j)
                for j in range(A)
            ]
            naive = th.tensor([entry / sum(row) for entry in row])
            th.testing.assert_close(sigma[i], naive, rtol=2e-3, atol=1e-5)
        assert is_shown(model._network, model.similarity)


def test_distances_are_those_of_pairs_however_far_from_zero_the_values_are():
    values = th.randn(5, A, generator=th.Generator().manual_seed(3))
    pairs = (values[:, :, None] - values[:, None]).square().mean(0)
    for level in (0.0, 1e3):
        found = action_distances(values + level)
        th.testing.assert_close(found, pairs, rtol=1e-2 if level else 1e-5, atol=1e-3 * bool(level))
        assert bool((found.diagonal() == 0).all())


def test_actions_of_which_nothing_is_known_are_all_alike():
    logits = distance_logits(action_distances(th.full((3, A), 7.0)), 0.1)
    assert th.equal(logits, th.zeros(A, A))


@pytest.mark.parametrize(
    ("policy", "env", "kwargs"),
    [
        ("MultiInputPolicy", lambda: DictCartPole(macro_cartpole()), {}),
        ("MlpPolicy", cartpole, {}),
        ("MlpPolicy", macro_cartpole, {"embedding_dim": 0, "policy_kwargs": {"net_arch": []}}),
        ("MlpPolicy", macro_cartpole, {"noisy": False, "dueling": False}),
        ("MlpPolicy", macro_cartpole, {"distributional": False}),
    ],
    ids=["dict", "no macros", "no hidden layer", "one stream", "no distribution"],
)
def test_the_head_reads_any_trunk(policy, env, kwargs):
    model = learner(MASPRainbow, AuxiliaryHead(interval=2, states=19), env(), policy, **kwargs)
    model.train(4, batch_size=13)
    assert model.similarity_learning.head.in_features == model.n_trunk_features
    assert float(model.similarity_learning.head.distances.max()) > 0


@pytest.mark.parametrize("kind", [MASPDQN, MASPQRDQN])
def test_features_without_hidden_layers_are_the_states_and_not_the_similaritys(kind):
    net = {"net_arch": []} | ({"n_quantiles": 5} if kind is MASPQRDQN else {})
    model = learner(kind, policy_kwargs=net)
    observations = model._sample(5).observations
    assert th.equal(model.trunk_features(observations), observations)
    assert model.n_trunk_features == 4
    model.train(20, batch_size=13)


# What every way promises


@pytest.mark.parametrize("settings", [{"eta": 0}, {"similarity_frozen": True}], ids=str)
@every_way
def test_a_similarity_that_does_not_learn_takes_no_steps(monkeypatch, way, settings):
    model = learner(way=way, **settings)
    monkeypatch.setattr(model.similarity_learning, "step", None)  # would fail if it were called
    model.train(3, batch_size=13)


@pytest.mark.parametrize(
    "way", [MetaLearning(), AuxiliaryHead(0.5, interval=2, states=19)], ids=["meta", "auxiliary"]
)
@every_learner
def test_a_way_is_saved_with_its_learner_and_goes_on_from_where_it_was(kind, way, tmp_path):
    model = learner(kind, way, meta_average=3)
    model.train(4, batch_size=13)
    model.save(tmp_path / "model")
    loaded = kind.load(tmp_path / "model", env=macro_cartpole())
    loaded.replay_buffer = copy.deepcopy(model.replay_buffer)
    loaded.set_logger(model.logger)
    for each in (model, loaded):
        np.random.seed(3)
        th.manual_seed(3)
        each.train(5, batch_size=13)
    assert th.equal(model.similarity(), loaded.similarity())
    for name in way.parts:
        first, second = (getattr(m.similarity_learning, name).state_dict() for m in (model, loaded))
        assert str(first) == str(second)
    assert type(loaded.similarity_learning) is type(way)


def test_the_way_in_the_docs_is_one_class_known_by_its_name(tmp_path):
    (code,) = re.findall(r"<!-- own way -->\n```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    exec(code, {"__name__": "elsewhere"})
    model = learner(way="sharpening", similarity_start="overlap")
    start = model.similarity.logits.detach().clone()
    model._n_updates = 97
    model.train(5, batch_size=13)
    th.testing.assert_close(model.similarity.logits, start * 1.01)
    assert is_shown(model._network, model.similarity)
    model.save(tmp_path / "model")
    assert th.equal(MASPDQN.load(tmp_path / "model").similarity(), model.similarity())
    del SIMILARITY_LEARNING["sharpening"]
    with pytest.raises(SimilarityError, match=r"Again calls its way 'meta'.*MetaLearning; choose"):
        type("Again", (SimilarityLearning,), {"way": "meta"})


def test_the_docs_table_of_costs_is_what_was_measured():
    results = DOCS.parents[1] / "benchmarks" / "results" / "similarity_learning.json"
    assert table(json.loads(results.read_text())) in DOCS.read_text()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"way": "guess"}, "similarity_learning is 'guess'; it may be auxiliary, meta"),
        ({"similarity": "kernel"}, "rows of a 'softmax' similarity, but .* form 'kernel'"),
        ({"way": AuxiliaryHead(0.5), "env": gym.make("CartPole-v1")}, "prior=0.5 .*no macro_set"),
    ],
    ids=["unknown", "form", "no macros"],
)
def test_what_a_way_cannot_do_is_refused(settings, message):
    with pytest.raises(SimilarityError, match=message):
        learner(**settings)


@pytest.mark.parametrize(
    "start",
    [{"similarity_start": "overlap"}, {"similarity": SoftmaxSimilarity(th.ones(7, 7))}],
    ids=["start", "object"],
)
def test_a_start_that_the_head_would_write_over_is_refused_unless_it_is_frozen(start):
    settings = {"way": AuxiliaryHead(), **start}
    (name,) = start
    with pytest.raises(LearnerSettingError, match=rf"(?s){name} is .*AuxiliaryHead writes Σ anew"):
        learner(**settings)
    assert learner(**settings, similarity_frozen=True).similarity_frozen


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prior", -1.0),
        ("interval", 0),
        ("states", 2.5),
        ("rate", 0.0),
        ("rate", 1.1),
        ("temperature", 0.0),
        ("learning_rate", math.inf),
    ],
)
def test_settings_of_the_head_out_of_range_are_refused(name, value):
    with pytest.raises(LearnerSettingError, match=f"{name} is {value}"):
        AuxiliaryHead(**{name: value})


class Sides(gym.Env):
    """A side to choose by what is seen, with three actions for each of the two sides."""

    observation_space = gym.spaces.Box(-5, 5, (3,), np.float32)
    action_space = gym.spaces.Discrete(6)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seen = self.np_random.normal(size=3).astype(np.float32).clip(-5, 5)
        return self.seen, {}

    def step(self, action):
        return self.seen, float(self.seen[0]) * (1 if action % 2 else -1), True, False, {}


def mass_on_copies(seed):
    """Share of Σ that the auxiliary head puts on actions that do the same; .4 if uniform."""
    model = MASPDQN(
        "MlpPolicy",
        Sides(),
        similarity_learning=AuxiliaryHead(learning_rate=0.01),
        learning_rate=1e-3,
        train_freq=1,
        exploration_fraction=1.0,
        seed=seed,
        policy_kwargs={"net_arch": [32]},
    ).learn(800)
    copies = th.arange(6)[:, None] % 2 == th.arange(6) % 2
    return float(model.similarity().detach()[copies].sum() / 6)


def test_actions_that_do_the_same_come_to_be_similar():
    assert mass_on_copies(seed=1) > 0.8
