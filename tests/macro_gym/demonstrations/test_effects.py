"""Measured effects: translated play does in the emulator what the play as recorded did."""

import ale_py
import numpy as np
import pytest
from ale_py import Action, roms

from macro_gym.demonstrations.actions import ALE_ACTIONS, atari_actions
from macro_gym.demonstrations.effects import same_effects
from macro_gym.errors import DemonstrationError


def memories(rom, names):
    """The memory after each of ``names``, held for five frames."""
    ale = ale_py.ALEInterface()
    ale.setInt("random_seed", 5)
    ale.setFloat("repeat_action_probability", 0.0)
    ale.loadROM(roms.get_rom_path(rom))
    seen = []
    for name in names:
        for _ in range(5):
            ale.act(Action[name])
        seen.append(ale.getRAM())
    return np.array(seen)


@pytest.mark.parametrize(
    ("rom", "unlike"),
    [
        ("qbert", ""),
        ("enduro", ""),
        ("video_pinball", "DOWNFIRE"),  # Pulls the plunger as no action of the game's set does.
    ],
)
def test_play_with_all_actions_and_its_translation_leave_the_same_memory(rom, unlike):
    rng = np.random.default_rng(11)
    play = [name for name in rng.choice(ALE_ACTIONS, size=211) if name != unlike]
    effects = same_effects(rom)
    translated = [effects[name] for name in play]
    assert translated != play
    np.testing.assert_array_equal(memories(rom, translated), memories(rom, play))


def test_names_alone_would_not_do():
    assert {same_effects("qbert")[name] for name in ALE_ACTIONS[6:10]} == {"NOOP"}
    assert same_effects("enduro")["DOWNFIRE"] == "FIRE"


@pytest.mark.parametrize("rom", ["breakout", "ms_pacman", "montezuma_revenge", "freeway"])
def test_an_action_that_the_game_has_stays_as_it_is(rom):
    names = atari_actions(rom)
    effects = same_effects(rom)
    assert {name: effects[name] for name in names} == {name: name for name in names}
    assert set(effects) == set(ALE_ACTIONS)
    assert set(effects.values()) == set(names)


def test_what_breakout_ignores_is_dropped():
    effects = same_effects("breakout")
    assert effects["UPFIRE"] == effects["DOWNFIRE"] == "FIRE"
    assert effects["UPLEFT"] == "LEFT"
    assert effects["UPRIGHTFIRE"] == "RIGHT"


def test_unknown_games_are_refused():
    with pytest.raises(DemonstrationError, match="the game is 'Brakeout', which is none"):
        same_effects("Brakeout")
