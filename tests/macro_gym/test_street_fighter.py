"""The handcrafted macros of Street Fighter II, read frame by frame as the game reads its pad."""

from dataclasses import replace

import numpy as np
import pytest

from macro_gym import MacroSet
from macro_gym.banks import handcrafted_names, has_bank, load_bank, load_play
from macro_gym.banks.street_fighter import GAME, MOVES, PATH, PRIMITIVES, handcrafted, moves
from macro_gym.buttons import button_row
from macro_gym.emulator_env import most_frequent
from macro_gym.retro import MacroRetroEnv
from macro_gym.retro_games import integration

FRAMESKIP = 4
BUTTONS = integration(GAME).buttons
WITHIN = 7
"""Frames after a direction within which the next has to come."""
BUTTON_WITHIN = dict(zip("XYZABC", (11, 10, 8) * 2, strict=True))
"""Frames after the last direction within which the button has to go down."""

COMMANDS = {
    "fireball": ("down", "down toward", "toward"),
    "dragon punch": ("toward", "down", "down toward"),
    "hurricane kick": ("down", "down away", "away"),
}
LAST = {"fireball": "XYZ", "dragon punch": "XYZ", "hurricane kick": "ABC"}


def frames(steps):
    """The rows of a macro, frame by frame."""
    return [button_row(step, BUTTONS) for step in steps for _ in range(FRAMESKIP)]


def held(row):
    """The names of what a row holds."""
    return {name for name, is_held in zip(BUTTONS, row, strict=True) if is_held}


def read(rows, toward):
    """The special moves that a game reads from rows, by the frame at which they come out.

    The first frame of each direction counts, as if the stick went back to the middle.
    """
    sides = {toward: "toward", {"LEFT": "RIGHT", "RIGHT": "LEFT"}[toward]: "away"}
    changes = []
    moves = {}
    before = {"UP", "DOWN", "LEFT", "RIGHT", *BUTTON_WITHIN}
    for frame, now in enumerate(map(held, rows)):
        direction = " ".join(
            name for key, name in (("UP", "up"), ("DOWN", "down"), *sides.items()) if key in now
        )
        if not changes or changes[-1][1] != direction:
            changes.append((frame, direction))
        for button in sorted((now - before) & set(BUTTON_WITHIN)):
            for name, command in COMMANDS.items():
                last = changes[-3:]
                times = [at for at, _ in last]
                if (
                    tuple(what for _, what in last) == command
                    and max(np.diff(times)) <= WITHIN
                    and frame - times[-1] <= BUTTON_WITHIN[button]
                    and button in LAST[name]
                ):
                    moves[frame] = (name, button)
        before = now
    return moves


@pytest.mark.parametrize("toward", ["LEFT", "RIGHT"])
@pytest.mark.parametrize(("steps", "meaning"), moves().items())
def test_the_game_reads_each_special_move_and_no_other_from_its_macro(steps, meaning, toward):
    name, *button, side = meaning.split(", ")
    wanted = [(name, *button)] if name in COMMANDS and side.endswith(toward) else []
    assert list(read(frames(steps), toward).values()) == wanted


def test_each_special_move_is_there_with_each_strength_to_both_sides():
    there = set(moves().values())
    for name in COMMANDS:
        for button in LAST[name]:
            for side in ("LEFT", "RIGHT"):
                assert f"{name}, {button}, enemy to the {side}" in there


def test_motions_are_read_with_sticky_actions_too():
    rng = np.random.default_rng(7)
    rows = frames(("DOWN", "DOWN+RIGHT", "RIGHT+Z", "NOOP"))
    came_out = 0
    for _ in range(1000):
        played, last = [], np.zeros_like(rows[0])
        for row in rows:
            last = last if rng.random() < 0.25 else row
            played.append(last)
        came_out += list(read(played, "RIGHT").values()) == [("fireball", "Z")]
    assert came_out > 950


def test_every_macro_has_its_mirror_image_beside_it():
    sides = {"LEFT": "RIGHT", "RIGHT": "LEFT"}

    def mirror(step):
        return "+".join(sides.get(part, part) for part in step.split("+"))

    names = list(moves())
    for here, there in zip(names[::2], names[1::2], strict=True):
        assert tuple(map(mirror, here)) == there != here


def test_buttons_go_down_once_and_are_up_at_the_end():
    for steps in moves():
        pressed = [bool(held(row) & set(BUTTON_WITHIN)) for row in frames(steps)]
        assert sum(np.diff([False, *pressed, False]) != 0) in (0, 2)
        assert not any(pressed[-FRAMESKIP:])


def test_a_throw_is_a_medium_or_heavy_attack_while_walking():
    throws = [steps for steps, meaning in moves().items() if meaning.startswith("throw")]
    assert len(throws) == 8
    for walk, attack, nothing in throws:
        assert walk in ("LEFT", "RIGHT")
        assert attack in {f"{walk}+{button}" for button in "YZBC"}
        assert nothing == "NOOP"


def test_the_attack_of_a_jump_in_begins_in_the_second_half_of_48_frames_in_the_air():
    jumps = [steps for steps, meaning in moves().items() if meaning.startswith("jump-in")]
    assert len(jumps) == 6
    for steps in jumps:
        rows = [held(row) for row in frames(steps)]
        assert "UP" in rows[0]
        begins = next(i for i, row in enumerate(rows) if row & set(BUTTON_WITHIN))
        assert 24 <= begins < 40
        assert not any("UP" in row for row in rows[8:])


def test_blocks_hold_the_direction_away_from_the_enemy_standing_or_crouching():
    for steps, meaning in moves().items():
        if "block" in meaning:
            away = "LEFT" if meaning.endswith("RIGHT") else "RIGHT"
            assert set(steps) == {f"DOWN+{away}" if "crouching" in meaning else away}
            assert len(frames(steps)) == (32 if meaning.startswith("long") else 16)


def test_every_primitive_is_a_combination_that_the_integration_allows():
    assert set(PRIMITIVES) <= set(integration(GAME).combinations())
    assert not any("START" in name or "MODE" in name for name in PRIMITIVES)
    used = {step for steps in moves() for step in steps}
    assert used <= set(PRIMITIVES)


def test_the_file_is_the_one_that_the_moves_give_and_says_that_it_is_handcrafted():
    shipped = MacroSet.load(PATH)
    made_by = shipped.provenance.version
    made = handcrafted()
    assert shipped == replace(made, provenance=replace(made.provenance, version=made_by))
    assert shipped.provenance.source.startswith("handcrafted")
    assert (shipped.provenance.game, shipped.provenance.frameskip) == (GAME, FRAMESKIP)
    assert shipped.provenance.steps == 0
    assert all(name in shipped.provenance.method for name in MOVES)


@pytest.mark.parametrize("name", [GAME, f"MacroRetro/{GAME}", GAME.removesuffix("-v0")])
def test_the_game_has_its_set_by_any_of_its_names_and_no_play(name):
    assert handcrafted_names() == (GAME,)
    assert has_bank(name)
    assert load_bank(name) == MacroSet.load(PATH)
    assert load_play(name) == ()
    assert not has_bank("StreetFighter")


def test_all_of_a_small_set_are_the_default():
    assert most_frequent(load_bank(GAME), None, None) == load_bank(GAME)
    assert len(most_frequent(load_bank("pong"), None, None).macros) == 128


def test_a_game_of_the_same_console_plays_it():
    env = MacroRetroEnv("Airstriker-Genesis-v0", macros=load_bank(GAME))
    names = env.get_action_meanings()
    assert set(names[: len(PRIMITIVES)]) == set(PRIMITIVES)
    env.reset(seed=1)
    *_, info = env.step(names.index("RIGHT,DOWN,DOWN+RIGHT+Z,NOOP"))
    assert (info["duration"], info["episode_frame_number"]) == (4, 16)
    env.close()
