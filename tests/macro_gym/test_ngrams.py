"""Frequent n-grams, against counting tuples one by one."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from macro_gym.demonstrations import Demonstration
from macro_gym.errors import DemonstrationError, InvalidMacroError, RemapError
from macro_gym.extraction import frequent_ngrams

LETTERS = "ABCDE"


def play(text, primitives=LETTERS, **about):
    actions = np.array([primitives.index(letter) for letter in text], dtype=np.uint8)
    return Demonstration(tuple(primitives), actions, **about)


def mined(texts, k, **options):
    """Macros as words, with their counts."""
    macro_set = frequent_ngrams([play(text) for text in texts], k, **options)
    words = ["".join(LETTERS[primitive] for primitive in macro) for macro in macro_set.macros]
    return list(zip(words, macro_set.counts, strict=True))


def counted(texts, shortest, longest):
    """The naive reference: every window of every text, best first."""
    windows = Counter(
        text[start : start + length]
        for text in texts
        for length in range(shortest, longest + 1)
        for start in range(len(text) - length + 1)
    )
    return sorted(windows.items(), key=lambda item: (-item[1], -len(item[0]), item[0]))


texts = st.lists(st.text(alphabet=LETTERS, max_size=23), min_size=1, max_size=5)


@given(texts, st.integers(1, 3), st.integers(0, 4))
def test_ngrams_are_those_of_counting_windows_one_by_one(texts, shortest, more):
    expected = counted(texts, shortest, shortest + more)
    assert mined(texts, len(expected), min_length=shortest, max_length=shortest + more) == expected


@given(texts, st.randoms(use_true_random=False))
def test_the_order_of_demonstrations_does_not_matter(texts, random):
    k = len(counted(texts, 2, 8)) // 2
    shuffled = random.sample(texts, len(texts))
    assert mined(shuffled, k) == mined(texts, k)


@given(texts, st.integers(0, 11))
def test_fewer_macros_are_the_first_of_more(texts, k):
    everything = mined(texts, len(counted(texts, 2, 8)))
    k = min(k, len(everything))
    assert mined(texts, k) == everything[:k]


def test_a_run_of_n_holds_every_window_of_it():
    assert mined(["AAAAA"], 4, max_length=5) == [("AA", 4), ("AAA", 3), ("AAAA", 2), ("AAAAA", 1)]


def test_overlapping_occurrences_count():
    assert mined(["ABABA"], 3, max_length=3) == [("ABA", 2), ("AB", 2), ("BA", 2)]


def test_no_window_spans_two_demonstrations():
    words = dict(mined(["AB", "CD"], 2))
    assert words == {"AB": 1, "CD": 1}


def test_ties_go_to_the_longer_and_then_to_the_earlier_primitive():
    assert [word for word, _ in mined(["CDE", "BA"], 4)] == ["CDE", "BA", "CD", "DE"]


def test_ties_do_not_compare_codes_of_different_lengths():
    # As numbers, AAB = 1 < BA = 5 in base 5; the longer still comes first.
    assert [word for word, _ in mined(["AAB", "BA"], 4)] == ["AAB", "AA", "AB", "BA"]


def test_demonstrations_are_matched_by_action_name():
    first, second = play("AAB", "ABE"), play("EAAB", "EBA")
    macro_set = frequent_ngrams([first, second], 3, max_length=2)
    assert macro_set.primitives == ("A", "B", "E")
    assert dict(zip(macro_set.macros, macro_set.counts, strict=True)) == {
        (0, 0): 2,
        (0, 1): 2,
        (2, 0): 1,
    }


def test_given_primitives_index_the_set():
    macro_set = frequent_ngrams([play("AB")], 1, primitives=("X", "B", "A"))
    assert macro_set.primitives == ("X", "B", "A")
    assert macro_set.macros == ((2, 1),)


def test_an_action_that_the_primitives_lack_is_refused_only_if_used():
    unused = play("AB", "ABC")
    assert frequent_ngrams([unused], 1, primitives=("A", "B")).macros == ((0, 1),)
    with pytest.raises(RemapError, match="uses C, but the primitives are A, B"):
        frequent_ngrams([play("ABC", "ABC")], 1, primitives=("A", "B"))


def test_provenance_says_what_was_mined_and_how():
    rewards = np.array([1, 2], dtype=np.float32)
    about = {"game": "Pong", "frameskip": 4, "source": "a person"}
    macro_set = frequent_ngrams(
        [play("AB", rewards=rewards, **about), play("CDE", **about)], 3, max_length=3
    )
    provenance = macro_set.provenance
    assert (provenance.game, provenance.frameskip, provenance.source) == ("Pong", 4, "a person")
    assert (provenance.steps, provenance.scores) == (5, (3.0,))
    assert provenance.method == "frequent n-grams: k=3, lengths 2..3, every window counts"
    assert provenance.version[0].isdigit()


def test_play_of_other_frameskip_is_refused():
    with pytest.raises(DemonstrationError, match="frameskips differ: 3, 4"):
        frequent_ngrams([play("AB", frameskip=4), play("AB", frameskip=3)], 1)


def test_no_play_is_refused():
    with pytest.raises(DemonstrationError, match="no demonstrations to mine"):
        frequent_ngrams([], 1)


@pytest.mark.parametrize("texts", [["AB", "A", "ABC"], [""], ["A"]])
def test_more_macros_than_there_are_is_refused_with_their_number(texts):
    n = len(counted(texts, 2, 8))
    steps = sum(map(len, texts))
    with pytest.raises(
        InvalidMacroError, match=rf"k is {n + 1}.*{steps} steps.*only {n} distinct.*2\.\.8"
    ):
        mined(texts, n + 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": -1}, "k is -1; it must be at least 0"),
        ({"min_length": 0}, r"lengths 0\.\.8 are no range"),
        ({"min_length": 5, "max_length": 4}, r"lengths 5\.\.4 are no range"),
        ({"max_length": 40}, "max_length is 40, but with 5 primitives .* than 27 do not fit"),
    ],
)
def test_counts_and_lengths_out_of_range_are_refused(options, message):
    with pytest.raises(InvalidMacroError, match=message):
        frequent_ngrams([play("ABCABC")], **({"k": 1} | options))


@pytest.mark.parametrize(("letters", "longest"), [("AB", 62), ("ABCDE", 27)])
def test_the_longest_countable_length_counts_exactly(letters, longest):
    text = (letters[::-1] * 67)[: longest + 11]
    demonstrations = [play(text, letters)]
    lengths = {"min_length": longest - 1, "max_length": longest}
    macro_set = frequent_ngrams(demonstrations, 4, **lengths)
    words = ["".join(letters[primitive] for primitive in macro) for macro in macro_set.macros]
    expected = counted([text], longest - 1, longest)[: len(words)]
    assert list(zip(words, macro_set.counts, strict=True)) == expected
    with pytest.raises(InvalidMacroError, match=rf"max_length is {longest + 1}.* than {longest} "):
        frequent_ngrams(demonstrations, 1, max_length=longest + 1)
