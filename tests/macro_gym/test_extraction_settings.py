"""What every method of extraction shares, held to naive counting with repeated play."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from macro_gym.demonstrations import Demonstration
from macro_gym.errors import DemonstrationError, InvalidMacroError
from macro_gym.extraction import ExtractionSettings, mine_ngrams

LETTERS = "ABCDE"

texts = st.lists(st.text(alphabet=LETTERS, max_size=23), min_size=1, max_size=5)


def play(text, **about):
    actions = np.array([LETTERS.index(letter) for letter in text], dtype=np.uint8)
    return Demonstration(tuple(LETTERS), actions, **about)


def mined(texts, **settings):
    """Macros as words, with their counts."""
    macro_set = mine_ngrams([play(text) for text in texts], ExtractionSettings(**settings))
    words = ["".join(LETTERS[primitive] for primitive in macro) for macro in macro_set.macros]
    return list(zip(words, macro_set.counts, strict=True))


def counted(texts, weights, min_length, max_length, min_count):
    """Every window of every text, one by one, best first."""
    windows = {}
    for text, weight in zip(texts, weights, strict=True):
        for length in range(min_length, max_length + 1):
            for start in range(len(text) - length + 1):
                word = text[start : start + length]
                windows[word] = windows.get(word, 0) + weight
    often = [item for item in windows.items() if item[1] >= min_count]
    return sorted(often, key=lambda item: (-item[1], -len(item[0]), item[0]))


@settings(deadline=None)
@given(texts, st.data())
def test_the_k_best_are_those_of_a_naive_weighted_count(texts, data):
    weights = tuple(data.draw(st.integers(1, 7)) for _ in texts)
    low = data.draw(st.integers(1, 3))
    limits = {"min_length": low, "max_length": low + 4, "min_count": data.draw(st.integers(1, 9))}
    expected = counted(texts, weights, *limits.values())
    k = data.draw(st.integers(0, len(expected)))
    assert mined(texts, k=k, weights=weights, **limits) == expected[:k]


@settings(deadline=None)
@given(texts, st.integers(2, 3))
def test_a_weight_counts_as_giving_the_play_so_many_times(texts, weight):
    weights = (weight, *(1 for _ in texts[1:]))
    repeated = texts[:1] * (weight - 1) + texts
    k = len(counted(texts, weights, 2, 8, 1))
    assert mined(texts, k=k, weights=weights) == mined(repeated, k=k)


def test_batches_do_not_change_the_count(monkeypatch):
    rng = np.random.default_rng(7)
    texts = ["".join(rng.choice(list("AB"), size)) for size in (11, 0, 3, 29, 2, 17)]
    weights = (1, 1, 3, 3, 1, 1)
    whole = mined(texts, k=101, weights=weights)
    monkeypatch.setattr("macro_gym.extraction.ngrams.BATCH", 13)
    assert mined(texts, k=101, weights=weights) == whole == counted(texts, weights, 2, 8, 1)[:101]


def test_provenance_states_what_restricts_the_count():
    settings = ExtractionSettings(1, min_count=2, weights=(3, 1, 3), frameskip=4)
    macro_set = mine_ngrams([play("ABAB", frameskip=4)] * 3, settings)
    method = "frequent n-grams: k=1, lengths 2..8, every window counts"
    stated = ", at least 2 times, weights 1 for 1, 3 for 2 demonstrations"
    assert macro_set.provenance.method == method + stated
    plain = mine_ngrams([play("AB")] * 2, ExtractionSettings(1, weights=(1, 1)))
    assert plain.provenance.method == method


def test_too_few_often_enough_are_refused_with_their_number():
    with pytest.raises(
        InvalidMacroError, match=r"k is 2, .* hold at least 2 times only 1 distinct"
    ):
        mined(["ABCAB"], k=2, min_count=2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_count": 0}, "min_count is 0; it must be at least 1"),
        ({"weights": (2, 0)}, r"weights\[1\] is 0; weights are whole numbers from 1 on"),
        ({"weights": (0.5,)}, r"weights\[0\] is 0\.5; weights are whole numbers"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(InvalidMacroError, match=message):
        ExtractionSettings(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weights": (1, 2, 3)}, "3 weights for 2 demonstrations"),
        ({"frameskip": 3}, "frameskip is 4, but 3 was asked for"),
    ],
)
def test_settings_that_do_not_fit_the_play_are_refused(settings, message):
    with pytest.raises(DemonstrationError, match=message):
        mine_ngrams([play("AB", frameskip=4)] * 2, ExtractionSettings(1, **settings))


def test_play_of_unknown_frameskip_is_not_taken_for_the_one_asked_for():
    with pytest.raises(DemonstrationError, match=r"frameskip is 0 \(unknown\), but 4 was asked"):
        mine_ngrams([play("AB")], ExtractionSettings(1, frameskip=4))
