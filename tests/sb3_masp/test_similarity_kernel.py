"""Σ as a kernel over what macros look like, and what holds its entropy."""

import math

import pytest
import torch as th

from macro_gym import MacroSet
from macro_gym.banks import load_bank
from sb3_masp import KernelSimilarity
from sb3_masp.similarity import SimilarityError, initial_similarity
from sb3_masp.similarity.features import macro_features
from sb3_masp.similarity.forms import make_similarity
from sb3_masp.similarity.health import row_entropy
from sb3_masp.similarity.kernel import largest_sharpness
from tests.sb3_masp.poles import MACROS

A = 7


def drawn(*shape, seed=17):
    return th.randn(*shape, dtype=th.float64, generator=th.Generator().manual_seed(seed))


def overlap(macro_set):
    return initial_similarity("overlap", macro_set.n_actions, macro_set)


def off_diagonal(matrix):
    return matrix[~th.eye(len(matrix), dtype=th.bool)]


def test_features_are_length_histogram_and_order_counted_by_hand():
    features = macro_features(MacroSet(("X", "Y"), ((0, 0), (0, 1), (0, 1, 1, 0, 0, 1, 1, 0))))
    assert features[:, 0].tolist() == [0, 0, 0.25, 0.25, 0.75]
    assert features[:, 1:3].tolist() == [[1, 0], [0, 1], [1, 0], [0.5, 0.5], [0.5, 0.5]]
    assert bool((features[:3, 3:] == 0).all())  # one primitive held: no order
    # In quarters: X X Y Y is first X by half more than the whole, then Y.
    assert features[3, 3:].tolist() == [0.5, -0.5, 0.5, -0.5, -0.5, 0.5, -0.5, 0.5]
    assert features[4, 3:].tolist() == [0.0] * 8  # XY YX XY YX: alike in every quarter
    third = macro_features(MacroSet(("X", "Y"), ((0, 1, 1),)))[2]
    # The first step fills the first quarter and a third of the second.
    th.testing.assert_close(third[3:7], th.tensor([2 / 3, -2 / 3, 0.0, 0.0]))


def test_kernel_matches_naive_loops():
    kernel = KernelSimilarity(overlap(MACROS).double(), MACROS, fit_steps=0)
    kernel.metric.data = drawn(*kernel.metric.shape)
    kernel.sharpness_logit.data = drawn(1)[0]
    share = 1 / (1 + math.exp(-float(kernel.sharpness_logit.detach())))
    points = kernel.features @ kernel.metric.detach().T
    for i in range(A):
        gaps = {j: float((points[i] - points[j]).square().sum()) for j in range(A) if j != i}
        mean = sum(gaps.values()) / len(gaps)
        weights = {
            j: math.exp(-share * kernel.largest_sharpness * g / mean) for j, g in gaps.items()
        }
        for j, weight in weights.items():
            expected = weight / sum(weights.values())
            assert float(kernel()[i, j].detach()) == pytest.approx(expected, rel=1e-9)


def test_the_kernel_is_symmetric_before_a_row_is_divided():
    kernel = KernelSimilarity(overlap(MACROS).double(), MACROS)
    kernel.metric.data = drawn(*kernel.metric.shape)
    sigma = kernel().detach()
    # log Σ_ij − log Σ_ik is (d²_ik − d²_ij)·s/m_i; m_i and s are found from one such gap.
    points = kernel.features @ kernel.metric.detach().T
    distances = th.cdist(points, points).square()
    scales = []
    for i, j, k in ((0, 1, 2), (1, 0, 2)):
        gap = sigma[i, j].log() - sigma[i, k].log()
        scales.append(gap / (distances[i, k] - distances[i, j]))
    means = distances.sum(1) / (A - 1)
    th.testing.assert_close(scales[0] * means[0], scales[1] * means[1])


@pytest.mark.parametrize("n_actions", [3, 5, 17, 131])
@pytest.mark.parametrize("floor", [0.05, 0.2, 0.7])
def test_no_distances_bring_a_row_below_the_floor_of_its_entropy(n_actions, floor):
    others = n_actions - 1
    largest = largest_sharpness(n_actions, floor)
    rows = (drawn(997, others) * 3).exp()  # from nearly alike to one that is far
    rows[0], rows[1] = 1.0, th.tensor([0.0] + [1.0] * (others - 1))
    rows[2:90] *= th.rand(88, others, generator=th.Generator().manual_seed(1)) > 0.5
    rows = rows[rows.sum(1) > 0]
    logits = -largest * rows / rows.mean(1, keepdim=True)
    log_similarity = logits.log_softmax(1)
    entropies = -(log_similarity.exp() * log_similarity).sum(1) / math.log(others)
    assert float(entropies.min()) >= floor
    # The worst row's largest entry is as the bound has it, so no larger sharpness would be safe
    # by the same argument.
    assert float(-log_similarity[1].max()) == pytest.approx(floor * math.log(others))


@pytest.mark.parametrize("floor", [0.1, 0.5])
def test_pressure_that_collapses_a_free_kernel_leaves_this_one_above_its_floor(floor):
    macros = load_bank("breakout").top(25)

    def entropy(sigma):
        return -(sigma * sigma.clamp(min=1e-12).log()).sum(1).mean()

    def free():
        distances = (kernel.features[:, None] - kernel.features) @ scale
        logits = -distances.square().sum(2)
        return logits.masked_fill(th.eye(len(logits), dtype=th.bool), -th.inf).softmax(1)

    kernel = KernelSimilarity(overlap(macros), macros, floor)
    scale = kernel.metric.detach().clone().requires_grad_()
    optimizer = th.optim.Adam([*kernel.parameters(), scale], lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        (entropy(kernel()) + entropy(free())).backward()
        optimizer.step()
    assert float(row_entropy(free().detach()).mean()) < 0.1
    assert float(row_entropy(kernel().detach()).min()) >= floor


def test_the_kernels_metric_has_no_scale():
    kernel = KernelSimilarity(overlap(MACROS).double(), MACROS)
    before = kernel().detach()
    kernel.metric.data *= 1000
    th.testing.assert_close(kernel().detach(), before)


def test_a_kernel_is_uniform_where_all_actions_look_alike():
    kernel = KernelSimilarity(overlap(MACROS), MACROS, fit_steps=0)
    kernel.metric.data.zero_()
    th.testing.assert_close(kernel(), (1 - th.eye(A)) / (A - 1))
    kernel().square().sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in kernel.parameters())


def test_a_kernel_starts_uniform_or_near_what_primitives_can_tell():
    macros = load_bank("breakout").top(60)
    uniform = make_similarity("kernel", "uniform", macros.n_actions, macros)
    assert float(row_entropy(uniform().detach()).min()) > 0.999
    found = off_diagonal(make_similarity("kernel", "overlap", macros.n_actions, macros)().detach())
    wanted = off_diagonal(overlap(macros))
    assert float(th.corrcoef(th.stack([found.log(), wanted.log()]))[0, 1]) > 0.7
    assert float(uniform.sharpness_logit.detach()) > -5  # not where no gradient is


def test_a_kernel_of_many_actions_is_fitted_on_some_evenly_spread(monkeypatch):
    monkeypatch.setattr("sb3_masp.similarity.kernel.FITTED", 4)
    initial = overlap(MACROS)
    elsewhere = th.ones(A, A, dtype=th.bool)
    elsewhere[th.tensor([[0], [1], [3], [5]]), th.tensor([0, 1, 3, 5])] = False
    kernel, blind, other = (
        KernelSimilarity(start, MACROS)
        for start in (initial, initial.masked_fill(elsewhere, 0.5), initial.flip(0).flip(1))
    )
    replaced = ((1, 1, 1), MACROS.macros[1], (1, 0), MACROS.macros[3], (0, 1))
    unseen = KernelSimilarity(initial, MacroSet(MACROS.primitives, replaced))
    assert th.equal(kernel.metric, blind.metric)
    assert th.equal(kernel.metric, unseen.metric)
    assert not th.equal(kernel.metric, other.metric)
    assert not th.equal(kernel.metric, th.eye(len(kernel.metric)))


def test_a_kernel_carries_over_to_other_macros_and_other_orders_of_primitives():
    kernel = KernelSimilarity(overlap(MACROS).double(), MACROS, fit_steps=0)
    kernel.metric.data = drawn(*kernel.metric.shape)
    kernel.sharpness_logit.data = drawn(1)[0]
    th.testing.assert_close(kernel.carried_to(MACROS)(), kernel())
    order = [1, 0, 2, 3, 4, 5, 6]
    renamed = MacroSet(
        ("RIGHT", "LEFT"), tuple(tuple(1 - p for p in macro) for macro in MACROS.macros)
    )
    carried = kernel.carried_to(renamed)
    th.testing.assert_close(carried(), kernel()[order][:, order])
    assert th.equal(carried.start, carried())
    other = kernel.carried_to(MacroSet(("LEFT", "RIGHT"), ((0, 1), (1, 0), (0, 0, 0))))
    assert other.n_actions == 5
    one = kernel.carried_to(MacroSet(("RIGHT",), ((0, 0), (0, 0, 0))))
    gaps = (kernel.features[[1, 3]] - kernel.features[[1, 1]]) @ kernel.metric.T
    found = (one.features[[0, 1]] - one.features[[0, 0]]) @ one.metric.T
    th.testing.assert_close(found.square().sum(1), gaps.square().sum(1))
    with pytest.raises(SimilarityError, match="learned on LEFT, RIGHT and knows nothing of UP"):
        kernel.carried_to(MacroSet(("LEFT", "UP")))


@pytest.mark.parametrize(
    ("initial", "settings", "message"),
    [
        (th.ones(5, 5), {}, "over 5 actions, but the macro set has 7"),
        (th.ones(7, 7), {"entropy_floor": 1.0}, "entropy_floor is 1.0"),
        (th.eye(7), {}, "positive sum off the diagonal"),
        (-th.ones(7, 7), {}, "non-negative"),
    ],
)
def test_a_kernel_refuses_what_it_cannot_be(initial, settings, message):
    with pytest.raises(SimilarityError, match=message):
        KernelSimilarity(initial, MACROS, **settings)
