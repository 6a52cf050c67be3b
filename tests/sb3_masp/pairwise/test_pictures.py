"""Heat maps of weights: every cell where it belongs, and white where there is no weight."""

import matplotlib
import numpy as np
import pytest
import torch as th
from matplotlib.backends.backend_agg import FigureCanvasAgg

from macro_gym.errors import ArgumentTypeError
from sb3_masp.pairwise import ClockWeights, FixedTableWeights, GeometricWeights, TableWeights
from sb3_masp.pairwise.pictures import (
    OF_CLOCK,
    OF_TIME,
    WeightMap,
    draw_weights,
    table_map,
    trajectory_map,
    weight_maps,
)
from tests.sb3_masp.pairwise.trajectories import trajectory

STATES = 7


def colours(figure, panel, places):
    """What the pixels in the middle of cells show, by row and column."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())
    found = []
    for row, column in places:
        x, y = figure.axes[panel].transData.transform((column, row)).astype(int)
        found.append(pixels[len(pixels) - 1 - y, x])
    return np.array(found)


def of_weight(weight):
    return np.array(matplotlib.colormaps["viridis"](weight, bytes=True))


def test_cells_are_rows_of_who_is_credited_and_columns_of_what_for():
    table = np.full((STATES, STATES + 4), np.nan)
    table[1, 5], table[6, 10], table[3, 0] = 0.25, 0.8, 0.1
    other = np.linspace(0.2, 0.6, STATES**2).reshape(STATES, STATES)
    figure = weight_maps({"learned": table, "by hand": other})
    seen = colours(figure, 0, [(1, 5), (6, 10), (3, 0)])
    expected = [of_weight(weight) for weight in (0.25, 0.8, 0.1)]
    np.testing.assert_allclose(seen.astype(int), expected, atol=1)
    assert (colours(figure, 0, [(5, 1), (0, 0), (6, 9), (0, 3)]) == 255).all()
    # One scale for all, whatever their least and largest.
    (second,) = colours(figure, 1, [(2, 5)])
    np.testing.assert_allclose(second.astype(int), of_weight(other[2, 5]), atol=1)
    assert [axes.get_title() for axes in figure.axes[:2]] == ["learned", "by hand"]
    assert "credited" in figure.axes[0].get_ylabel()


def test_pairs_that_were_never_met_have_no_weight():
    weights = TableWeights(STATES)
    with th.no_grad():
        weights.logits[2, 4], weights.logits[5, 1] = 1.5, -0.3
    drawn = table_map(weights).weights
    assert np.isfinite(drawn).sum() == 2
    assert drawn[2, 4] == pytest.approx(1 / (1 + np.exp(-1.5)))
    assert drawn[5, 1] == pytest.approx(1 / (1 + np.exp(0.3)))


def test_given_tables_are_drawn_as_they_are():
    table = np.random.default_rng(3).random((STATES, STATES)).astype(np.float32)
    np.testing.assert_array_equal(table_map(FixedTableWeights(table)).weights, table)
    assert table_map(ClockWeights(table)).axes == OF_CLOCK
    with pytest.raises(ArgumentTypeError, match="GeometricWeights are no table"):
        table_map(GeometricWeights(0.5))


def test_a_trajectory_is_drawn_from_each_decision_on_to_its_episodes_end():
    played = trajectory(time=7)
    drawn, axes = trajectory_map(GeometricWeights(0.5), played, env=0)
    naive = np.full((7, 7), np.nan)
    for t in range(7):
        for k in range(t, 7):
            naive[t, k] = 0.5 ** (k - t)
            if played.last[0, k]:
                break
    np.testing.assert_array_equal(drawn, naive)
    assert axes == OF_TIME
    assert np.isfinite(trajectory_map(GeometricWeights(0.5), played, env=1).weights).sum() == 28


@pytest.mark.parametrize(("suffix", "begins"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_pictures_are_written_in_the_format_of_their_suffix(suffix, begins, tmp_path):
    path = tmp_path / f"weights.{suffix}"
    draw_weights(path, {"$one": np.eye(3), "two": WeightMap(np.eye(2), OF_TIME)})
    assert path.read_bytes().startswith(begins)
