"""What MacroALE's settings mean, and which are refused with the way out."""

import gymnasium as gym
import numpy as np
import pytest

from macro_gym import MacroSet, Provenance
from macro_gym.atari import MacroAtariEnv
from macro_gym.banks import load_bank
from macro_gym.errors import (
    ArgumentTypeError,
    EnvironmentSettingError,
    FrameSkipError,
    InvalidMacroError,
    MissingFileError,
    RemapError,
    UnknownGameError,
)
from tests.macro_gym.atari import BREAKOUT


def test_the_defaults_are_those_of_ale_py_and_of_the_paper():
    env = gym.make("MacroALE/Breakout-v5")
    assert env.action_space == gym.spaces.Discrete(4 + 128)
    assert env.observation_space == gym.spaces.Box(0, 255, (4, 84, 84), np.uint8)
    assert env.get_wrapper_attr("get_action_meanings")()[:4] == list(BREAKOUT)
    assert env.get_wrapper_attr("macro_set") == load_bank("breakout").top(128)
    assert env.get_wrapper_attr("frameskip") == 4
    ale = env.unwrapped.ale
    assert ale.getFloat("repeat_action_probability") == 0.25
    assert ale.getInt("max_num_frames_per_episode") == 108_000
    env.reset(seed=0)
    assert ale.getEpisodeFrameNumber() == 0
    assert env.step(0)[4].keys() == {
        *("duration", "primitive_rewards"),
        *("lives", "episode_frame_number", "frame_number"),
    }


def test_k_counts_macros_of_the_bank_or_of_those_given(tmp_path):
    macros = MacroSet(BREAKOUT, ((1, 1), (2, 2, 2), (3,)), (5, 4, 2))
    macros.save(tmp_path / "macros.json")

    def n_macros(**settings):
        return len(MacroAtariEnv("breakout", **settings).macro_set.macros)

    assert n_macros(k=7) == 7
    assert n_macros(macros=macros) == 3
    assert n_macros(macros=macros, k=2) == 2
    assert n_macros(macros=macros, k=0) == 0
    assert MacroAtariEnv("breakout", macros=tmp_path / "macros.json").macro_set == macros
    assert MacroAtariEnv("breakout", 2, str(tmp_path / "macros.json")).macro_set == macros.top(2)


def test_the_bank_serves_the_full_action_space_by_name():
    env = MacroAtariEnv("breakout", 16, full_action_space=True)
    small = MacroAtariEnv("breakout", 16)
    assert env.action_space.n == 18 + 16
    assert env.get_action_meanings()[18:] == small.get_action_meanings()[4:]


@pytest.mark.parametrize("frameskip", [0, -1, (2, 5), 4.0, True])
def test_frame_skips_that_are_not_a_fixed_number_are_refused(frameskip):
    with pytest.raises(
        FrameSkipError, match=r"frameskip is .* but a primitive runs a fixed number"
    ):
        MacroAtariEnv("breakout", 0, frameskip=frameskip)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"macros": ((1, 1),)}, "macros is a tuple; it may be a MacroSet, the path of one"),
        ({"macros": {"macros": []}}, "macros is a dict.* EnvSpec.from_json .* by its path"),
        ({"k": 2.0}, r"k is 2\.0; it is how many macros to keep, an integer"),
        ({"k": "2"}, "k is '2'; it is how many"),
        ({"k": True}, "k is True; it is how many"),
        ({"stack_size": 4.0}, r"stack_size is 4\.0; it must be an integer"),
        ({"repeat_action_probability": "often"}, "probability is 'often'; it must be a number"),
    ],
)
def test_settings_of_a_wrong_type_are_refused(setting, message):
    with pytest.raises(ArgumentTypeError, match=message) as caught:
        MacroAtariEnv("breakout", **setting)
    assert isinstance(caught.value, TypeError)


def test_a_macro_set_file_that_is_missing_is_named(tmp_path):
    for path in (tmp_path / "mined.json", str(tmp_path)):
        with pytest.raises(MissingFileError, match=f"there is no macro-set file {path}") as caught:
            MacroAtariEnv("breakout", macros=path)
        assert isinstance(caught.value, FileNotFoundError)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"obs_type": "gray"}, "obs_type is 'gray'; it may be 'grayscale', 'rgb', 'ram'"),
        ({"render_mode": "ansi"}, "render_mode is 'ansi'; it may be None, 'human', 'rgb_array'"),
        ({"stack_size": 0}, "stack_size is 0; it must be at least 1"),
        ({"noop_max": -1}, "noop_max is -1; it must be at least 0"),
        ({"screen_size": 0}, "a side of screen_size is 0; it must be at least 1"),
        ({"screen_size": (84, -1)}, "a side of screen_size is -1; it must be at least 1"),
        ({"repeat_action_probability": 1.1}, r"probability is 1\.1; it must be within 0\.\.1"),
        ({"repeat_action_probability": -0.1}, r"probability is -0\.1; it must be within"),
        ({"repeat_action_probability": float("nan")}, "probability is nan; it must be within"),
        ({"mode": 3}, "mode is 3, but breakout has only 0, 4, 8, 12"),
        ({"difficulty": 7}, "difficulty is 7, but breakout has only 0, 1$"),
    ],
)
def test_settings_out_of_range_are_refused(setting, message):
    with pytest.raises(EnvironmentSettingError, match=message):
        MacroAtariEnv("breakout", 0, **setting)


def test_macros_mined_at_another_frame_skip_are_used_with_a_warning():
    macros = MacroSet(BREAKOUT, ((1, 1),), provenance=Provenance(frameskip=4))
    with pytest.warns(UserWarning, match="mined at 4 frames .* used at 2: each will last 0.5"):
        MacroAtariEnv("breakout", macros=macros, frameskip=2)
    MacroAtariEnv("breakout", macros=macros)


def test_unknown_games_are_refused_with_those_that_were_meant():
    with pytest.raises(UnknownGameError, match=r"game is 'brekout', .* Did you mean breakout"):
        MacroAtariEnv("brekout")


def test_more_macros_than_there_are_is_an_error_that_says_how_many_there_are():
    with pytest.raises(InvalidMacroError, match=r"k is 100000, but this set has 512 macros of "):
        MacroAtariEnv("breakout", 100_000)
    with pytest.raises(InvalidMacroError, match=r"k is 2, but this set has 1 macros"):
        MacroAtariEnv("breakout", 2, MacroSet(BREAKOUT, ((1, 1),)))


def test_a_game_for_two_players_is_refused():
    with pytest.raises(UnknownGameError, match="'combat', which ale-py does not have for one"):
        MacroAtariEnv("combat", 0)


def test_macros_for_another_games_actions_are_refused():
    with pytest.raises(RemapError, match="1 of 1 macros need UP"):
        MacroAtariEnv("breakout", macros=MacroSet(("NOOP", "UP"), ((1, 1),)))


def test_macros_that_were_not_asked_for_need_not_fit_the_game():
    macros = MacroSet(("NOOP", "LEFT", "UP"), ((1, 1), (2, 2)))
    assert MacroAtariEnv("breakout", 1, macros).macro_set.names[-1] == "LEFT×2"
    assert MacroAtariEnv("breakout", 0, macros).action_space.n == len(BREAKOUT)


def test_two_sides_of_screens_may_be_a_list_as_json_has_them():
    env = gym.make("MacroALE/Breakout-v5", k=0, screen_size=(60, 80))
    again = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    assert again.observation_space == env.observation_space
    assert env.observation_space.shape == (4, 80, 60)
    with pytest.raises(EnvironmentSettingError, match=r"screen_size is \(84, 84, 84\)"):
        MacroAtariEnv("breakout", screen_size=(84, 84, 84))
