"""Button combinations: named one way, never impossible, in the order of stable-retro."""

import numpy as np
import pytest
import stable_retro

from macro_gym.buttons import (
    allowed_combinations,
    button_row,
    combination,
    held_together,
    joint,
    normal_name,
)
from macro_gym.errors import EnvironmentSettingError
from macro_gym.retro_games import integration, retro_games

GENESIS = ("B", "A", "MODE", "START", "UP", "DOWN", "LEFT", "RIGHT", "C", "Y", "X", "Z")


def test_a_combination_has_one_name_and_the_name_one_row():
    rng = np.random.default_rng(0)
    for _ in range(200):
        held = list(rng.choice(GENESIS, size=rng.integers(5), replace=False))
        if {"UP", "DOWN"} <= set(held) or {"LEFT", "RIGHT"} <= set(held):
            continue
        name = normal_name("+".join(held) or "NOOP", GENESIS)
        assert normal_name(name, GENESIS) == name
        assert held_together(name, GENESIS) == set(held)
        row = button_row(name, GENESIS)
        assert [button for button, one in zip(GENESIS, row, strict=True) if one] == [
            button for button in GENESIS if button in held
        ]


def test_directions_come_first_in_a_name():
    assert combination(["C", "RIGHT", "B", "DOWN"]) == "DOWN+RIGHT+C+B"
    assert normal_name("C+RIGHT+B+DOWN", GENESIS) == "DOWN+RIGHT+B+C"


@pytest.mark.parametrize("name", ["UP+DOWN", "A+LEFT+RIGHT", "DOWN+LEFT+UP"])
def test_opposite_directions_are_refused(name):
    with pytest.raises(EnvironmentSettingError, match="opposite directions"):
        button_row(name, GENESIS)


@pytest.mark.parametrize("name", ["FIRE", "LEFT+L", "", "left"])
def test_what_is_no_button_of_the_console_is_refused(name):
    with pytest.raises(EnvironmentSettingError, match="the console's buttons are B, A, MODE"):
        button_row(name, GENESIS)


def test_allowed_combinations_are_the_products_of_the_groups():
    groups = [[[], ["DOWN"], ["UP"]], [[], ["RIGHT"], ["LEFT"]], [[], ["A", "B"], ["B"], ["B"]]]
    names = allowed_combinations(groups, GENESIS)
    assert len(names) == len(set(names)) == 3 * 3 * 3
    assert names[:4] == ("NOOP", "UP", "DOWN", "LEFT")
    assert names[-1] == "DOWN+RIGHT+B+A"


def test_allowed_combinations_leave_out_what_no_pad_can_do():
    groups = [[[], ["UP"], ["DOWN"], ["UP", "DOWN"]], [[], ["B"]]]
    assert allowed_combinations(groups, GENESIS) == (
        *("NOOP", "UP", "DOWN"),
        *("B", "UP+B", "DOWN+B"),
    )


def test_no_game_of_stable_retro_allows_an_impossible_pair():
    for game in retro_games():
        names = integration(game).combinations()
        assert len(names) > 1, game
        assert not any({"UP", "DOWN"} <= {*name.split("+")} for name in names), game
        assert not any({"LEFT", "RIGHT"} <= {*name.split("+")} for name in names), game


def test_primitives_are_numbered_as_the_discrete_actions_of_retro_env():
    for players in (1, 2):
        env = stable_retro.RetroEnv(
            "Airstriker-Genesis-v0",
            use_restricted_actions=stable_retro.Actions.DISCRETE,
            players=players,
            render_mode="rgb_array",
        )
        names = joint(integration("Airstriker-Genesis-v0").combinations(), players)
        assert env.action_space.n == len(names) == 126**players
        for action in range(0, len(names), 1 if players == 1 else 97):
            rows = [button_row(name, GENESIS) for name in names[action].split("|")]
            np.testing.assert_array_equal(env.action_to_array(action), rows)
        env.close()
