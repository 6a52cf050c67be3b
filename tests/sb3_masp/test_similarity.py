import pytest
import torch as th

from macro_gym import MacroSet
from sb3_masp.similarity import (
    SIMILARITIES,
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
ROWS_SUM_TO_ONE = ["softmax", "softmax_diagonal", "sigmoid"]


def stirred(form, start="random"):
    """A similarity away from its start."""
    similarity = make_similarity(form, start, A, MACROS, seed=3).double()
    generator = th.Generator().manual_seed(17)
    for parameter in similarity.parameters():
        parameter.data += th.randn(parameter.shape, dtype=th.float64, generator=generator)
    return similarity


@pytest.mark.parametrize("form", ROWS_SUM_TO_ONE)
def test_rows_sum_to_one(form):
    th.testing.assert_close(stirred(form)().sum(dim=1), th.ones(A, dtype=th.float64))


@pytest.mark.parametrize("form", ["softmax", "sigmoid"])
def test_diagonal_is_zero(form):
    assert bool((stirred(form)().diagonal() == 0).all())


def test_sigmoid_is_symmetric_before_its_rows_are_normalised():
    sigma = stirred("sigmoid")()
    # Σ_ij/Σ_ji = r_j/r_i of the row sums, so products around any triangle agree both ways.
    i, j, k = 0, 2, 5
    around = sigma[i, j] * sigma[j, k] * sigma[k, i]
    th.testing.assert_close(around, sigma[i, k] * sigma[k, j] * sigma[j, i])


@pytest.mark.parametrize("form", SIMILARITIES)
def test_gradients_reach_the_parameters(form):
    similarity = stirred(form)
    (parameter,) = similarity.parameters()

    def matrix(value):
        return th.func.functional_call(similarity, {next(iter(names)): value}, ())

    names = dict(similarity.named_parameters())
    assert th.autograd.gradcheck(matrix, (parameter,))


@pytest.mark.parametrize(
    ("form", "start"),
    [
        (form, start)
        for form in SIMILARITIES
        for start in ("uniform", "overlap", "random")
        # A symmetric form cannot match rows that are not; see the next test.
        if form != "sigmoid" or start == "uniform"
    ],
)
def test_every_form_starts_where_it_is_told(form, start):
    wanted = initial_similarity(start, A, MACROS, seed=5)
    if not SIMILARITIES[form].has_diagonal:
        wanted = wanted.clone().fill_diagonal_(0.0)
        wanted = wanted / wanted.sum(dim=1, keepdim=True)
    found = make_similarity(form, start, A, MACROS, seed=5)()
    th.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-5)


def test_sigmoid_starts_in_proportion_to_a_symmetric_matrix():
    overlap = th.as_tensor(MACROS.overlap(), dtype=th.float32).fill_diagonal_(0.0).clamp(min=0.01)
    overlap.fill_diagonal_(0.0)
    found = SIMILARITIES["sigmoid"](overlap)()
    th.testing.assert_close(found, overlap / overlap.sum(dim=1, keepdim=True))


@pytest.mark.parametrize("form", ["softmax_diagonal", "unconstrained"])
def test_identity_start_is_near_identity(form):
    sigma = make_similarity(form, "identity", A)()
    th.testing.assert_close(sigma, 0.9 * th.eye(A) + th.full((A, A), 0.1 / A))


@pytest.mark.parametrize("form", ["softmax", "sigmoid"])
def test_identity_start_is_refused_where_there_is_no_diagonal(form):
    with pytest.raises(SimilarityError, match=r"no diagonal.*softmax_diagonal and unconstrained"):
        make_similarity(form, "identity", A)


@pytest.mark.parametrize("form", SIMILARITIES)
def test_renaming_actions_renames_the_similarity(form):
    order = th.tensor([3, 0, 6, 1, 5, 2, 4])
    start = initial_similarity("random", A, seed=9)
    plain, permuted = SIMILARITIES[form](start)(), SIMILARITIES[form](start[order][:, order])()
    th.testing.assert_close(permuted, plain[order][:, order])


def test_unknown_names_and_missing_macros_are_refused():
    with pytest.raises(SimilarityError, match="may be softmax, softmax_diagonal"):
        make_similarity("dense", "uniform", A)
    with pytest.raises(SimilarityError, match="'uniform', 'overlap'"):
        make_similarity("softmax", "zero", A)
    with pytest.raises(SimilarityError, match="no macro_set"):
        make_similarity("softmax", "overlap", A)


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
    path.write_bytes(whole.replace(b'"schema":"1"', b'"schema":"9"'))
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


@pytest.mark.parametrize("kind", [FactoredEmbedding, DenseEmbedding])
def test_embeddings_are_linear_in_sigma_and_tell_two_apart(kind):
    th.manual_seed(23)
    embed = kind(A, 5)
    first, second = (initial_similarity("random", A, seed=seed) for seed in (1, 2))
    assert embed(first).shape == (5,)
    th.testing.assert_close(embed(first + 2 * second), embed(first) + 2 * embed(second))
    assert not th.allclose(embed(first), embed(second))


def test_factored_embedding_is_a_dense_one_with_rows_of_rank_one():
    th.manual_seed(29)
    factored, sigma = FactoredEmbedding(A, 5), initial_similarity("random", A, seed=1)
    dense = DenseEmbedding(A, 5)
    dense.weight.data = th.stack(
        [th.outer(u, v).flatten() for u, v in zip(factored.left, factored.right, strict=True)]
    )
    th.testing.assert_close(factored(sigma), dense(sigma))
    assert list(factored.parameters()) == []
