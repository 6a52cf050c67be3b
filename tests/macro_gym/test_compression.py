"""The selector by compression gain, against trying every candidate at every step."""

from functools import cache

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from macro_gym import MacroSet
from macro_gym.demonstrations import Demonstration
from macro_gym.errors import InvalidMacroError
from macro_gym.extraction import ExtractionSettings, compress, mine_compressing, mine_ngrams

LETTERS = "ABCDE"

texts = st.lists(st.text(alphabet="ABC", max_size=31), min_size=1, max_size=4)
words = st.lists(st.text(alphabet="ABC", min_size=1, max_size=6), min_size=1, unique=True)


def indexed(word):
    return tuple(LETTERS.index(letter) for letter in word)


def plays(texts):
    return [Demonstration(tuple(LETTERS), np.array(indexed(t), dtype=np.uint8)) for t in texts]


def spelled(macro_set):
    """Macros as words, with their counts."""
    letters = ["".join(LETTERS[primitive] for primitive in macro) for macro in macro_set.macros]
    return list(zip(letters, macro_set.counts, strict=True))


@cache
def edits(one, other):
    """The edit distance by its recursive definition."""
    if not one or not other:
        return len(one) + len(other)
    return min(
        edits(one[1:], other) + 1,
        edits(one, other[1:]) + 1,
        edits(one[1:], other[1:]) + (one[0] != other[0]),
    )


def selected(words, texts, weights, near, min_count=1, effect=lambda word: word):
    """The naive reference: at every step try every candidate by replacing it in every text."""
    chosen, left = {}, list(texts)

    def uses(word):  # str.count and str.replace go from left to right, without overlap
        return sum(t.count(word) * weight for t, weight in zip(left, weights, strict=True))

    def differs(word):
        far = all(edits(word, old) > near * max(len(word), len(old)) for old in chosen)
        return far and effect(word) not in map(effect, chosen)

    while True:
        useful = [word for word in words if len(word) > 1 and uses(word) >= min_count]
        useful = [word for word in useful if differs(word)]
        if useful:
            best = min(useful, key=lambda word: (-uses(word) * (len(word) - 1), -len(word), word))
            chosen[best] = uses(best)
            left = [text.replace(best, "-") for text in left]
        elif left != texts:
            left = list(texts)
        else:
            return list(chosen.items())


@settings(deadline=None)
@given(texts, words, st.sampled_from([0, 0.25, 0.34, 0.5, 1]), st.data())
def test_choices_and_counts_are_those_of_trying_everything(texts, words, near, data):
    weights = tuple(data.draw(st.integers(1, 3)) for _ in texts)
    min_count = data.draw(st.integers(1, 4))
    expected = selected(words, texts, weights, near, min_count)
    k = data.draw(st.integers(0, len(expected)))
    settings = ExtractionSettings(k, min_length=1, min_count=min_count, weights=weights)
    candidates = MacroSet(tuple(LETTERS), tuple(map(indexed, words)))
    assert spelled(compress(candidates, plays(texts), settings, near)) == expected[:k]
    settings = ExtractionSettings(
        len(expected) + 1, min_length=1, min_count=min_count, weights=weights
    )
    with pytest.raises(InvalidMacroError, match=rf"only {len(expected)} of {len(words)} cand"):
        compress(candidates, plays(texts), settings, near)


@settings(deadline=None)
@given(texts)
def test_macros_of_play_are_those_of_trying_every_ngram(texts):
    steps = sum(map(len, texts))
    ngrams = {text[i : i + n] for text in texts for i in range(steps) for n in range(2, 9)}
    ngrams = {word for word in ngrams if len(word) > 1}
    expected = selected(ngrams, texts, [1] * len(texts), 1 / 8)
    k = len(expected)
    assume(8 * k >= len(ngrams))
    assert spelled(mine_compressing(plays(texts), ExtractionSettings(k))) == expected


def test_gains_add_up_to_the_decisions_saved():
    rng = np.random.default_rng(3)
    text = "".join(np.repeat(rng.choice(list(LETTERS), 211), rng.geometric(0.2, 211)))
    macros = spelled(mine_compressing(plays([text]), ExtractionSettings(7)))
    decisions = text
    for word, _ in macros:
        decisions = decisions.replace(word, "-")
    assert sum(count * (len(word) - 1) for word, count in macros) == len(text) - len(decisions)


@settings(deadline=None)
@given(texts, st.sampled_from([0.2, 0.5]))
def test_no_two_macros_are_near_duplicates(texts, near):
    ngrams = mine_ngrams(plays([*texts, "ABCABC"]), ExtractionSettings(9))
    try:
        chosen = compress(ngrams, plays(texts), ExtractionSettings(2), near)
    except InvalidMacroError:
        return
    (one, _), (other, _) = spelled(chosen)
    assert edits(one, other) > near * max(len(one), len(other))


def test_of_macros_with_the_same_effect_only_the_best_is_chosen():
    texts, words = ["AABAABCACABBA", "CCBBCACABBB"], ["AAB", "CAC", "ABB", "BB", "CA", "BAA"]
    candidates = MacroSet(tuple(LETTERS), tuple(map(indexed, words)))
    expected = selected(words, texts, [1, 1], 0, effect=sorted)
    assert len(expected) < len(selected(words, texts, [1, 1], 0))
    settings = ExtractionSettings(len(expected))
    chosen = compress(candidates, plays(texts), settings, 0, effect=lambda m: tuple(sorted(m)))
    assert spelled(chosen) == expected


def test_candidates_are_matched_by_action_name_and_length():
    candidates = MacroSet(("B", "A"), ((0, 1), (1, 1, 1), (1, 0)))
    settings = ExtractionSettings(2, max_length=2)
    assert spelled(compress(candidates, plays(["ABBAAA"]), settings)) == [("AB", 1), ("BA", 1)]


def test_batches_do_not_change_the_choice(monkeypatch):
    rng = np.random.default_rng(7)
    texts = ["".join(rng.choice(list("AB"), size)) for size in (11, 0, 3, 29, 2, 17)]
    settings = ExtractionSettings(11, weights=(1, 1, 3, 3, 1, 1))
    whole = spelled(mine_compressing(plays(texts), settings))
    monkeypatch.setattr("macro_gym.extraction.compression.BATCH", 13)
    assert spelled(mine_compressing(plays(texts), settings)) == whole


def test_a_share_out_of_range_is_refused():
    with pytest.raises(InvalidMacroError, match=r"near is 1\.5; it is a share"):
        compress(MacroSet(("A",)), plays(["AA"]), ExtractionSettings(0, primitives=("A",)), 1.5)


def test_provenance_says_how():
    chosen = mine_compressing(plays(["ABABAB"]), ExtractionSettings(1))
    assert chosen.provenance.method == (
        "compression gain among 8 candidates (frequent n-grams): k=1, lengths 2..8, near=0.125"
    )
