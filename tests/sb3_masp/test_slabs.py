"""Byte strings in slabs, beside a dictionary of them."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sb3_masp import slabs
from sb3_masp.slabs import PLACE, Slabs


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Slabs so small that strings fill several, and some are larger than any."""
    monkeypatch.setattr(slabs, "SMALLEST", 16)
    monkeypatch.setattr(slabs, "LARGEST", 64)


ROUNDS = st.lists(
    st.tuples(st.lists(st.binary(max_size=40), max_size=6), st.integers(0, 8)), max_size=25
)


def numbers(held):
    """The slabs of all places."""
    return lambda: [np.array([slab for slab, _, _ in held], int)]


@given(ROUNDS)
def test_what_is_in_use_stays_whatever_is_written_since(rounds):
    held, strings_held, ours = [], [], Slabs()
    for strings, kept in rounds:
        held = [*held, *ours.put(strings, numbers(held))][-kept:]
        strings_held = [*strings_held, *strings][-kept:]
        ours = pickle.loads(pickle.dumps(ours)) if kept == 3 else ours
        assert list(map(bytes, ours.get(np.array(held, PLACE)))) == strings_held


def test_a_ring_that_is_full_takes_no_new_memory():
    rng, held, ours, taken = np.random.default_rng(0), [], Slabs(), []
    for _ in range(3000):
        strings = [rng.bytes(n) for n in rng.integers(5, 20, 4)]
        held = [*held, *ours.put(strings, numbers(held))][-400:]
        taken.append(ours.nbytes)
    in_use = sum(length for _, _, length in held)
    assert taken[-1] - taken[500] <= 3 * 64
    assert in_use <= taken[-1] <= 1.3 * in_use


def test_memory_that_is_not_in_use_is_written_again():
    held, ours = [], Slabs()
    for _ in range(50):
        held += ours.put([bytes(16)], numbers(held))
    assert ours.nbytes == 50 * 16
    for _ in range(200):
        ours.put([bytes(16)], numbers(held[7:8]))
    assert ours.nbytes == 50 * 16


def test_only_what_was_written_is_saved(monkeypatch):
    monkeypatch.setattr(slabs, "SMALLEST", 10**6)
    ours = Slabs()
    places = np.array(ours.put([b"one", b"", b"three"], list), PLACE)
    saved = pickle.dumps(ours)
    assert len(saved) < 1000
    loaded = pickle.loads(saved)
    assert [bytes(found) for found in loaded.get(places)] == [b"one", b"", b"three"]
    assert loaded.nbytes == ours.nbytes == 10**6
    assert loaded.written == ours.written == 8
