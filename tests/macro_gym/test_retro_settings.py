"""What MacroRetro's settings mean, and which are refused with the emulator left free."""

import json
from contextlib import closing

import gymnasium as gym
import numpy as np
import pytest

from macro_gym import MacroSet, Provenance
from macro_gym.errors import (
    ArgumentTypeError,
    EnvironmentSettingError,
    FrameSkipError,
    InvalidMacroError,
    MacroSetFileError,
    MissingBankError,
    MissingFileError,
    MissingRomError,
    RemapError,
)
from macro_gym.retro import MacroRetroEnv
from macro_gym.retro_games import integration
from tests.macro_gym.airstriker import GAME, ID, NAMES, random_macros


def test_primitives_are_all_that_the_integration_allows_or_those_that_were_mined():
    mined = MacroSet(("B", "LEFT+B", "NOOP", "START"), ((0, 1), (1, 1, 2)))
    with closing(gym.make(ID, macros=mined)) as env:
        assert env.unwrapped.get_action_meanings() == [
            *("NOOP", "B", "LEFT+B"),
            *("B,LEFT+B", "LEFT+B,LEFT+B,NOOP"),
        ]
    with closing(gym.make(ID, macros=mined, buttons="all", k=1)) as env:
        assert env.unwrapped.get_action_meanings() == [*NAMES, "B,LEFT+B"]
    with closing(gym.make(ID, macros=mined, k=0)) as env:
        assert env.unwrapped.get_action_meanings() == ["NOOP", "B", "LEFT+B"]


def test_explicit_buttons_are_the_primitives_in_their_order():
    buttons = ["B", "NOOP", "B+LEFT", "START"]
    with closing(gym.make(ID, macros=MacroSet(("LEFT+B",), ((0, 0),)), buttons=buttons)) as env:
        meanings = env.unwrapped.get_action_meanings()
    assert meanings == ["B", "NOOP", "LEFT+B", "START", "LEFT+B×2"]


def test_explicit_buttons_do_what_they_say():
    buttons = ["NOOP", "RIGHT", "LEFT"]
    columns = {}
    for action, name in enumerate(buttons):
        macros = MacroSet(tuple(buttons), ((action,) * 15,))
        with closing(gym.make(ID, macros=macros, obs_type="rgb", screen_size=(320, 224))) as env:
            env.reset(seed=0)
            observation, *_ = env.step(3)
        ship = observation[-1, 150:, :, :].astype(int).sum(axis=(0, 2))
        columns[name] = ship
    moved = {name: np.flatnonzero(columns[name] != columns["NOOP"]) for name in buttons[1:]}
    assert moved["RIGHT"].max() > moved["LEFT"].max()
    assert moved["LEFT"].min() < moved["RIGHT"].min()


def test_two_players_act_at_the_same_time():
    with closing(gym.make(ID, k=0, players=2, buttons=["NOOP", "LEFT+B"])) as env:
        assert env.unwrapped.get_action_meanings() == [
            *("NOOP|NOOP", "LEFT+B|NOOP"),
            *("NOOP|LEFT+B", "LEFT+B|LEFT+B"),
        ]
        env.reset(seed=1)
        emulator = env.unwrapped.retro_env.em
        held = []

        class Watched:
            def set_button_mask(self, row, player):
                held.append((player, row.tolist()))
                emulator.set_button_mask(row, player)

            get_screen = emulator.get_screen

        env.unwrapped.retro_env.em = Watched()
        env.step(1)
        env.unwrapped.retro_env.em = emulator
    row = [0] * 12
    row[0] = row[6] = 1  # B, LEFT
    assert held == [(0, row), (1, [0] * 12)]


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"buttons": ["UP+DOWN"]}, EnvironmentSettingError, "opposite directions"),
        ({"buttons": ["FIRE"]}, EnvironmentSettingError, "the console's buttons are B, A"),
        ({"buttons": "LEFT"}, ArgumentTypeError, "a list of combinations"),
        ({"buttons": ["B", "B"]}, InvalidMacroError, "B"),
        ({"players": 3}, EnvironmentSettingError, "players is 3; it may be 1, 2"),
        ({"max_num_frames_per_episode": 0}, EnvironmentSettingError, "must be at least 1"),
        ({"frameskip": (2, 5)}, FrameSkipError, "a fixed number of frames"),
        ({"repeat_action_probability": 1.5}, EnvironmentSettingError, "within 0..1"),
        ({"k": 11, "macros": random_macros()}, InvalidMacroError, "11"),
        ({"macros": MacroSet(("NOOP", "FIRE"), ((1, 1),))}, RemapError, "FIRE"),
        ({"macros": "nowhere.json"}, MissingFileError, "nowhere.json"),
        ({"macros": 3}, ArgumentTypeError, "macros is a int"),
    ],
)
def test_bad_settings_are_refused_and_leave_the_emulator_free(settings, error, message):
    with pytest.raises(error, match=message):
        gym.make(ID, **({"k": 0} | settings if "macros" not in settings else settings))
    gym.make(ID, macros=random_macros()).close()


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"buttons": 5}, ArgumentTypeError, "a list of combinations"),
        ({"buttons": [1]}, ArgumentTypeError, "a list of combinations"),
        ({"buttons": []}, ArgumentTypeError, "a list of combinations"),
        ({"scenario": 42}, ArgumentTypeError, "a name or a path"),
        ({"scenario": "data"}, EnvironmentSettingError, "has scenario; the path"),
        ({"scenario": "list.json"}, EnvironmentSettingError, "holds none of done, reward"),
        ({"scenario": "cut.json"}, EnvironmentSettingError, "is no JSON"),
        ({"scenario": "unknown.json"}, EnvironmentSettingError, "does not work with Airstriker"),
        ({"record": "cut.json"}, EnvironmentSettingError, "cannot be a folder for movies"),
        ({"players": 2, "k": None}, MissingBankError, "the banks are of play by one. Say k=0"),
        ({"buttons": ["NOOP", "LEFT"], "k": None}, RemapError, "other buttons on consoles"),
    ],
)
def test_what_cannot_be_loaded_is_refused_and_leaves_the_emulator_free(
    tmp_path, monkeypatch, settings, error, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "cut.json").write_text('{"done": ')
    paid = {"variables": {"nope": {"reward": 1}}}
    (tmp_path / "unknown.json").write_text(json.dumps({"reward": paid}))
    with pytest.raises(error, match=message) as caught:
        gym.make(ID, **{"k": 0} | settings)
    gym.make(ID, k=0).close()
    assert caught.value  # kept as interactive sessions do, with all that its frames refer to


def test_a_scenario_may_be_a_path(tmp_path):
    path = tmp_path / "scenario.json"
    path.write_text(integration(GAME).scenario_file().read_text())
    gym.make(ID, k=0, scenario=path).close()


def test_lives_are_watched_only_where_they_are_counted():
    with pytest.raises(
        EnvironmentSettingError, match="does not count lives; it knows continuetimer"
    ):
        MacroRetroEnv(
            "StreetFighterIISpecialChampionEdition-Genesis-v0", k=0, terminal_on_life_loss=True
        )


def test_a_missing_rom_is_told_before_a_missing_bank():
    with pytest.raises(MissingRomError, match="SonicTheHedgehog-Genesis-v0"):
        gym.make("MacroRetro/SonicTheHedgehog-Genesis-v0")


def test_damaged_macro_files_are_refused(tmp_path):
    path = tmp_path / "macros.json"
    random_macros().save(path)
    path.write_text(path.read_text()[:-20])
    with pytest.raises(MacroSetFileError):
        gym.make(ID, macros=path)


def test_macros_mined_at_another_frameskip_are_warned_of():
    macros = MacroSet(("NOOP", "B"), ((1, 1),), provenance=Provenance(game="x", frameskip=1))
    with pytest.warns(UserWarning, match="mined at 1 frames per primitive and are used at 4"):
        gym.make(ID, macros=macros).close()


@pytest.mark.parametrize("buttons", [["LEFT+B", "RIGHT"], ["B", "NOOP", "LEFT"]])
def test_waiting_for_a_game_to_start_holds_no_button(buttons):
    settings = {"buttons": buttons, "k": 0, "noop_max": 30}
    if "NOOP" not in buttons:
        with pytest.raises(EnvironmentSettingError, match=r"noop_max is 30.*LEFT\+B, RIGHT.*held"):
            MacroRetroEnv(GAME, **settings)
        return
    held = []
    with closing(MacroRetroEnv(GAME, **settings)) as env:
        env._emulator.on_frame = lambda _, action: held.append(buttons[action])
        env.reset(seed=1)
    assert set(held) == {"NOOP"}
