"""Low-rank and fixed Σ, forms of one's own, and law 8 through each."""

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest
import torch as th

from macro_gym import MacroSet
from sb3_masp import MASPDQN, KernelSimilarity, LowRankSimilarity, Similarity, load_similarity
from sb3_masp import save_similarity as save
from sb3_masp.similarity import SIMILARITIES, FixedSimilarity, SimilarityError, initial_similarity
from sb3_masp.similarity.forms import make_similarity
from sb3_masp.similarity.low_rank import fit_groups
from tests.sb3_masp.learners import is_shown
from tests.sb3_masp.poles import MACROS, SMALL, macro_cartpole
from tests.sb3_masp.test_metagradient import every_learner, learner, relative_error

A = 7
DOCS = Path(__file__).parents[2] / "docs" / "similarity.md"


def drawn(*shape, seed=17):
    return th.randn(*shape, dtype=th.float64, generator=th.Generator().manual_seed(seed))


def overlap(macro_set):
    return initial_similarity("overlap", macro_set.n_actions, macro_set)


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
    assert is_shown(model._network, model.similarity)


# Law 8, files, learners


@pytest.mark.parametrize("form", ["low_rank", "kernel", "group_kernel"])
@every_learner
def test_outer_gradient_is_exact_through_every_form(kind, form):
    model = learner(kind, similarity=form, similarity_start="overlap", max_grad_norm=0.1)
    assert relative_error(model) < 1e-9
    assert all(bool(p.grad.abs().max() > 0) for p in model.similarity.parameters())


@pytest.mark.parametrize("form", ["low_rank", "kernel", "group_kernel"])
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
