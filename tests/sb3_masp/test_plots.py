import numpy as np
import pytest

from sb3_masp import plots
from sb3_masp.callbacks import Episode


def test_running_mean_matches_a_naive_loop():
    values = np.random.default_rng(7).random(23)
    naive = [values[max(0, end - 5) : end].mean() for end in range(1, 24)]
    np.testing.assert_allclose(plots.running_mean(values, 5), naive)


@pytest.mark.parametrize("n_actions", [2, 5, 131])
def test_plots_are_drawn_for_any_number_of_actions(tmp_path, n_actions):
    rng = np.random.default_rng(n_actions)
    names = [f"A{i}," * 9 for i in range(n_actions)]
    plots.action_usage(tmp_path / "usage.png", rng.integers(0, 9, n_actions), names)
    plots.learning_curve(tmp_path / "curve.svg", {"a": [Episode(5, 3, 1.0, 3)], "b": []})
    assert (tmp_path / "usage.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (tmp_path / "curve.svg").read_bytes()
