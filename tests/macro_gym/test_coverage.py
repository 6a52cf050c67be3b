"""Coverage, against every way there is to cut a little play."""

import time

import numpy as np
import pytest

from macro_gym import MacroSet, Provenance
from macro_gym.demonstrations import Demonstration
from macro_gym.errors import DemonstrationError, InvalidMacroError, RemapError
from macro_gym.extraction import frequent_ngrams
from macro_gym.extraction.coverage import play_coverage

NAMES = ("NOOP", "LEFT", "FIRE")


def demonstration(actions, names=NAMES, frameskip=4):
    return Demonstration(names, np.array(actions, dtype=np.uint8), frameskip=frameskip)


def random_play(rng, *steps):
    return [demonstration(rng.integers(3, size=n)) for n in steps]


def random_set(rng, k):
    macros = {}
    while len(macros) < k:
        macros[tuple(rng.integers(3, size=rng.integers(1, 6)).tolist())] = None
    return MacroSet(NAMES, tuple(macros))


def every_cut(actions, macros):
    """The steps in macros and the number of pieces of each way to cut ``actions``."""
    if not actions:
        return {(0, 0)}
    cuts = {(covered, pieces + 1) for covered, pieces in every_cut(actions[1:], macros)}
    for macro in macros:
        if actions[: len(macro)] == macro:
            rest = every_cut(actions[len(macro) :], macros)
            cuts |= {(covered + len(macro), pieces + 1) for covered, pieces in rest}
    return cuts


@pytest.mark.parametrize("seed", range(12))
def test_coverage_is_that_of_the_best_of_all_cuts(seed):
    rng = np.random.default_rng(seed)
    play, macro_set = random_play(rng, 11, 0, 7, 3, 13), random_set(rng, 17)
    found = play_coverage(macro_set, play, [0, 1, 5, 17])
    assert (found.sizes, found.steps) == ((0, 1, 5, 17), 34)
    for n, covered, decisions in zip(found.sizes, found.covered, found.decisions, strict=True):
        cuts = [every_cut(tuple(d.actions.tolist()), macro_set.macros[:n]) for d in play]
        assert covered * 34 == pytest.approx(sum(max(c for c, _ in cut) for cut in cuts))
        assert decisions * 34 == pytest.approx(sum(min(p for _, p in cut) for cut in cuts))


def test_neither_the_longest_nor_the_first_macro_that_fits_need_be_the_best():
    macro_set = MacroSet(NAMES, ((0, 1), (0, 1, 2), (2, 1, 0, 1)))
    found = play_coverage(macro_set, [demonstration([0, 1, 2, 1, 0, 1])])
    np.testing.assert_allclose(found.covered, np.array([4, 5, 6]) / 6)
    np.testing.assert_allclose(found.decisions, np.array([4, 3, 2]) / 6)


def test_no_macro_spans_two_demonstrations():
    macro_set = MacroSet(NAMES, ((1, 2),))
    found = play_coverage(macro_set, [demonstration([0, 1]), demonstration([2])])
    assert (found.covered.tolist(), found.decisions.tolist()) == ([0], [1])


def test_more_macros_never_cover_less_nor_need_more_decisions():
    rng = np.random.default_rng(3)
    found = play_coverage(random_set(rng, 101), random_play(rng, 211, 307))
    assert found.sizes == tuple(range(1, 102))
    assert (np.diff(found.covered) >= 0).all()
    assert (np.diff(found.decisions) <= 0).all()


def test_batches_of_play_are_as_one(monkeypatch):
    rng = np.random.default_rng(5)
    play, macro_set = random_play(rng, 101, 3, 59, 211), random_set(rng, 23)
    whole = play_coverage(macro_set, play)
    monkeypatch.setattr("macro_gym.extraction.coverage.BATCH", 100)
    parts = play_coverage(macro_set, play)
    np.testing.assert_array_equal(whole.covered, parts.covered)
    np.testing.assert_array_equal(whole.decisions, parts.decisions)


def test_actions_are_matched_by_name():
    macro_set = MacroSet(NAMES, ((1, 2), (2, 2, 0)))
    play = [demonstration([1, 2, 0, 2, 2, 0])]
    other = [demonstration([2, 0, 1, 0, 0, 1], ("FIRE", "NOOP", "LEFT"))]
    assert (
        play_coverage(macro_set, other).covered.tolist()
        == play_coverage(macro_set, play).covered.tolist()
    )


def test_a_set_without_macros_covers_nothing():
    found = play_coverage(MacroSet(NAMES), [demonstration([0, 1, 2])], [0])
    assert (found.covered.tolist(), found.decisions.tolist()) == ([0], [1])


def test_what_cannot_be_covered_is_refused():
    macro_set = MacroSet(NAMES, ((1, 2),), provenance=Provenance(frameskip=4))
    with pytest.raises(DemonstrationError, match="no demonstrations"):
        play_coverage(macro_set, [])
    with pytest.raises(DemonstrationError, match="frameskip is 3, but 4"):
        play_coverage(macro_set, [demonstration([1], frameskip=3)])
    with pytest.raises(RemapError, match="uses UP"):
        play_coverage(macro_set, [demonstration([0], ("UP",))])
    with pytest.raises(InvalidMacroError, match=r"2 macros are asked for; the set has 0\.\.1"):
        play_coverage(macro_set, [demonstration([1])], [2])


def test_all_sizes_of_a_bank_take_about_a_second():
    rng = np.random.default_rng(7)
    held = [np.repeat(rng.integers(3, size=400), rng.integers(1, 7, 400))[:1000] for _ in range(20)]
    play = [demonstration(actions) for actions in held]
    macro_set = frequent_ngrams(play, 512)
    start = time.process_time()
    found = play_coverage(macro_set, play)
    assert time.process_time() - start < 5  # 0.4 s on a quiet core
    assert found.steps == 20_000
    assert found.covered[-1] > 0.99
