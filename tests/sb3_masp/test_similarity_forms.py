"""Low-rank, kernel and fixed Σ, forms of one's own, and law 8 through each."""

import json
import math
import re
from itertools import pairwise
from pathlib import Path

import pytest
import torch as th

from macro_gym import MacroSet
from macro_gym.banks import load_bank
from sb3_masp import MASPDQN, KernelSimilarity, LowRankSimilarity, Similarity, load_similarity
from sb3_masp import save_similarity as save
from sb3_masp.similarity import SIMILARITIES, FixedSimilarity, SimilarityError, initial_similarity
from sb3_masp.similarity.features import macro_features
from sb3_masp.similarity.forms import make_similarity
from sb3_masp.similarity.health import row_entropy
from sb3_masp.similarity.kernel import largest_sharpness
from sb3_masp.similarity.low_rank import fit_groups
from tests.sb3_masp.poles import MACROS, SMALL, macro_cartpole
from tests.sb3_masp.test_metagradient import every_learner, learner, relative_error

A = 7
DOCS = Path(__file__).parents[2] / "docs" / "similarity.md"


def drawn(*shape, seed=17):
    return th.randn(*shape, dtype=th.float64, generator=th.Generator().manual_seed(seed))


def overlap(macro_set):
    return initial_similarity("overlap", macro_set.n_actions, macro_set)


def off_diagonal(matrix):
    return matrix[~th.eye(len(matrix), dtype=th.bool)]


# Low rank


def divergence(wanted, members, groups):
    return float((th.xlogy(wanted, wanted) - wanted * (members @ groups).log()).sum())


def test_low_rank_is_naive_sums_over_groups_and_of_that_rank():
    similarity = LowRankSimilarity(th.rand(A, A).double(), rank=3)
    members, groups = similarity.member_logits.exp(), similarity.group_logits.exp()
    sigma = similarity().detach()
    for i in range(A):
        for j in range(A):
            entry = sum(
                members[i, k] / members[i].sum() * groups[k, j] / groups[k].sum() for k in range(3)
            )
            th.testing.assert_close(sigma[i, j], entry.detach())
    assert th.linalg.matrix_rank(sigma) == 3


def test_the_diagonal_of_low_rank_sums_to_the_rank_at_most():
    similarity = LowRankSimilarity(th.rand(A, A), rank=3)
    similarity.member_logits.data = 50 * th.eye(A)[:, :3]
    similarity.group_logits.data = 50 * th.eye(A)[:3]
    assert float(similarity().detach().trace()) == pytest.approx(3 + 0 * A, abs=1e-4)
    assert LowRankSimilarity(th.rand(A, A), rank=99).rank == A


def test_a_step_of_the_fit_is_expectation_maximisation_written_out():
    wanted = th.rand(A, A).double().softmax(1)
    (members, groups), (found_members, found_groups) = (
        fit_groups(wanted, 3, seed=1, steps=steps) for steps in (4, 5)
    )
    responsibilities = members[:, :, None] * groups[None]  # of group k for the pair (i, j)
    responsibilities = responsibilities / responsibilities.sum(1, keepdim=True)
    expected = wanted[:, None] * responsibilities
    th.testing.assert_close(found_members, expected.sum(2))
    th.testing.assert_close(found_groups, expected.sum(0) / expected.sum((0, 2))[:, None])


def test_fitting_groups_never_makes_the_fit_worse_and_finds_a_matrix_of_their_rank():
    wanted = drawn(A, 2, seed=1).mul(3).softmax(1) @ drawn(2, A, seed=2).mul(3).softmax(1)
    course = [divergence(wanted, *fit_groups(wanted, 2, 0, steps)) for steps in range(40)]
    assert all(later <= earlier + 1e-12 for earlier, later in pairwise(course))
    assert divergence(wanted, *fit_groups(wanted, 2, 0, 3000)) < 1e-3 * course[0]


def test_low_rank_starts_uniform_exactly_with_groups_that_can_part():
    similarity = make_similarity("low_rank", "uniform", A, seed=5)
    th.testing.assert_close(similarity(), th.full((A, A), 1 / A))
    members = similarity.member_logits.softmax(1)
    assert len({round(float(share), 6) for share in members[0].detach()}) == similarity.rank


def test_permuting_members_and_groups_permutes_low_rank():
    order = th.tensor([3, 0, 6, 1, 5, 2, 4])
    similarity = LowRankSimilarity(th.rand(A, A), rank=3)
    plain = similarity().detach()
    similarity.member_logits.data = similarity.member_logits.data[order]
    similarity.group_logits.data = similarity.group_logits.data[:, order]
    th.testing.assert_close(similarity().detach(), plain[order][:, order])


@pytest.mark.parametrize(
    ("initial", "rank", "message"),
    [
        (th.ones(3, 3), 0, "rank is 0"),
        (-th.ones(3, 3), 2, "non-negative rows.*smallest entry is -1"),
        (th.zeros(3, 3), 2, "positive sum"),
    ],
)
def test_low_rank_refuses_what_it_cannot_be(initial, rank, message):
    with pytest.raises(SimilarityError, match=message):
        LowRankSimilarity(initial, rank)


# Kernel


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


# Fixed


def test_controls_are_the_matrices_that_they_are_named_for():
    uniform, identity, handcrafted, permuted = (
        make_similarity(form, "uniform", A, MACROS, seed=2)()
        for form in ("uniform", "identity", "overlap", "permuted")
    )
    th.testing.assert_close(uniform, (1 - th.eye(A)) / (A - 1))
    assert th.equal(identity, th.eye(A))
    shared = th.as_tensor(MACROS.overlap(), dtype=th.float32) + 1e-3
    shared.fill_diagonal_(0)
    th.testing.assert_close(handcrafted, shared / shared.sum(1, keepdim=True))
    assert not th.allclose(permuted, handcrafted)
    spectra = [th.linalg.eigvals(m).abs().sort().values for m in (permuted, handcrafted)]
    th.testing.assert_close(*spectra)


def test_any_array_is_a_fixed_similarity():
    rows = [[0, 2, -1], [0.5, 0, 0], [7, 1, 1]]
    assert FixedSimilarity(rows)().tolist() == rows
    assert FixedSimilarity(th.tensor(rows).double().numpy())().dtype == th.float32


@pytest.mark.parametrize("form", ["fixed", "uniform", "identity", "overlap", "permuted"])
def test_a_fixed_similarity_is_penalised_with_and_never_learned(form):
    env = macro_cartpole()
    model = MASPDQN("MlpPolicy", env, similarity=form, meta_interval=1, eta=2.0, **SMALL)
    before = model.similarity().detach().clone()
    model.learn(61)
    assert th.equal(model.similarity(), before)
    assert not model.similarity.is_learned
    assert th.equal(model._network.similarity, before)


# Law 8, files, learners


@pytest.mark.parametrize("form", ["low_rank", "kernel"])
@every_learner
def test_outer_gradient_is_exact_through_every_form(kind, form):
    model = learner(kind, similarity=form, similarity_start="overlap", max_grad_norm=0.1)
    assert relative_error(model) < 1e-9
    assert all(bool(p.grad.abs().max() > 0) for p in model.similarity.parameters())


@pytest.mark.parametrize("form", ["low_rank", "kernel"])
def test_a_learned_form_moves_is_saved_and_loaded_with_its_learner(form, tmp_path):
    model = MASPDQN("MlpPolicy", macro_cartpole(), similarity=form, meta_interval=1, **SMALL)
    model.learn(61)
    assert not th.equal(model.similarity(), model.similarity.start)
    model.save(tmp_path / "model")
    loaded = MASPDQN.load(tmp_path / "model").similarity
    assert th.equal(loaded(), model.similarity())
    assert th.equal(loaded.start, model.similarity.start)


@pytest.mark.parametrize(
    "similarity",
    [
        LowRankSimilarity(th.rand(A, A), rank=3, seed=11),
        KernelSimilarity(overlap(MACROS), MACROS, entropy_floor=0.37),
        KernelSimilarity(overlap(MACROS), MACROS).carried_to(MacroSet(("RIGHT",), ((0, 0, 0),))),
    ],
    ids=["low_rank", "kernel", "carried kernel"],
)
def test_settings_of_a_form_come_back_from_its_file(similarity, tmp_path):
    save(tmp_path / "sigma.safetensors", similarity)
    loaded, _ = load_similarity(tmp_path / "sigma.safetensors")
    assert loaded.settings() == similarity.settings()
    assert th.equal(loaded(), similarity())
    assert th.equal(loaded.start, similarity.start)


# The docs


def test_the_docs_table_of_costs_is_what_was_measured():
    results = DOCS.parents[1] / "benchmarks" / "results" / "similarity_forms.json"
    rows = json.loads(results.read_text())["forms"]
    sizes = sorted({row["actions"] for row in rows})[1:]
    section = re.search(r"<!-- costs -->(.*?)<!-- end -->", DOCS.read_text(), re.DOTALL)[1]
    for form in {row["form"] for row in rows}:
        own = {row["actions"]: row for row in rows if row["form"] == form}
        times = (own[size][done] for done in ("matrix", "gradient", "mix") for size in sizes)
        cells = [f'`"{form}"`', *(f"{1e3 * seconds:.2f}" for seconds in times)]
        assert f"| {' | '.join(cells)} |" in section


def documented(name):
    """A block of code of the docs, by the comment above it."""
    return re.search(rf"<!-- {name} -->\n```python\n(.*?)```", DOCS.read_text(), re.DOTALL)[1]


def test_the_form_in_the_docs_is_one_class_of_twenty_lines_that_learns_saves_and_loads(tmp_path):
    code = documented("own form")
    assert len(code.strip().splitlines()) <= 20
    names = {"__name__": "elsewhere", "env": macro_cartpole()}
    exec(code, names)
    exec(documented("its use"), names)
    model, own = names["model"], names["PowerSimilarity"]
    assert isinstance(model.similarity, own)
    th.testing.assert_close(model.similarity(), make_similarity("overlap", "uniform", A, MACROS)())
    save(tmp_path / "sigma.safetensors", model.similarity)
    assert isinstance(load_similarity(tmp_path / "sigma.safetensors")[0], own)
    exact = learner(similarity="power", similarity_start="overlap", max_grad_norm=0.1)
    assert isinstance(exact.similarity, own)
    assert relative_error(exact) < 1e-9


def test_two_classes_of_one_name_are_refused_but_a_class_may_be_defined_again():
    def define(name):
        return type(name, (Similarity,), {"form": "twice", "forward": lambda self: th.eye(2)})

    define("First")
    again = define("First")
    assert SIMILARITIES["twice"] is again
    with pytest.raises(SimilarityError, match=r"Second calls its form 'twice'.*First; choose"):
        define("Second")
