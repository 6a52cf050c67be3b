import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sb3_masp.sum_tree import SumTree

SIZES = (1, 2, 31, 32, 33, 1031, 40_009)  # up to two levels of rows below the top


def naive_find(priorities, mass):
    running = 0.0
    for leaf, priority in enumerate(priorities):
        running += priority
        if mass < running:
            return leaf
    raise AssertionError("mass is beyond the total")


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(SIZES), st.integers(0, 2**32 - 1))
def test_finds_what_a_running_sum_over_a_list_finds(size, seed):
    rng = np.random.default_rng(seed)
    tree, priorities = SumTree(size), [0.0] * size
    for _ in range(3):
        indices = rng.integers(size, size=7)
        values = rng.integers(0, 5, size=7).astype(float)  # whole numbers: sums are exact
        values[0] += 1
        tree.update(indices, values)
        for index, value in zip(indices, values, strict=True):  # the last of a repeated index
            priorities[index] = value
    if sum(priorities) == 0:
        return
    assert tree.total == sum(priorities)
    assert tree[np.arange(size)].tolist() == priorities
    masses = np.append(rng.uniform(0, tree.total, size=11), [0.0, np.floor(tree.total / 2)])
    assert tree.find(masses).tolist() == [naive_find(priorities, mass) for mass in masses]


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(SIZES), st.integers(0, 2**32 - 1))
def test_never_draws_a_leaf_of_priority_zero_whatever_the_rounding(size, seed):
    rng = np.random.default_rng(seed)
    tree = SumTree(size)
    indices = rng.integers(size, size=size // 2 + 1)
    tree.update(indices, 10.0 ** rng.uniform(-12, 6, size=len(indices)))
    edges = [0.0, tree.total, np.nextafter(tree.total, np.inf), np.nextafter(tree.total, 0.0)]
    boundaries = tree[np.arange(size)].cumsum()
    drawn = tree.find(np.concatenate([edges, boundaries]))
    assert drawn.min() >= 0
    assert drawn.max() < size
    assert (tree[drawn] > 0).all()


@pytest.mark.parametrize("size", SIZES)
def test_a_batch_draws_each_leaf_as_often_as_its_share_give_or_take_the_slice_it_is_cut_at(size):
    np.random.seed(5)
    tree = SumTree(size)
    tree.update(np.arange(size), np.random.random_sample(size) ** 3)
    batch = 2003
    counts = np.bincount(tree.sample(batch), minlength=size)
    expected = batch * tree[np.arange(size)] / tree.total
    assert np.abs(counts - expected).max() < 2


def test_sums_do_not_drift_over_many_updates():
    rng = np.random.default_rng(7)
    size = 1031
    tree, fresh = SumTree(size), SumTree(size)
    for _ in range(2000):
        tree.update(rng.integers(size, size=13), 10.0 ** rng.uniform(-9, 9, size=13))
    fresh.update(np.arange(size), tree[np.arange(size)])
    assert tree.total == fresh.total
    masses = rng.uniform(0, tree.total, size=97)
    np.testing.assert_array_equal(tree.find(masses), fresh.find(masses))
