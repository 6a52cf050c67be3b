import pytest
import torch as th

from macro_gym import MacroSet
from sb3_masp.similarity import (
    SIMILARITIES,
    FixedSimilarity,
    SimilarityAbout,
    SimilarityError,
    SoftmaxSimilarity,
    initial_similarity,
    load_similarity,
    save_similarity,
)
from sb3_masp.similarity.embedding import DenseEmbedding, FactoredEmbedding
from sb3_masp.similarity.forms import make_similarity
from sb3_masp.similarity.health import collapse, similarity_health

A = 7
MACROS = MacroSet(("LEFT", "RIGHT"), ((0, 0), (1, 1), (0, 1, 0), (1, 0, 1, 1), (0, 0, 1)))
CONTROLS = ["uniform", "identity", "overlap", "permuted"]
ROWS_SUM_TO_ONE = [
    "softmax",
    "softmax_diagonal",
    "sigmoid",
    "low_rank",
    "kernel",
    "group_kernel",
    "state",
    *CONTROLS,
]
WITH_DIAGONAL = ["softmax_diagonal", "low_rank", "identity"]
ZERO_DIAGONAL = [
    "softmax",
    "sigmoid",
    "kernel",
    "group_kernel",
    "state",
    *CONTROLS[:1],
    *CONTROLS[2:],
]
DRAWN = {"permuted", "low_rank", "group_kernel"}  # from a seed, for each action or feature
LEARNED = [
    "softmax",
    "softmax_diagonal",
    "sigmoid",
    "unconstrained",
    "low_rank",
    "kernel",
    "group_kernel",
]


def stirred(form, start="random", n_actions=A, macro_set=MACROS):
    """A similarity away from its start, if it can be moved."""
    start = start if SIMILARITIES[form].takes_start else "uniform"
    similarity = make_similarity(form, start, n_actions, macro_set, seed=3).double()
    generator = th.Generator().manual_seed(17)
    for parameter in similarity.parameters():
        if parameter.requires_grad:
            parameter.data += th.randn(parameter.shape, dtype=th.float64, generator=generator)
    return similarity


def test_every_form_is_in_these_tests():
    ours = {name for name, form in SIMILARITIES.items() if form.__module__.startswith("sb3_masp")}
    assert ours == {*LEARNED, "state", "fixed", *CONTROLS}  # state: test_similarity_state.py
    assert {form for form in ours if stirred(form).is_learned} == {*LEARNED, "state"}


@pytest.mark.parametrize("form", ROWS_SUM_TO_ONE)
def test_rows_sum_to_one(form):
    th.testing.assert_close(stirred(form)().sum(dim=1), th.ones(A, dtype=th.float64))


@pytest.mark.parametrize("form", ZERO_DIAGONAL)
def test_diagonal_is_zero(form):
    assert bool((stirred(form)().diagonal() == 0).all())


def test_sigmoid_is_symmetric_before_its_rows_are_normalised():
    sigma = stirred("sigmoid")()
    # Σ_ij/Σ_ji = r_j/r_i of the row sums, so products around any triangle agree both ways.
    i, j, k = 0, 2, 5
    around = sigma[i, j] * sigma[j, k] * sigma[k, i]
    th.testing.assert_close(around, sigma[i, k] * sigma[k, j] * sigma[j, i])


@pytest.mark.parametrize("form", LEARNED)
def test_gradients_reach_the_parameters(form):
    similarity = stirred(form)
    names, parameters = zip(*similarity.named_parameters(), strict=True)

    def matrix(*values):
        return th.func.functional_call(similarity, dict(zip(names, values, strict=True)), ())

    assert th.autograd.gradcheck(matrix, parameters)
    gradients = th.autograd.grad(similarity()[0].square().sum(), parameters)
    assert all(bool(gradient.abs().max() > 0) for gradient in gradients)


@pytest.mark.parametrize("form", SIMILARITIES)
def test_mix_is_the_product_with_the_matrix(form):
    similarity = stirred(form)
    values = th.randn(3, A, dtype=th.float64, generator=th.Generator().manual_seed(5))
    naive = th.stack([similarity() @ row for row in values])
    th.testing.assert_close(similarity.mix(values), naive)


@pytest.mark.parametrize("form", LEARNED)
def test_gradients_of_what_is_mixed_are_those_of_the_product_with_the_matrix(form):
    similarity = stirred(form)
    generator = th.Generator().manual_seed(5)
    values, weights = (th.randn(3, A, dtype=th.float64, generator=generator) for _ in range(2))
    values.requires_grad_()
    inputs = [values, *similarity.parameters()]
    found, expected = (
        th.autograd.grad((weights * product).sum(), inputs)
        for product in (similarity.mix(values), values @ similarity().mT)
    )
    for gradient, by_matrix in zip(found, expected, strict=True):
        th.testing.assert_close(gradient, by_matrix)


@pytest.mark.parametrize("form", SIMILARITIES)
def test_rows_are_those_of_the_matrix_now_and_at_the_start(form):
    similarity, actions = stirred(form), th.tensor([5, 0, 2])
    th.testing.assert_close(similarity.rows(actions), similarity()[actions])
    start = make_similarity(
        form, "random" if SIMILARITIES[form].takes_start else "uniform", A, MACROS, seed=3
    )
    th.testing.assert_close(similarity.start_rows(actions), start().double()[actions])


@pytest.mark.parametrize(
    ("form", "start"),
    [
        (form, start)
        for form in ("softmax", "softmax_diagonal", "sigmoid", "unconstrained", "fixed")
        for start in ("uniform", "overlap", "permuted", "random")
        # A symmetric form cannot match rows that are not; see the next test.
        if form != "sigmoid" or start == "uniform"
    ],
)
def test_every_dense_form_starts_where_it_is_told(form, start):
    wanted = initial_similarity(start, A, MACROS, seed=5)
    if form in ZERO_DIAGONAL:
        wanted = wanted.clone().fill_diagonal_(0.0)
        wanted = wanted / wanted.sum(dim=1, keepdim=True)
    similarity = make_similarity(form, start, A, MACROS, seed=5)
    th.testing.assert_close(similarity(), wanted, rtol=1e-3, atol=1e-5)
    assert th.equal(similarity.start, similarity())


@pytest.mark.parametrize("form", LEARNED)
def test_every_learned_form_can_start_from_a_file(form, tmp_path):
    path = str(tmp_path / "sigma.safetensors")
    saved = make_similarity("softmax", "overlap", A, MACROS)
    save_similarity(path, saved, SimilarityAbout(MACROS.names, MACROS.hash))
    found = make_similarity(form, path, A, MACROS)()
    expected = SIMILARITIES[form].for_actions(saved().detach(), MACROS)()
    assert th.equal(found, expected)
    assert float((found.detach() - 1 / A).abs().max()) > 0.1


def test_files_of_other_actions_are_no_start(tmp_path):
    path = str(tmp_path / "sigma.safetensors")
    other = MacroSet(("LEFT", "RIGHT"), ((0, 0), (1, 1), (0, 1, 0), (1, 0, 1, 1), (1, 0, 1)))
    save_similarity(path, stirred("softmax"), SimilarityAbout(other.names, other.hash, "Toy"))
    with pytest.raises(SimilarityError, match=r"7 of Toy, macro set .*environment has 7"):
        make_similarity("softmax", path, A, MACROS)
    with pytest.raises(SimilarityError, match="the environment has 5, macro set none"):
        make_similarity("softmax", path, 5)
    save_similarity(path, stirred("softmax"))  # says nothing of its macros
    with pytest.raises(SimilarityError, match="7 of an unnamed game, macro set unknown"):
        make_similarity("softmax", path, 5, MacroSet(("LEFT", "RIGHT"), ((0, 0), (1, 1), (0, 1))))
    assert make_similarity("softmax", path, A, MACROS).n_actions == A


def test_a_permuted_start_has_the_numbers_of_overlap_and_of_the_wrong_actions():
    plain, first, again, other = (
        initial_similarity(start, A, MACROS, seed)
        for start, seed in (("overlap", 1), ("permuted", 1), ("permuted", 1), ("permuted", 2))
    )
    assert th.equal(first, again)
    assert not th.equal(first, other)
    assert not th.allclose(first, plain)
    th.testing.assert_close(first.flatten().sort().values, plain.flatten().sort().values)
    # Actions were shuffled, not entries: the diagonal is still the largest of each row.
    assert th.equal(first.argmax(dim=1), th.arange(A))


def test_sigmoid_starts_in_proportion_to_a_symmetric_matrix():
    overlap = th.as_tensor(MACROS.overlap(), dtype=th.float32).fill_diagonal_(0.0).clamp(min=0.01)
    overlap.fill_diagonal_(0.0)
    found = SIMILARITIES["sigmoid"](overlap)()
    th.testing.assert_close(found, overlap / overlap.sum(dim=1, keepdim=True))


@pytest.mark.parametrize("form", ["softmax_diagonal", "unconstrained"])
def test_identity_start_is_near_identity(form):
    sigma = make_similarity(form, "identity", A)()
    th.testing.assert_close(sigma, 0.9 * th.eye(A) + th.full((A, A), 0.1 / A))


@pytest.mark.parametrize("form", ["softmax", "sigmoid", "low_rank", "kernel"])
def test_identity_start_is_refused_where_it_is_out_of_reach(form):
    with pytest.raises(SimilarityError, match=r"near identity.*fixed, softmax_diagonal, uncon"):
        make_similarity(form, "identity", A, MACROS)


@pytest.mark.parametrize("form", CONTROLS)
def test_controls_refuse_a_start_that_they_would_ignore(form):
    with pytest.raises(SimilarityError, match="one fixed matrix, so similarity_start='random'"):
        make_similarity(form, "random", A, MACROS)


# A permuted control is permuted otherwise, and low rank starts from groups drawn for its actions.
@pytest.mark.parametrize("form", sorted(set(SIMILARITIES) - DRAWN))
def test_renaming_actions_renames_the_similarity(form):
    order = th.tensor([1, 0, 4, 6, 2, 5, 3])  # primitives among themselves, as in any macro set
    start = initial_similarity("overlap", A, MACROS).double() + th.rand(A, A).double() / 9
    sequences = [tuple(1 - p for p in MACROS.expand(a)) for a in order[2:].tolist()]
    renamed = MacroSet(("RIGHT", "LEFT"), tuple(sequences))
    plain = SIMILARITIES[form].for_actions(start, MACROS)()
    permuted = SIMILARITIES[form].for_actions(start[order][:, order], renamed)()
    th.testing.assert_close(permuted, plain[order][:, order], rtol=1e-4, atol=1e-6)


def test_unknown_names_and_missing_macros_are_refused():
    with pytest.raises(SimilarityError, match=r"may be fixed, uniform.*softmax, softmax_diagonal"):
        make_similarity("dense", "uniform", A)
    with pytest.raises(SimilarityError, match=r"'uniform', 'overlap'.*there is no such file"):
        make_similarity("softmax", "zero", A)
    for form, start in (("softmax", "overlap"), ("kernel", "uniform"), ("permuted", "uniform")):
        with pytest.raises(SimilarityError, match="no macro_set"):
            make_similarity(form, start, A)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (th.ones(2, 3), r"shape \(2, 3\)"),
        (th.ones(1, 1), "at least two actions"),
        (th.full((3, 3), th.nan), "finite"),
        (-th.ones(3, 3), "non-negative"),
        (th.eye(3), "positive sum off the diagonal"),
    ],
)
def test_matrices_that_are_no_start_are_refused(start, message):
    with pytest.raises(SimilarityError, match=message):
        SoftmaxSimilarity(start)


@pytest.mark.parametrize("form", SIMILARITIES)
def test_loading_what_was_saved_gives_it_back(form, tmp_path):
    similarity, path = stirred(form), tmp_path / "sigma.safetensors"
    about = SimilarityAbout(MACROS.names, MACROS.hash, "Toy", 123)
    save_similarity(path, similarity, about)
    loaded, loaded_about = load_similarity(path)
    assert loaded_about == about
    assert type(loaded) is type(similarity)
    for name, tensor in similarity.state_dict().items():
        assert th.equal(loaded.state_dict()[name], tensor)
    assert th.equal(loaded(), similarity())


def test_damaged_files_are_refused_and_a_missing_one_named(tmp_path):
    path = tmp_path / "sigma.safetensors"
    save_similarity(path, stirred("softmax"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(SimilarityError, match="does not have the hash"):
        load_similarity(path)
    path.write_bytes(whole[:50])
    with pytest.raises(SimilarityError, match="not a whole safetensors file"):
        load_similarity(path)
    path.write_bytes(whole.replace(b'"schema":"2"', b'"schema":"9"'))
    with pytest.raises(SimilarityError, match="schema 9"):
        load_similarity(path)
    with pytest.raises(FileNotFoundError, match="no similarity file"):
        load_similarity(tmp_path / "none")


def test_health_of_matrices_known_by_hand():
    uniform = (1 - th.eye(A)) / (A - 1)
    permutation = th.eye(A).roll(1, dims=0)
    at_uniform = similarity_health(uniform, uniform)
    assert at_uniform["entropy"] == pytest.approx(1.0)
    assert at_uniform["off_diagonal_mass"] == pytest.approx(1.0)
    assert at_uniform["distance_from_start"] == 0.0
    assert similarity_health(permutation, uniform)["entropy"] == pytest.approx(0.0, abs=1e-6)
    assert similarity_health(permutation, uniform)["effective_rank"] == pytest.approx(A, rel=1e-4)
    flat = th.full((A, A), 1 / A)
    assert similarity_health(flat, uniform)["effective_rank"] == pytest.approx(1.0, abs=1e-4)
    assert similarity_health(2 * uniform, uniform)["distance_from_start"] == pytest.approx(1.0)


def test_collapse_tells_identity_uniform_and_neither_apart():
    uniform = (1 - th.eye(A)) / (A - 1)
    assert collapse(uniform) == "uniform"
    assert collapse(0.99 * th.eye(A) + 0.01 * uniform) == "identity"
    assert collapse(initial_similarity("random", A, seed=1)) is None


def embedded(embed, matrix):
    embed.show(FixedSimilarity(matrix))
    return embed().clone()


@pytest.mark.parametrize("kind", [FactoredEmbedding, DenseEmbedding])
def test_embeddings_are_linear_in_sigma_and_tell_two_apart(kind):
    th.manual_seed(23)
    embed = kind(A, 5)
    first, second = (initial_similarity("random", A, seed=seed) for seed in (1, 2))
    of_first, of_second, of_both = (
        embedded(embed, matrix) for matrix in (first, second, first + 2 * second)
    )
    assert of_first.shape == (5,)
    th.testing.assert_close(of_both, of_first + 2 * of_second)
    assert not th.allclose(of_first, of_second)


@pytest.mark.parametrize("kind", [FactoredEmbedding, DenseEmbedding])
@pytest.mark.parametrize(("n_actions", "dim"), [(7, 131), (68, 32), (131, 5)])
def test_all_of_an_embedding_together_is_at_first_as_large_as_one_bias(kind, n_actions, dim):
    th.manual_seed(31)
    uniform = initial_similarity("uniform", n_actions)
    drawn = [embedded(kind(n_actions, dim), uniform).detach() for _ in range(20)]
    assert 0.4 < th.stack(drawn).abs().sum(dim=1).mean() < 2


def test_factored_embedding_is_a_dense_one_with_rows_of_rank_one():
    th.manual_seed(29)
    factored, sigma = FactoredEmbedding(A, 5), initial_similarity("random", A, seed=1)
    dense = DenseEmbedding(A, 5)
    dense.weight.data = th.stack(
        [th.outer(u, v).flatten() for u, v in zip(factored.left, factored.right, strict=True)]
    )
    th.testing.assert_close(embedded(factored, sigma), embedded(dense, sigma))
    assert list(factored.parameters()) == []
