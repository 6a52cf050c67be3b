"""Σ without its matrix: group kernels, what learning allocates, and warnings of what is square."""

import math

import gymnasium as gym
import pytest
import torch as th
from stable_baselines3.common.logger import configure
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.similarity_forms import random_macros
from macro_gym import MacroAction, MacroSet
from sb3_masp import MASPDQN, MASPQRDQN, GroupKernelSimilarity, MASPRainbow, load_similarity
from sb3_masp import save_similarity as save
from sb3_masp.losses import matrix_mixer, similarity_penalty, similarity_penalty_tangent
from sb3_masp.similarity import SimilarityAbout, SimilarityError, health, initial_similarity
from sb3_masp.similarity.features import macro_features
from sb3_masp.similarity.forms import make_similarity
from sb3_masp.similarity.health import row_entropy, rows_to_look_at, similarity_health
from sb3_masp.similarity_report import contents
from sb3_masp.similarity_report.contents import overlap_rows
from sb3_masp.similarity_report.measures import (
    relative_distance,
    value_agreement,
    value_distances,
)
from sb3_masp.similarity_report.page import write_page
from sb3_masp.similarity_report.pictures import heat_map
from tests.sb3_masp.learners import is_shown, small
from tests.sb3_masp.poles import MACROS

A = 7
FACTORED = ["low_rank", "group_kernel", "uniform", "identity"]


def drawn(*shape, seed=17):
    return th.randn(*shape, dtype=th.float64, generator=th.Generator().manual_seed(seed))


def stirred(form, scale=1.0):
    start = "overlap" if form in ("low_rank", "group_kernel") else "uniform"
    similarity = make_similarity(form, start, A, MACROS, seed=3).double()
    for index, parameter in enumerate(similarity.parameters()):
        if parameter.requires_grad:
            parameter.data += scale * drawn(*parameter.shape, seed=index)
    return similarity


# Group kernels


def test_a_group_kernel_is_naive_sums_over_groups_and_features():
    similarity = stirred("group_kernel")
    b, bias, c = (p.detach() for p in similarity.parameters())
    features = macro_features(MACROS).double()
    h, groups = 0.2, range(len(bias))
    share = h * A / (A - 1 + h)
    for i in range(A):
        scores = [math.exp(float(b[k] @ features[i] + bias[k])) for k in groups]
        row = [0.0] * A
        for k in groups:
            held = [math.exp(float(c[k] @ features[j])) for j in range(A)]
            for j in range(A):
                in_group = (1 - share) * held[j] / sum(held) + share / A
                row[j] += scores[k] / sum(scores) * in_group * (i != j)
        naive = th.tensor([entry / sum(row) for entry in row], dtype=th.float64)
        th.testing.assert_close(similarity()[i].detach(), naive)


@pytest.mark.parametrize("floor", [0.2, 0.7])
def test_no_weights_bring_a_row_of_a_group_kernel_below_the_floor_of_its_entropy(floor):
    similarity = GroupKernelSimilarity(th.ones(A, A).double(), MACROS, entropy_floor=floor)
    for index, parameter in enumerate(similarity.parameters()):
        parameter.data = 1e4 * drawn(*parameter.shape, seed=index)
    entropy = row_entropy(similarity().detach())
    assert float(entropy.min()) >= floor
    assert float(entropy.min()) < floor + 0.3  # weights as large as these come near it
    values = drawn(3, A)
    th.testing.assert_close(similarity.mix(values), values @ similarity().mT)


def test_a_group_kernel_starts_uniform_exactly_and_can_leave_it():
    similarity = make_similarity("group_kernel", "uniform", A, MACROS, seed=5)
    th.testing.assert_close(similarity(), (1 - th.eye(A)) / (A - 1))
    loss = (similarity.mix(drawn(3, A).float()) * drawn(3, A, seed=2).float()).sum()
    (pull,) = th.autograd.grad(loss, [similarity.group_weights])
    assert float(pull.abs().max()) > 1e-3


def test_a_group_kernel_is_fitted_to_a_start_that_features_can_tell():
    wanted = stirred("group_kernel")().detach()
    fitted = GroupKernelSimilarity(wanted, MACROS, fit_steps=200)
    assert relative_distance(fitted(), wanted) < 0.05
    unfitted = make_similarity("group_kernel", "uniform", A, MACROS).double()
    assert relative_distance(unfitted(), wanted) > 0.2


def test_a_group_kernel_carries_over_to_other_macros_and_other_orders_of_primitives():
    similarity = stirred("group_kernel")
    order = [1, 0, 4, 6, 2, 5, 3]
    renamed = MacroSet(
        ("RIGHT", "LEFT"), tuple(tuple(1 - p for p in MACROS.expand(a)) for a in order[2:])
    )
    carried = similarity.carried_to(renamed)
    th.testing.assert_close(carried(), similarity()[order][:, order])
    th.testing.assert_close(carried.start, carried())
    # Of two actions, how one is favoured over the other by a third is the same among fewer.
    fewer = MacroSet(MACROS.primitives, MACROS.macros[:2])
    assert similarity.carried_to(fewer)().shape == (4, 4)
    alone = similarity.carried_to(MacroSet(("RIGHT",), ((0, 0), (0, 0, 0))))
    th.testing.assert_close(alone().sum(1), th.ones(3).double())
    with pytest.raises(SimilarityError, match="knows nothing of UP"):
        similarity.carried_to(MacroSet(("LEFT", "UP")))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 0}, "rank is 0"),
        ({"entropy_floor": 1.0}, r"entropy_floor is 1.0; it must be within \(0, 1\)"),
        ({"macro_set": MacroSet(("LEFT",))}, "over 7 actions, but the macro set has 1"),
        ({"initial": -th.ones(A, A) + 2 * th.eye(A)}, "'group_kernel' form needs non-negative"),
    ],
)
def test_a_group_kernel_refuses_what_it_cannot_be(settings, message):
    with pytest.raises(SimilarityError, match=message):
        GroupKernelSimilarity(**{"initial": th.ones(A, A), "macro_set": MACROS} | settings)


def test_a_group_kernel_needs_macros():
    with pytest.raises(SimilarityError, match="'group_kernel' compares macros by their primitives"):
        make_similarity("group_kernel", "uniform", A)


# The penalty


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("form", FACTORED)
def test_penalty_and_tangent_are_those_of_the_matrix_of_the_same_similarity(form, reduction):
    similarity = stirred(form)
    q_values, tangents = drawn(5, A, seed=1).requires_grad_(), drawn(5, A, seed=2)
    inputs = [q_values, *(p for p in similarity.parameters() if p.requires_grad)]
    for function in (
        lambda mix: similarity_penalty(q_values, mix, reduction),
        lambda mix: similarity_penalty_tangent(q_values, tangents, mix, reduction),
    ):
        found, expected = function(similarity.mixer()), function(matrix_mixer(similarity()))
        th.testing.assert_close(found, expected)
        for ours, theirs in zip(
            th.autograd.grad(found, inputs), th.autograd.grad(expected, inputs), strict=True
        ):
            th.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


# What learning allocates


class NothingSquare(TorchDispatchMode):
    """Fails where a tensor of at least so many numbers is made."""

    def __init__(self, most):
        super().__init__()
        self.most = most

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, (tuple, list)) else [made]:
            if isinstance(tensor, th.Tensor):
                numbers = tensor.untyped_storage().nbytes() / tensor.element_size()
                assert numbers < self.most, f"{function} made {numbers:.0f} numbers"
        return made


MANY = 599
MANY_MACROS = random_macros(2, MANY)
LEARNERS = {
    MASPDQN: {},
    MASPQRDQN: {"policy_kwargs": {"net_arch": [11], "n_quantiles": 5}},
    MASPRainbow: {"n_atoms": 5},
}


@pytest.fixture
def some_rows(monkeypatch):
    """Looks at as many rows of 601 actions as it would of thousands."""
    monkeypatch.setattr(health, "ALL_ROWS", 500)
    monkeypatch.setattr(health, "SOME_ROWS", 29)


def many_actions():
    return MacroAction(gym.make("CartPole-v1"), MANY_MACROS)


@pytest.mark.usefixtures("some_rows")
@pytest.mark.parametrize("form", FACTORED)
def test_learning_saving_and_loading_make_no_tensor_of_all_pairs_of_actions(form, tmp_path):
    env = many_actions()
    with NothingSquare(env.action_space.n**2):
        model = small(MASPDQN, env, similarity=form, meta_interval=1)
        model.set_logger(configure(str(tmp_path), ["csv"]))
        model.learn(61, log_interval=1000)
        model.dump_logs()
        assert model._n_updates > 5
        save(tmp_path / "sigma.safetensors", model.similarity)
        loaded, _ = load_similarity(tmp_path / "sigma.safetensors")
        model.save(tmp_path / "model")
        again = MASPDQN.load(tmp_path / "model", env=env)
        again.learn(31)
    model.logger.close()
    assert "similarity/entropy" in (tmp_path / "progress.csv").read_text()
    assert (tmp_path / "sigma.safetensors").stat().st_size < 4 * env.action_space.n**2 / 5
    th.testing.assert_close(loaded(), model.similarity())
    th.testing.assert_close(loaded.start, model.similarity.start)
    assert is_shown(model._network, model.similarity)
    assert th.equal(model.similarity(), model.similarity.start) != model.similarity.is_learned


@pytest.mark.usefixtures("some_rows")
@pytest.mark.parametrize("kind", [MASPQRDQN, MASPRainbow])
def test_other_learners_make_none_either(kind):
    env = many_actions()
    with NothingSquare(env.action_space.n**2):
        small(kind, env, similarity="group_kernel", meta_interval=1, **LEARNERS[kind]).learn(61)


@pytest.mark.parametrize("form", ["softmax", "kernel"])
def test_the_law_notices_a_form_that_holds_a_matrix(form):
    env = many_actions()
    with NothingSquare(env.action_space.n**2), pytest.raises(AssertionError, match="made 361201"):
        small(MASPDQN, env, similarity=form, meta_interval=1).learn(61)


# How it fares


def test_health_of_some_rows_is_that_of_the_whole_matrix_where_rows_are_alike():
    rows = th.tensor([[0.0, 0.5, 0.2, 0.3], [0.5, 0.0, 0.3, 0.2], [0.3, 0.2, 0.0, 0.5]])
    sigma = th.cat([rows, th.tensor([[0.2, 0.3, 0.5, 0.0]])])
    start = (1 - th.eye(4)) / 3
    some = th.tensor([3, 1])
    whole, found = (
        similarity_health(sigma, start),
        similarity_health(sigma[some], start[some], some),
    )
    assert whole.pop("effective_rank") > 1
    assert found == pytest.approx(whole)
    for figure in (health.unevenness, health.off_diagonal_mass):
        th.testing.assert_close(figure(sigma[some], some), figure(sigma))
    identity = th.eye(4)
    assert health.collapse(identity[some], some) == "identity"
    assert health.collapse(start[some], some) == "uniform"
    assert health.collapse(sigma[some], some) is None


def test_all_rows_are_looked_at_up_to_a_thousand_actions_and_then_some_evenly_spread():
    assert rows_to_look_at(1024).tolist() == list(range(1024))
    some = rows_to_look_at(2053)
    assert len(some) == 256
    assert set(some.diff().tolist()) == {8, 9}


# Warnings


def test_a_matrix_over_thousands_of_actions_is_warned_of_and_a_factored_one_is_not(monkeypatch):
    monkeypatch.setattr("sb3_masp.similarity.size.MANY_ACTIONS", 500)
    message = r"'softmax' holds 601² numbers 7 times over, 9.6 MiB.*'low_rank' or 'group_kernel'"
    with pytest.warns(UserWarning, match=message):
        small(MASPDQN, many_actions())
    with pytest.warns(UserWarning, match=r"'fixed' holds 601² numbers 2 times.*='uniform'"):
        small(MASPDQN, many_actions(), similarity="fixed")
    for form in FACTORED:
        small(MASPDQN, many_actions(), similarity=form)


def test_a_trained_embedding_of_thousands_of_actions_is_warned_of(monkeypatch):
    monkeypatch.setattr("sb3_masp.similarity.size.MANY_ACTIONS", 500)
    message = r"trains 5·601² = 1,806,005 numbers, 34.4 MiB .*'factored' .* takes 6,010, fixed"
    with pytest.warns(UserWarning, match=message):
        small(MASPDQN, many_actions(), similarity="uniform", embedding="dense", embedding_dim=5)


def test_low_rank_starts_uniform_without_all_pairs_of_actions():
    assert th.equal(
        make_similarity("low_rank", "uniform", A, seed=5).member_logits,
        type(make_similarity("low_rank", "uniform", A))(
            initial_similarity("uniform", A), seed=5
        ).member_logits,
    )


# Reports


def test_some_rows_of_overlap_and_of_agreement_are_those_of_all():
    some = th.tensor([5, 0, 3])
    whole = make_similarity("overlap", "uniform", A, MACROS)()
    th.testing.assert_close(overlap_rows(MACROS, some), whole[some])
    q_values = drawn(3, A)
    th.testing.assert_close(value_distances(q_values, some), value_distances(q_values)[some])
    assert value_agreement(whole, q_values) == value_agreement(whole, q_values, th.arange(A))
    near = -value_distances(q_values)
    assert value_agreement(near[some], q_values, some) == pytest.approx(1)


@pytest.mark.usefixtures("some_rows")
def test_a_report_on_thousands_of_actions_describes_all_and_draws_some(monkeypatch, tmp_path):
    monkeypatch.setattr(contents, "ALL_ROWS", 500)
    monkeypatch.setattr(contents, "DRAWN", 13)
    similarity = make_similarity("group_kernel", "uniform", MANY_MACROS.n_actions, MANY_MACROS)
    report = contents.make_report(similarity, SimilarityAbout.of(MANY_MACROS))
    assert report.title == "Similarity of 601 actions"
    drawn_of = report.for_pictures()
    assert drawn_of.title == "Similarity of 13 of 601 actions"
    assert drawn_of.names[1] == report.names[601 // 13]
    assert drawn_of.similarity[1, 2] == report.similarity[601 // 13, 2 * 601 // 13]
    write_page(report, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "Similarity of 13 of 601 actions" in page
    picture = heat_map(report.similarity, report.names)
    assert "13 of 601 actions are shown" in picture.axes[1].get_title()
