"""Effects of macros, on the real emulator."""

import numpy as np
import pytest

from macro_gym import MacroSet
from macro_gym.demonstrations import Demonstration
from macro_gym.errors import InvalidMacroError, UnknownGameError
from macro_gym.extraction import ExtractionSettings, compress, emulated_effect

QBERT = ("NOOP", "FIRE", "UP", "RIGHT", "LEFT", "DOWN")


@pytest.fixture(scope="module")
def effect():
    return emulated_effect("ALE/Qbert-v5", QBERT)


def test_an_effect_does_not_depend_on_what_ran_before(effect):
    macros = [(2, 2, 2), (4,), (5, 0, 3, 3, 3), (0,) * 7]
    first = [effect(macro) for macro in macros]
    assert [effect(macro) for macro in reversed(macros)] == first[::-1]
    assert [emulated_effect("qbert", QBERT)(macro) for macro in macros] == first


def test_a_button_that_does_nothing_changes_no_effect_and_a_direction_does(effect):
    # Q*bert has no use for FIRE.
    assert effect((2, 1, 1)) == effect((2, 0, 0))
    assert effect((2, 2, 2)) != effect((3, 3, 3))


def test_the_same_steps_for_longer_are_another_effect(effect):
    assert effect((2,) * 3) != effect((2,) * 8)


def test_of_macros_that_do_the_same_only_one_is_chosen(effect):
    actions = np.array([2, 1, 1, 1] * 3 + [2, 0, 0, 0] * 2 + [3, 3, 3, 3], dtype=np.uint8)
    candidates = MacroSet(QBERT, ((2, 1, 1, 1), (2, 0, 0, 0), (3, 3, 3, 3)))
    play = [Demonstration(QBERT, actions, game="Qbert", frameskip=4)]
    all_three = compress(candidates, play, ExtractionSettings(3), near=0)
    assert all_three.macros == candidates.macros
    two = compress(candidates, play, ExtractionSettings(2), near=0, effect=effect)
    assert two.macros == ((2, 1, 1, 1), (3, 3, 3, 3))


def test_names_that_the_emulator_lacks_are_refused():
    with pytest.raises(InvalidMacroError, match="the primitives JUMP are no actions"):
        emulated_effect("qbert", ("NOOP", "JUMP"))
    with pytest.raises(UnknownGameError, match="Sonic"):
        emulated_effect("Sonic", ("NOOP",))


def test_macros_do_the_same_in_airstriker_if_their_buttons_that_matter_are_the_same():
    names = ("NOOP", "LEFT", "RIGHT", "UP+LEFT", "B")  # up and down do nothing in it
    effect = emulated_effect("MacroRetro/Airstriker-Genesis-v0", names, moments=3)
    assert effect((1, 1, 1)) == effect((1, 3, 1)) == effect((3, 3, 3))
    assert len({effect(macro) for macro in [(0, 0, 0), (1, 1, 1), (2, 2, 2), (4, 0, 0)]}) == 4
    assert len(set(effect((0,)))) == 3  # the moments differ
