"""MacroSet: what it means, what it refuses, and what survives a file."""

import dataclasses
import itertools
import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from macro_gym.errors import (
    ActionSpaceError,
    ArgumentTypeError,
    InvalidMacroError,
    MacroGymError,
    MacroSetFileError,
    RemapError,
)
from macro_gym.macro_set import ROWS_AT_ONCE, MacroSet, Provenance

FULL = (
    *("NOOP", "FIRE", "UP", "RIGHT", "LEFT", "DOWN", "UPRIGHT", "UPLEFT", "DOWNRIGHT"),
    *("DOWNLEFT", "UPFIRE", "RIGHTFIRE", "LEFTFIRE", "DOWNFIRE", "UPRIGHTFIRE", "UPLEFTFIRE"),
    *("DOWNRIGHTFIRE", "DOWNLEFTFIRE"),
)
BREAKOUT = ("NOOP", "FIRE", "RIGHT", "LEFT")


class Compared(str):
    """A name that counts the comparisons with others."""

    comparisons = 0
    __hash__ = str.__hash__

    def __eq__(self, other):
        Compared.comparisons += 1
        return str.__eq__(self, other)


@st.composite
def macro_sets(draw):
    primitives = draw(st.lists(st.text(max_size=5), min_size=1, max_size=7, unique=True))
    macro = st.lists(st.integers(0, len(primitives) - 1), min_size=1, max_size=6).map(tuple)
    macros = draw(st.lists(macro, max_size=11, unique=True))
    counts = draw(st.lists(st.integers(0, 10**9), min_size=len(macros), max_size=len(macros)))
    provenance = Provenance(
        source=draw(st.text(max_size=20)),
        frameskip=draw(st.integers(0, 5)),
        scores=draw(st.lists(st.floats(allow_nan=False), max_size=3)),
    )
    return MacroSet(tuple(primitives), tuple(macros), tuple(counts), provenance)


def test_actions_are_the_primitives_then_the_macros_in_order():
    macros = MacroSet(BREAKOUT, ((3, 3, 3), (1,), (2, 0, 3)), (5, 4, 2))
    assert macros.n_actions == 7
    assert macros.max_length == 3
    assert [macros.expand(action) for action in range(7)] == [
        *((0,), (1,), (2,), (3,)),
        *((3, 3, 3), (1,), (2, 0, 3)),
    ]
    assert macros.names == (*BREAKOUT, "LEFT×3", "FIRE", "RIGHT,NOOP,LEFT")


@pytest.mark.parametrize("kind", [int, np.uint8, np.int64, np.array, lambda n: np.array([n])])
def test_actions_are_integers_of_any_kind(kind):
    macros = MacroSet(BREAKOUT, ((3, 3, 3), (2, 0)))
    assert [macros.expand(kind(action)) for action in (2, 5)] == [(2,), (2, 0)]


@pytest.mark.parametrize("action", [0.5, -0.9, 1.0, np.float32(1.9), np.array([1.9]), "1", None])
def test_actions_are_not_rounded(action):
    with pytest.raises(ArgumentTypeError, match=r"action is .*; it must be an integer"):
        MacroSet(BREAKOUT, ((3, 3, 3),)).expand(action)


def test_a_set_without_macros_has_actions_of_length_one():
    assert MacroSet(BREAKOUT).max_length == 1
    assert MacroSet(BREAKOUT).names == BREAKOUT


def test_sequences_of_any_kind_become_tuples_of_ints_and_sets_are_hashable_values():
    arrays = MacroSet(list(BREAKOUT), [np.array([1, 2]), [3]], [np.int64(7), 1])
    tuples = MacroSet(BREAKOUT, ((1, 2), (3,)), (7, 1))
    assert arrays == tuples
    assert len({arrays, tuples}) == 1
    with pytest.raises(dataclasses.FrozenInstanceError, match="macros"):
        tuples.macros = ()


@pytest.mark.parametrize("action", [-1, 5, 100])
def test_actions_that_do_not_exist_are_refused(action):
    with pytest.raises(ActionSpaceError, match=rf"action is {action}, .* actions 0\.\.4"):
        MacroSet(BREAKOUT, ((1, 1),)).expand(action)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((), ()), "primitives is empty"),
        (("LEFT",), "primitives must be a sequence of names, not 'LEFT'"),
        (((1, 2),), "primitives must be a sequence of names"),
        ((("UP", "DOWN", "UP"),), "primitives repeats UP"),
        ((BREAKOUT, ((1, 2), ())), r"macros\[1\] is empty"),
        ((BREAKOUT, ((1, 2), (3, 4))), r"macros\[1\]\[1\] is 4, but the actions are 0..3"),
        ((BREAKOUT, ((-1,),)), r"macros\[0\]\[0\] is -1"),
        ((BREAKOUT, ((1.0,),)), r"macros\[0\]\[0\] is 1.0, not an index"),
        ((BREAKOUT, ((True,),)), r"macros\[0\]\[0\] is True, not an index"),
        ((BREAKOUT, ((1, 2), (3,), (1, 2))), r"macros\[2\] repeats macros\[0\]: \(1, 2\)"),
        ((BREAKOUT, ((1, 2), (3,)), (4,)), "1 counts for 2 macros"),
        ((BREAKOUT, ((1, 2), (3,)), (4, -2)), r"counts\[1\] is -2: negative"),
    ],
)
def test_what_is_not_a_set_of_actions_is_refused(arguments, message):
    with pytest.raises(InvalidMacroError, match=message) as caught:
        MacroSet(*arguments)
    assert isinstance(caught.value, MacroGymError)
    assert isinstance(caught.value, ValueError)


def test_no_name_is_compared_with_all_others():
    Compared.comparisons = 0
    MacroSet([Compared(n) for n in range(97)])
    assert Compared.comparisons < 97


# Files


@given(macro_sets())
def test_loading_what_was_saved_gives_the_same_set(tmp_path_factory, macros):
    path = tmp_path_factory.mktemp("sets") / "set.json"
    macros.save(path)
    loaded = MacroSet.load(path)
    assert loaded == macros
    assert loaded.hash == macros.hash


def test_the_hash_depends_on_what_actions_mean_and_on_nothing_else():
    macros = MacroSet(BREAKOUT, ((1, 2), (3,)), (9, 8), Provenance("play", scores=(1.5,)))
    same = dataclasses.replace(macros, counts=(1, 1), provenance=Provenance())
    assert macros.hash == same.hash
    others = [
        dataclasses.replace(macros, macros=((3,), (1, 2))),
        dataclasses.replace(macros, macros=((1,), (2, 3))),
        dataclasses.replace(macros, primitives=("NOOP", "FIRE", "LEFT", "RIGHT")),
        macros.top(1),
    ]
    assert len({macros.hash, *(other.hash for other in others)}) == 5


def saved(tmp_path):
    path = tmp_path / "set.json"
    MacroSet(BREAKOUT, ((1, 2), (3, 3)), (7, 5), Provenance("play", game="Breakout")).save(path)
    return path


@pytest.mark.parametrize(
    ("old", "new"),
    [("[3, 3]", "[3, 2]"), ("[7, 5]", "[7, 6]"), ('"FIRE"', '"UP"'), ('"play"', '"replay"')],
)
def test_an_edited_file_is_refused(tmp_path, old, new):
    path = saved(tmp_path)
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    with pytest.raises(MacroSetFileError, match="does not have the hash that the file states"):
        MacroSet.load(path)


def test_a_file_cut_short_anywhere_is_refused(tmp_path):
    path = saved(tmp_path)
    content = path.read_bytes().rstrip()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(MacroSetFileError, match=r"set\.json is not a whole JSON file"):
            MacroSet.load(path)


def test_a_file_without_its_hash_is_refused(tmp_path):
    path = saved(tmp_path)
    content = json.loads(path.read_text())
    del content["sha256"]
    path.write_text(json.dumps(content))
    with pytest.raises(MacroSetFileError, match="does not have the hash"):
        MacroSet.load(path)


def test_a_file_of_another_schema_is_refused(tmp_path):
    path = saved(tmp_path)
    path.write_text(path.read_text().replace('"schema": 1', '"schema": 2'))
    with pytest.raises(MacroSetFileError, match="schema version 2; this macro-gym reads 1"):
        MacroSet.load(path)


@pytest.mark.parametrize("text", ["[1, 2]", "{}", '"macros"', "3"])
def test_json_that_is_no_macro_set_is_refused(tmp_path, text):
    path = tmp_path / "set.json"
    path.write_text(text)
    with pytest.raises(MacroSetFileError, match="not a macro set"):
        MacroSet.load(path)


def test_a_missing_file_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        MacroSet.load(tmp_path / "nowhere.json")


def test_a_save_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = saved(tmp_path)
    before = path.read_bytes()

    def full(source, target):
        raise OSError("no space left on device")

    monkeypatch.setattr("macro_gym.files.os.replace", full)
    with pytest.raises(OSError, match="no space left"):
        MacroSet(BREAKOUT).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_saving_makes_the_folder_and_a_file_that_others_may_read(tmp_path):
    path = tmp_path / "a" / "b" / "set.json"
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    MacroSet(BREAKOUT).save(path)
    assert path.stat().st_mode == ordinary.stat().st_mode


# Other sets


def test_top_keeps_the_first_macros_and_their_counts():
    macros = MacroSet(BREAKOUT, ((3, 3), (1,), (2, 0)), (5, 4, 2), Provenance("play"))
    assert macros.top(2) == MacroSet(BREAKOUT, ((3, 3), (1,)), (5, 4), Provenance("play"))
    assert macros.top(0) == MacroSet(BREAKOUT, provenance=Provenance("play"))
    assert macros.top(3) == macros


@pytest.mark.parametrize(("k", "advice"), [(-1, "$"), (4, ". Mine more play")])
def test_top_refuses_what_the_game_lacks_and_advises_only_who_wants_more(k, advice):
    macros = MacroSet(BREAKOUT, ((3, 3), (1,), (2, 0)), provenance=Provenance(game="Breakout"))
    message = f"k is {k}, but this set has 3 macros of Breakout; k may be 0..3{advice}"
    with pytest.raises(InvalidMacroError, match=message):
        macros.top(k)


@given(st.data())
def test_remapping_keeps_the_meaning_of_every_macro_there_and_back(data):
    used = st.lists(st.sampled_from(FULL), min_size=1, max_size=6).map(tuple)
    meanings = data.draw(st.lists(used, max_size=7, unique=True))
    needed = sorted({name for meaning in meanings for name in meaning} | {"NOOP"})
    minimal = tuple(data.draw(st.permutations(needed)))
    full = MacroSet(FULL, tuple(tuple(map(FULL.index, meaning)) for meaning in meanings))
    small = full.remap(minimal)
    assert small.primitives == minimal
    assert [tuple(minimal[p] for p in macro) for macro in small.macros] == meanings
    assert small.remap(FULL) == full


def test_remapping_that_loses_a_primitive_names_it_and_the_macros_it_hits():
    macros = MacroSet(FULL, ((2, 5), (3, 3), (5,)), provenance=Provenance(game="MsPacman"))
    with pytest.raises(RemapError, match=r"2 of 3 macros of MsPacman need UP, DOWN, but .* LEFT"):
        macros.remap(BREAKOUT)


def test_remapping_may_lose_primitives_that_no_macro_uses():
    assert MacroSet(FULL, ((3, 4, 4),)).remap(BREAKOUT) == MacroSet(BREAKOUT, ((2, 3, 3),))


# Noise


def test_noise_is_new_distinct_and_distributed_in_length_like_the_set():
    rng = np.random.default_rng(7)
    mined = {tuple(rng.integers(18, size=n).tolist()) for n in [3] * 5 + [5] * 31}
    macros = MacroSet(FULL, tuple(sorted(mined)), tuple(range(36)), Provenance("play"))
    noisy = macros.with_noise(401, np.random.default_rng(0))
    assert noisy.macros[:36] == macros.macros
    assert noisy.counts == macros.counts + (0,) * 401
    assert noisy.provenance == macros.provenance
    assert len(set(noisy.macros)) == 36 + 401
    found = Counter(map(len, noisy.macros[36:]))
    assert set(found) == {3, 5}
    share = 5 / 36
    assert abs(found[3] / 401 - share) < 3 * (share * (1 - share) / 401) ** 0.5


def test_lengths_with_few_sequences_get_their_share_of_noise_until_none_is_left():
    # 9 sequences of length 2, of which 6 are free; length 7 is as frequent and has 2184 free.
    macros = MacroSet(("A", "B", "C"), ((0, 0), (1, 1), (2, 2), *((p,) * 7 for p in range(3))))
    first = 0
    for seed in range(500):
        noise = macros.with_noise(41, np.random.default_rng(seed)).macros[6:]
        lengths = [len(macro) for macro in noise]
        assert lengths.count(2) <= 6
        first += lengths[:6].count(2)
    assert abs(first / 3000 - 1 / 2) < 3 * (1 / 4 / 3000) ** 0.5
    everything = macros.with_noise(6 + 2184, np.random.default_rng(0))
    assert Counter(map(len, everything.macros)) == {2: 9, 7: 3**7}


def test_noise_uses_every_primitive_and_follows_the_generator():
    macros = MacroSet(FULL, ((0,) * 11,))
    first, again, other = (macros.with_noise(53, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert first == again != other
    assert {p for macro in first.macros[1:] for p in macro} == set(range(18))


def test_noise_can_fill_all_the_sequences_that_there_are_but_no_more():
    macros = MacroSet(("A", "B"), ((0, 0, 1),))
    full = macros.with_noise(7, np.random.default_rng(0))
    assert set(full.macros) == set(itertools.product(range(2), repeat=3))
    with pytest.raises(InvalidMacroError, match=r"only 7 of 8 random macros .* lengths 3\.\.3"):
        macros.with_noise(8, np.random.default_rng(0))


def test_noise_needs_macros_to_copy_and_a_number_of_them():
    with pytest.raises(InvalidMacroError, match="copies the lengths of macros, but the set has no"):
        MacroSet(BREAKOUT).with_noise(1, np.random.default_rng(0))
    assert MacroSet(BREAKOUT).with_noise(0, np.random.default_rng(0)) == MacroSet(BREAKOUT)
    with pytest.raises(InvalidMacroError, match="n is -1: negative"):
        MacroSet(BREAKOUT, ((1, 1),)).with_noise(-1, np.random.default_rng(0))


# Overlap


def common_subsequence(a, b):
    if not a or not b:
        return 0
    if a[0] == b[0]:
        return 1 + common_subsequence(a[1:], b[1:])
    return max(common_subsequence(a[1:], b), common_subsequence(a, b[1:]))


@given(macro_sets())
def test_overlap_is_the_share_of_the_longest_common_subsequence(macros):
    actions = [macros.expand(action) for action in range(macros.n_actions)]
    naive = [[2 * common_subsequence(a, b) / (len(a) + len(b)) for b in actions] for a in actions]
    overlap = macros.overlap()
    np.testing.assert_allclose(overlap, naive, rtol=0, atol=0)
    np.testing.assert_array_equal(overlap, overlap.T)
    np.testing.assert_array_equal(np.diag(overlap), 1)
    assert overlap.min() >= 0


def test_rows_of_overlap_are_found_alone_and_over_the_border_of_what_is_found_together():
    longest = tuple(tuple(map(int, f"{number:06b}")) for number in range(43))
    macros = MacroSet(("A", "B"), longest)
    whole = macros.overlap()
    assert len(whole) > ROWS_AT_ONCE
    np.testing.assert_array_equal(whole, whole.T)
    np.testing.assert_array_equal(macros.overlap([41, 2, 37]), whole[[41, 2, 37]])


def test_overlap_by_hand():
    overlap = MacroSet(BREAKOUT, ((3, 3, 3, 3), (2, 3, 0, 3, 2), (1,))).overlap()
    assert overlap[3, 4] == 2 / 5
    assert overlap[4, 5] == 4 / 9
    assert overlap[1, 6] == 1
    assert overlap[0, 4] == 0
