"""Σ over other actions: what is carried, how, and what is said of the rest."""

import pytest
import torch as th

from macro_gym import MacroSet
from sb3_masp.similarity import (
    SIMILARITIES,
    FixedSimilarity,
    KernelSimilarity,
    LowRankSimilarity,
    SimilarityAbout,
    SimilarityError,
    SoftmaxSimilarity,
    StateSimilarity,
    UnconstrainedSimilarity,
    save_similarity,
)
from sb3_masp.similarity.forms import make_similarity
from sb3_masp.similarity.matrices import divided, explained
from sb3_masp.similarity.transfer import Transfer, transferred_similarity

SOURCE = MacroSet(("NOOP", "LEFT", "RIGHT"), ((1, 1), (2, 2, 2), (1, 2), (0, 1)))
# Primitives in another order, of them UP new; LEFT×2, RIGHT×3 and NOOP,LEFT are in both.
TARGET = MacroSet(
    ("RIGHT", "UP", "NOOP", "LEFT"),
    ((0, 0, 0), (3, 0, 0), (1, 3), (3, 3), (2, 3), (1, 1)),
)
KNOWN = MacroSet(("RIGHT", "NOOP", "LEFT"), ((0, 0, 0), (2, 0, 0), (2, 2), (1, 2)))
COMMON = {0: 2, 2: 0, 3: 1, 4: 4, 7: 3, 8: 6}  # of TARGET's actions, and where SOURCE has them
A = SOURCE.n_actions


def random_rows(n_actions=A, seed=3):
    rows = th.rand(n_actions, n_actions, generator=th.Generator().manual_seed(seed))
    return (rows / rows.sum(dim=1, keepdim=True)).double()


@pytest.fixture
def similarity():
    return SoftmaxSimilarity(random_rows())


def carried(similarity, macro_set=TARGET, unmapped="error"):
    return transferred_similarity(similarity, macro_set, unmapped, SimilarityAbout.of(SOURCE))


@pytest.mark.parametrize("form", SIMILARITIES)
def test_over_the_same_actions_a_similarity_is_itself_from_a_file_too(form, tmp_path):
    path = tmp_path / "sigma.safetensors"
    similarity = SIMILARITIES[form].for_actions(random_rows(), SOURCE, seed=2)
    save_similarity(path, similarity, SimilarityAbout.of(SOURCE))
    for source in (similarity, path):
        found, transfer = carried(source, SOURCE)
        assert type(found) is type(similarity)
        assert found is not similarity
        for name, tensor in similarity.state_dict().items():
            assert th.equal(found.state_dict()[name], tensor)
        assert transfer == Transfer(by_name=SOURCE.names)


def test_over_some_of_its_actions_in_another_order_it_is_the_submatrix_with_rows_renormalised(
    similarity,
):
    part = MacroSet(("RIGHT", "LEFT", "NOOP"), ((1, 0), (0, 0, 0)))
    found, transfer = carried(similarity, part)
    chosen = [2, 1, 0, 5, 4]
    block = similarity()[chosen][:, chosen]
    th.testing.assert_close(found(), block / block.sum(dim=1, keepdim=True))
    assert type(found) is SoftmaxSimilarity
    assert transfer.by_name == part.names
    assert transfer.unused == ("LEFT×2", "NOOP,LEFT")
    assert (transfer.by_kernel, transfer.unmapped, transfer.kernel_fit) == ((), (), None)


def test_the_three_layers_are_those_of_a_naive_reference(similarity):
    found, transfer = carried(similarity, unmapped="uniform")
    n = TARGET.n_actions
    naive = (1 - th.eye(n).double()) / (n - 1)
    kernel = KernelSimilarity(similarity().detach(), SOURCE).carried_to(KNOWN)()
    known = [0, 2, 3, 4, 5, 7, 8]
    for layer, where in ((kernel, known), (similarity(), list(COMMON))):
        rows = naive.clone()
        for i in where:
            share = sum(naive[i, j] for j in where)
            at = {j: (known.index(j) if layer is kernel else COMMON[j]) for j in where}
            total = sum(layer[at[i], at[j]] for j in where)
            for j in where:
                rows[i, j] = share * layer[at[i], at[j]] / total
        naive = rows
    th.testing.assert_close(found(), naive, rtol=1e-4, atol=1e-6)
    th.testing.assert_close(found().sum(dim=1), th.ones(n).double())
    assert transfer.by_name == ("RIGHT", "NOOP", "LEFT", "RIGHT×3", "LEFT×2", "NOOP,LEFT")
    assert transfer.by_kernel == ("LEFT,RIGHT,RIGHT",)
    assert transfer.unmapped == ("UP", "UP,LEFT", "UP×2")
    assert transfer.unused == ("LEFT,RIGHT",)
    assert 0 < transfer.kernel_fit < 1


def test_the_unmapped_are_similar_to_all_or_to_what_they_share_primitives_with(similarity):
    uniform, _ = carried(similarity, unmapped="uniform")
    th.testing.assert_close(uniform()[9], (th.arange(10) != 9).double() / 9, rtol=1e-4, atol=0)
    overlap, transfer = carried(similarity, unmapped="overlap")
    assert transfer.default == "overlap"
    shared = th.as_tensor(TARGET.overlap())[9] + 1e-3
    shared[9] = 0
    th.testing.assert_close(overlap()[9], shared / shared.sum(), rtol=1e-4, atol=1e-6)
    # UP,LEFT: to LEFT it is similar by a part of LEFT's row, which others' entries do not change.
    row = th.as_tensor(TARGET.overlap())[3] + 1e-3
    row[3] = 0
    th.testing.assert_close(overlap()[3, 6], row[6] / row.sum(), rtol=1e-4, atol=1e-6)


def test_what_could_not_be_mapped_is_listed_and_refused_by_default(similarity):
    message = (
        r"3 of the actions cannot be described .* learned on NOOP, LEFT, RIGHT: "
        r"UP, UP,LEFT, UP×2\. Say unmapped='uniform' or 'overlap' \(--similarity-unmapped\)"
    )
    with pytest.raises(SimilarityError, match=message):
        carried(similarity)
    _, transfer = carried(similarity, unmapped="overlap")
    assert str(transfer).startswith("similarity: 6 actions carried over by name; 1 through the ker")
    assert str(transfer).endswith("3 not carried over, overlap instead: UP, UP,LEFT, UP×2")


def test_a_kernel_goes_over_through_its_features_and_is_fitted_where_it_cannot_all():
    kernel = KernelSimilarity(random_rows(), SOURCE, entropy_floor=0.3)
    found, transfer = carried(kernel, KNOWN)
    th.testing.assert_close(found(), kernel.carried_to(KNOWN)(), rtol=0, atol=0)
    assert transfer.by_kernel == KNOWN.names
    assert transfer.by_name == transfer.unmapped == ()
    with pytest.raises(SimilarityError, match="UP, UP,LEFT, UP×2"):
        carried(kernel)
    found, transfer = carried(kernel, unmapped="uniform")
    assert isinstance(found, KernelSimilarity)
    assert found.entropy_floor == 0.3
    assert found.macro_set == TARGET
    assert transfer.unmapped == ("UP", "UP,LEFT", "UP×2")
    wanted = (1 - th.eye(10).double()) / 9
    known = [0, 2, 3, 4, 5, 7, 8]
    wanted = divided(wanted, known, kernel.carried_to(KNOWN)().detach())
    th.testing.assert_close(found(), KernelSimilarity(wanted, TARGET, 0.3)())


def test_a_kernel_that_explains_the_source_carries_it_to_macros_that_it_has_never_seen():
    kernel = KernelSimilarity(th.ones(A, A).double(), SOURCE)
    with th.no_grad():
        kernel.sharpness_logit += 2
        kernel.metric[:, :3] *= 3
    twin = SoftmaxSimilarity(kernel().detach())
    found, transfer = carried(twin, KNOWN)
    assert transfer.kernel_fit > 0.99
    wanted = kernel.carried_to(KNOWN)().detach()
    gap = (found().detach() - wanted).abs().sum(dim=1) / 2
    from_uniform = (1 / 6 - wanted[wanted > 0]).abs().sum() / 2 / 7
    assert float(gap.mean()) < 0.5 * float(from_uniform)


def test_entries_of_free_matrices_are_carried_as_they_are():
    entries = th.randn(A, A, generator=th.Generator().manual_seed(7)).double()
    found, transfer = carried(UnconstrainedSimilarity(entries), unmapped="uniform")
    assert type(found) is UnconstrainedSimilarity
    assert transfer.by_kernel == ()  # no kernel has negative entries
    assert transfer.unmapped == ("UP", "LEFT,RIGHT,RIGHT", "UP,LEFT", "UP×2")
    matrix = found().detach()
    for i, row in COMMON.items():
        for j, column in COMMON.items():
            assert matrix[i, j] == entries[row, column]
    assert float(matrix[1, 5]) == pytest.approx(1 / 9)


def test_fixed_forms_become_fixed_ones_and_low_rank_keeps_its_rank():
    overlap = SIMILARITIES["overlap"].for_actions(random_rows(), SOURCE)
    assert type(carried(overlap, KNOWN)[0]) is FixedSimilarity
    assert not carried(overlap, KNOWN)[0].is_learned
    found, _ = carried(LowRankSimilarity(random_rows(), rank=3), KNOWN)
    assert (type(found), found.rank) == (LowRankSimilarity, 3)


def test_where_only_names_are_known_the_rest_is_unmapped(similarity):
    names_only = SimilarityAbout(SOURCE.names, SOURCE.hash)
    found, transfer = transferred_similarity(similarity, TARGET, "uniform", names_only)
    assert transfer.by_name == ("RIGHT", "NOOP", "LEFT", "RIGHT×3", "LEFT×2", "NOOP,LEFT")
    assert transfer.unmapped == ("UP", "LEFT,RIGHT,RIGHT", "UP,LEFT", "UP×2")
    block = similarity()[list(COMMON.values())][:, list(COMMON.values())]
    wanted = block / block.sum(dim=1, keepdim=True) * 5 / 9
    th.testing.assert_close(found()[list(COMMON)][:, list(COMMON)], wanted, rtol=1e-4, atol=1e-6)
    with pytest.raises(SimilarityError, match="nothing is known of the similarity's actions"):
        transferred_similarity(similarity, TARGET)


def test_a_learner_takes_a_file_of_the_same_actions_as_it_is_and_no_other(similarity, tmp_path):
    path = str(tmp_path / "sigma.safetensors")
    kernel = KernelSimilarity(random_rows(), SOURCE, entropy_floor=0.3)
    save_similarity(path, kernel, SimilarityAbout.of(SOURCE))
    found = make_similarity(path, "uniform", A, SOURCE)
    assert (type(found), found.entropy_floor) == (KernelSimilarity, 0.3)
    assert th.equal(found(), kernel())
    with pytest.raises(SimilarityError, match="similarity_start='overlap' would be ignored"):
        make_similarity(path, "overlap", A, SOURCE)
    with pytest.raises(SimilarityError, match=r"of other actions.*transferred_similarity, or masp"):
        make_similarity(path, "uniform", TARGET.n_actions, TARGET)
    with pytest.raises(SimilarityError, match="the environment has 7, macro set none"):
        make_similarity(path, "uniform", A)
    with pytest.raises(SimilarityError, match=r"may be fixed.*, or a file .* there is no such"):
        make_similarity("nowhere.safetensors", "uniform", A, SOURCE)


def test_actions_coincide_by_their_primitives_and_not_by_how_they_are_written(similarity):
    odd = MacroSet(("LEFT×2", "NOOP", "LEFT", "RIGHT"), ((2, 3),))
    _, transfer = carried(similarity, odd, "uniform")
    assert transfer.unmapped == ("LEFT×2",)
    assert transfer.by_name == ("NOOP", "LEFT", "RIGHT", "LEFT,RIGHT")


def test_dividing_anew_keeps_row_sums_and_rows_that_the_block_says_nothing_of():
    matrix = random_rows(7)
    block = th.tensor([[0.0, 3, 1], [0, 0, 0], [2, 2, 4]]).double()
    result = divided(matrix, [5, 1, 2], block)
    th.testing.assert_close(result.sum(dim=1), matrix.sum(dim=1))
    assert th.equal(result[1], matrix[1])
    assert th.equal(result[[0, 3, 4, 6]], matrix[[0, 3, 4, 6]])
    inside = matrix[5, [5, 1, 2]].sum()
    th.testing.assert_close(result[5, [5, 1, 2]], inside * th.tensor([0, 0.75, 0.25]).double())
    assert th.equal(result[5, [0, 3, 4, 6]], matrix[5, [0, 3, 4, 6]])


def test_explained_is_one_for_itself_zero_for_uniform_and_as_computed_by_hand_between():
    matrix = th.tensor([[0, 0.75, 0.25], [0.5, 0, 0.5], [0.9, 0.1, 0]]).double()
    uniform = (1 - th.eye(3).double()) / 2
    between = th.tensor([[0, 0.6, 0.4], [0.5, 0, 0.5], [0.5, 0.5, 0]]).double()
    assert explained(matrix, matrix) == pytest.approx(1)
    assert explained(matrix, uniform) == pytest.approx(0)
    assert explained(uniform, matrix) == 1
    log = th.log
    p, q = th.tensor([0.75, 0.25]), th.tensor([0.6, 0.4])
    left = (p * log(p / q)).sum() + 0.9 * log(th.tensor(1.8)) + 0.1 * log(th.tensor(0.2))
    whole = (p * log(2 * p)).sum() + 0.9 * log(th.tensor(1.8)) + 0.1 * log(th.tensor(0.2))
    assert explained(matrix, between) == pytest.approx(float(1 - left / whole))


@pytest.mark.parametrize("primitives", [("UP", "DOWN"), ("UP", "LEFT"), ("LEFT", "UP", "DOWN")])
def test_a_kernel_that_can_compare_no_two_actions_leaves_all_unmapped(primitives):
    kernel, others = KernelSimilarity(random_rows(), SOURCE), MacroSet(primitives)
    with pytest.raises(SimilarityError, match=", ".join(primitives)):
        carried(kernel, others)
    found, transfer = carried(kernel, others, "uniform")
    n = len(primitives)
    th.testing.assert_close(found(), (1 - th.eye(n).double()) / (n - 1), rtol=1e-4, atol=1e-6)
    assert (transfer.by_kernel, transfer.unmapped) == ((), primitives)


def test_every_form_keeps_its_settings_over_other_actions_ones_own_too(monkeypatch):
    monkeypatch.setattr("sb3_masp.similarity.base.SIMILARITIES", {})

    class Own(SoftmaxSimilarity):
        form = "own"

        def __init__(self, initial, sharpness=2.0):
            super().__init__(initial)
            self.sharpness = sharpness

        def settings(self):
            return {"sharpness": self.sharpness}

    assert carried(Own(random_rows(), 7.0), KNOWN)[0].sharpness == 7.0
    found = carried(StateSimilarity(random_rows(), rank=3), KNOWN)[0]
    assert found.settings() == {"rank": 3, "n_features": 0}


@pytest.mark.parametrize(
    "about",
    [SimilarityAbout.of(MacroSet(("A", "B", "C"))), SimilarityAbout(("0", "1", "2"))],
    ids=["primitives alone", "names alone"],
)
def test_as_many_actions_of_another_kind_are_other_actions(about, tmp_path):
    path = str(tmp_path / "sigma.safetensors")
    save_similarity(path, SoftmaxSimilarity(random_rows(3)), about)
    theirs = about.macros_of_actions
    assert make_similarity(path, "uniform", 3, theirs).n_actions == 3
    ours = MacroSet(("LEFT", "RIGHT", "UP")) if theirs is None else None
    with pytest.raises(SimilarityError, match="of other actions"):
        make_similarity(path, "uniform", 3, ours)
