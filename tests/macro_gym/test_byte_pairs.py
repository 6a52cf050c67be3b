"""Byte-pair merges, against recounting every pair at every step, and against tokenizers."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, trainers

from macro_gym.demonstrations import Demonstration
from macro_gym.errors import InvalidMacroError
from macro_gym.extraction import ExtractionSettings, mine_byte_pairs

LETTERS = "ABCDE"

texts = st.lists(st.text(alphabet="ABC", max_size=31), min_size=1, max_size=5)


def play(text):
    actions = np.array([LETTERS.index(letter) for letter in text], dtype=np.uint8)
    return Demonstration(tuple(LETTERS), actions)


def mined(texts, k, **settings):
    """Macros as words, with their counts, in order."""
    settings = ExtractionSettings(k, **settings)
    macro_set = mine_byte_pairs([play(text) for text in texts], settings)
    words = ["".join(LETTERS[primitive] for primitive in macro) for macro in macro_set.macros]
    return list(zip(words, macro_set.counts, strict=True))


def merged(texts, max_length=8, min_length=2, min_count=1, weights=None):
    """The naive reference: recount all, join the most frequent, until there is nothing to join."""
    weights = weights or [1] * len(texts)
    sequences = [list(text) for text in texts]
    age = {letter: place for place, letter in enumerate(LETTERS)}
    found = {}
    while True:
        pairs = Counter()
        for sequence, weight in zip(sequences, weights, strict=True):
            for pair in pairwise(sequence):
                if len("".join(pair)) <= max_length:
                    pairs[pair] += weight
        if not pairs or max(pairs.values()) < min_count:
            return [(word, count) for word, count in found.items() if len(word) >= min_length]
        pair = min(pairs, key=lambda pair: (-pairs[pair], age[pair[0]], age[pair[1]]))
        word = "".join(pair)
        age.setdefault(word, len(age))
        found.setdefault(word, pairs[pair])
        for sequence in sequences:
            place = 0
            while place < len(sequence) - 1:
                if (sequence[place], sequence[place + 1]) == pair:
                    sequence[place : place + 2] = [word]
                place += 1


def tokenized(texts, **settings):
    """Tokens of two letters and more that the tokenizers library makes, in order."""
    tokenizer = Tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=10**6, initial_alphabet=list(LETTERS), show_progress=False, **settings
    )
    tokenizer.train_from_iterator(texts, trainer)
    vocabulary = tokenizer.get_vocab()
    return [word for word in sorted(vocabulary, key=vocabulary.get) if len(word) > 1]


@settings(deadline=None)
@given(texts, st.data())
def test_merges_are_greedy_with_the_oldest_tokens_first_among_ties(texts, data):
    weights = tuple(data.draw(st.integers(1, 5)) for _ in texts)
    low = data.draw(st.integers(1, 3))
    limits = {"max_length": low + data.draw(st.integers(0, 9)), "min_length": low}
    limits |= {"min_count": data.draw(st.integers(1, 5)), "weights": weights}
    expected = merged(texts, **limits)
    k = data.draw(st.integers(0, len(expected)))
    assert mined(texts, k, **limits) == expected[:k]


@settings(deadline=None)
@given(texts)
def test_tokens_are_those_of_the_tokenizers_library(texts):
    expected = tokenized(texts, min_frequency=1)
    assert [word for word, _ in mined(texts, len(expected), max_length=31)] == expected


@pytest.mark.parametrize("max_length", [4, 8, 61])
def test_tokens_of_long_play_are_those_of_the_tokenizers_library(max_length):
    rng = np.random.default_rng(11)
    texts = [
        "".join(np.repeat(rng.choice(list(LETTERS), 211), rng.geometric(0.2, 211)))
        for _ in range(7)
    ]
    # Its ceiling is the first length that is refused.
    expected = tokenized(texts, min_frequency=2, max_token_length=max_length + 1)
    words = [word for word, _ in mined(texts, len(expected), max_length=max_length, min_count=2)]
    assert words == expected
    assert len(words) > 50


def test_a_held_action_doubles_and_the_rest_is_joined_after():
    # A8: AA counts 7 of A's neighbours, AAAA 3 of AA's.
    assert mined(["A" * 8], 3) == [("AA", 7), ("AAAA", 3), ("A" * 8, 1)]


def test_pairs_that_spell_the_same_become_one_macro():
    words = [word for word, _ in merged(["ABABCBC", "ABC", "CABBC"])]
    assert [word for word, _ in mined(["ABABCBC", "ABC", "CABBC"], len(words))] == words
    assert len(set(words)) == len(words)


def test_more_macros_than_merges_are_refused_with_their_number():
    with pytest.raises(InvalidMacroError, match=r"k is 4, but the 8 steps .* only 3 distinct"):
        mined(["A" * 8], 4)


def test_provenance_says_how():
    macro_set = mine_byte_pairs([play("ABAB")], ExtractionSettings(1, min_count=2))
    method = "byte-pair merges: k=1, lengths 2..8, in order of creation, at least 2 times"
    assert macro_set.provenance.method == method


def test_batches_do_not_change_the_merges(monkeypatch):
    rng = np.random.default_rng(7)
    texts = ["".join(rng.choice(list("AB"), size)) for size in (11, 0, 3, 29, 2, 17)]
    expected = merged(texts, weights=(1, 1, 3, 3, 1, 1))
    monkeypatch.setattr("macro_gym.extraction.byte_pairs.BATCH", 13)
    assert mined(texts, len(expected), weights=(1, 1, 3, 3, 1, 1)) == expected
