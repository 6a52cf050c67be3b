"""Sequitur's laws, and macros from its rules against writing the grammar out."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from macro_gym.demonstrations import Demonstration
from macro_gym.errors import InvalidMacroError
from macro_gym.extraction import ExtractionSettings, mine_grammar
from macro_gym.extraction.sequitur import sequitur

LETTERS = "ABCDE"

texts = st.lists(
    st.one_of(st.text(alphabet="AB", max_size=61), st.text(alphabet="ABC", max_size=61)),
    min_size=1,
    max_size=3,
)


def indexed(texts):
    return [[LETTERS.index(letter) for letter in text] for text in texts]


def play(text):
    return Demonstration(tuple(LETTERS), np.array(indexed([text])[0], dtype=np.uint8))


def mined(texts, k, **settings):
    macro_set = mine_grammar([play(text) for text in texts], ExtractionSettings(k, **settings))
    words = ["".join(LETTERS[primitive] for primitive in macro) for macro in macro_set.macros]
    return list(zip(words, macro_set.counts, strict=True))


def bodies(grammar):
    return [*grammar.sequences, *grammar.rules.values()]


def disjoint_pairs(body):
    """The pairs of a body, of which those that overlap the same pair before are left out."""
    last = None
    for place, pair in enumerate(pairwise(body)):
        if last != (place - 1, pair):
            last = (place, pair)
            yield pair


def written_out(grammar, weights):
    """How often each sequence that a rule stands for is written, by plain recursion."""
    written = Counter()

    def write(symbol, weight):
        if symbol >= 0:
            return LETTERS[symbol]
        word = "".join(write(part, weight) for part in grammar.rules[symbol])
        written[word] += weight
        return word

    for sequence, weight in zip(grammar.sequences, weights, strict=True):
        for symbol in sequence:
            write(symbol, weight)
    return written


@settings(deadline=None)
@given(texts)
def test_a_grammar_writes_out_what_it_has_read(texts):
    grammar = sequitur(indexed(texts))
    assert [list(grammar.expand(sequence)) for sequence in grammar.sequences] == indexed(texts)


@settings(deadline=None)
@given(texts)
@example(["CAAACABAA"])  # the first AA goes, and the one that overlapped it must take over
def test_no_pair_stands_in_two_places_that_do_not_overlap(texts):
    pairs = Counter(
        pair for body in bodies(sequitur(indexed(texts))) for pair in disjoint_pairs(body)
    )
    assert set(pairs.values()) <= {1}


@settings(deadline=None)
@given(texts)
def test_each_rule_is_used_twice_and_stands_for_two_symbols_or_more(texts):
    grammar = sequitur(indexed(texts))
    uses = Counter(symbol for body in bodies(grammar) for symbol in body if symbol < 0)
    assert uses.keys() == grammar.rules.keys()
    assert min(uses.values(), default=2) >= 2
    assert min(map(len, grammar.rules.values()), default=2) >= 2


def test_long_play_keeps_the_laws():
    rng = np.random.default_rng(5)
    play = [np.repeat(rng.integers(5, size=997), rng.geometric(0.2, 997)).tolist() for _ in "123"]
    grammar = sequitur(play)
    assert [list(grammar.expand(sequence)) for sequence in grammar.sequences] == play
    pairs = Counter(pair for body in bodies(grammar) for pair in disjoint_pairs(body))
    assert set(pairs.values()) == {1}
    uses = Counter(symbol for body in bodies(grammar) for symbol in body if symbol < 0)
    assert min(uses.values()) == 2


@pytest.mark.parametrize(
    ("text", "sequence", "rules"),
    [
        ("ABCDBC", (0, -1, 3, -1), {-1: (1, 2)}),
        ("ABCDBCABCDBC", (-4, -4), {-1: (1, 2), -4: (0, -1, 3, -1)}),
        ("AAAAAAAA", (-2, -2), {-1: (0, 0), -2: (-1, -1)}),
    ],
)
def test_small_grammars_are_those_made_by_hand(text, sequence, rules):
    grammar = sequitur(indexed([text]))
    assert (grammar.sequences, grammar.rules) == ((sequence,), rules)


@settings(deadline=None)
@given(texts, st.data())
def test_macros_are_the_rules_by_uses_in_the_text_written_out(texts, data):
    weights = tuple(data.draw(st.integers(1, 4)) for _ in texts)
    low = data.draw(st.integers(2, 4))
    limits = {"min_length": low, "max_length": low + 3, "min_count": data.draw(st.integers(1, 5))}
    expected = sorted(
        (
            (word, count)
            for word, count in written_out(sequitur(indexed(texts)), weights).items()
            if low <= len(word) <= low + 3 and count >= limits["min_count"]
        ),
        key=lambda item: (-item[1], -len(item[0]), item[0]),
    )
    k = data.draw(st.integers(0, len(expected)))
    assert mined(texts, k, weights=weights, **limits) == expected[:k]


def test_more_macros_than_rules_are_refused_with_their_number():
    with pytest.raises(InvalidMacroError, match=r"k is 2, but the 6 steps .* only 1 distinct"):
        mined(["ABCDBC"], 2)


def test_provenance_says_how():
    macro_set = mine_grammar([play("ABAB")], ExtractionSettings(1))
    assert macro_set.provenance.method == "Sequitur's rules: k=1, lengths 2..8, by uses"
