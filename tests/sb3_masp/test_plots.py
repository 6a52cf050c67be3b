import numpy as np
import pytest

from sb3_masp import plots
from sb3_masp.callbacks import Episode


def test_cluster_order_puts_like_by_like():
    groups = np.array([0, 1, 2, 1, 0, 2, 0, 1, 2, 2, 0])
    similarity = (groups[:, None] == groups[None, :]) + 0.01 * np.random.default_rng(3).random(
        (11, 11)
    )
    ordered = groups[plots.cluster_order(similarity)]
    assert (np.diff(ordered) != 0).sum() == 2
    assert sorted(plots.cluster_order(similarity)) == list(range(11))


def test_cluster_order_leaves_the_matrix_as_it_was():
    similarity = np.random.default_rng(5).random((7, 7))
    before = similarity.copy()
    plots.cluster_order(similarity)
    np.testing.assert_array_equal(similarity, before)


def test_running_mean_matches_a_naive_loop():
    values = np.random.default_rng(7).random(23)
    naive = [values[max(0, end - 5) : end].mean() for end in range(1, 24)]
    np.testing.assert_allclose(plots.running_mean(values, 5), naive)


@pytest.mark.parametrize("n_actions", [2, 5, 131])
def test_plots_are_drawn_for_any_number_of_actions(tmp_path, n_actions):
    rng = np.random.default_rng(n_actions)
    names = [f"A{i}," * 9 for i in range(n_actions)]
    plots.similarity_map(tmp_path / "map.png", rng.random((n_actions, n_actions)) - 0.1, names)
    plots.action_usage(tmp_path / "usage.png", rng.integers(0, 9, n_actions), names)
    plots.learning_curve(tmp_path / "curve.svg", {"a": [Episode(5, 3, 1.0, 3)], "b": []})
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "usage.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (tmp_path / "curve.svg").read_bytes()
