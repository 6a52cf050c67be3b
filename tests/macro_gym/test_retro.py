"""MacroRetro: it is RetroEnv in Gymnasium's own stack with macros (laws 1, 2, 3, 9, 10).

One emulator runs in a process, so what is compared is played one after the other.
"""

import copy
import json
import pickle
from contextlib import closing
from functools import partial
from types import SimpleNamespace

import cv2
import gymnasium as gym
import numpy as np
import pytest
import stable_retro
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import (
    AtariPreprocessing,
    FrameStackObservation,
    RecordVideo,
    StickyAction,
    TimeLimit,
)
from stable_baselines3.common.env_checker import check_env as check_env_for_sb3

from macro_gym import MacroAction, MacroSet, Provenance
from macro_gym.errors import (
    ArgumentTypeError,
    EmulatorInUseError,
    EnvironmentClosedError,
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

GAME = "Airstriker-Genesis-v0"
ID = f"MacroRetro/{GAME}"
NAMES = integration(GAME).combinations()
LENGTHS = (1, 2, 3, 4, 5, 6, 7, 8, 8, 11)


def random_macros(lengths=LENGTHS, seed=0):
    rng = np.random.default_rng(seed)
    macros = {tuple(rng.integers(len(NAMES), size=length).tolist()) for length in lengths}
    return MacroSet(NAMES, tuple(sorted(macros)))


class RetroAsAtari(stable_retro.RetroEnv):
    """RetroEnv with what AtariPreprocessing asks of Atari's environments."""

    _frameskip = 1

    @property
    def ale(self):
        return SimpleNamespace(
            lives=lambda: self.data.lookup_value("lives"),
            getScreenGrayscale=lambda out: out.__setitem__(
                ..., cv2.cvtColor(self.get_screen(), cv2.COLOR_RGB2GRAY)
            ),
            getScreenRGB=lambda out: out.__setitem__(..., self.get_screen()),
        )

    def get_action_meanings(self):
        return list(NAMES)


def gymnasium_stack(
    macros,
    *,
    frameskip=4,
    obs_type="grayscale",
    noop_max=0,
    terminal_on_life_loss=False,
    screen_size=84,
    stack_size=4,
    repeat_action_probability=0.25,
    max_num_frames_per_episode=None,
    scenario=None,
):
    """The same environment, out of stable-retro's own and Gymnasium's own wrappers."""
    env = RetroAsAtari(
        GAME,
        use_restricted_actions=stable_retro.Actions.DISCRETE,
        scenario=scenario,
        render_mode="rgb_array",
    )
    if max_num_frames_per_episode:
        env = TimeLimit(env, max_num_frames_per_episode)
    if repeat_action_probability:
        env = StickyAction(env, repeat_action_probability)
    env = AtariPreprocessing(
        env,
        noop_max=noop_max,
        frame_skip=frameskip,
        screen_size=screen_size,
        terminal_on_life_loss=terminal_on_life_loss,
        grayscale_obs=obs_type == "grayscale",
    )
    return MacroAction(FrameStackObservation(env, stack_size), macros)


def play(env, decisions, seed=3):
    """What random play returns, resets included; the environment is closed after it."""
    rng = np.random.default_rng(seed)
    with closing(env):
        results = [env.reset(seed=seed)]
        for _ in range(decisions):
            results.append(env.step(rng.integers(env.action_space.n)))
            if results[-1][2] or results[-1][3]:
                results.append(env.reset())
    return results


def assert_same_play(expected, found, *, infos=("duration", "primitive_rewards", "score", "lives")):
    """Compare all but what only one of the two says in its infos."""
    assert len(expected) == len(found)
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one[0], other[0], strict=True)
        assert one[1:-1] == other[1:-1]
        for name in infos if len(one) == 5 else ():
            np.testing.assert_array_equal(one[-1][name], other[-1][name], err_msg=name)


# Law 2


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"repeat_action_probability": 0.0, "noop_max": 30, "max_num_frames_per_episode": 331},
        {"terminal_on_life_loss": True, "noop_max": 7},
        {"terminal_on_life_loss": True, "stack_size": 2},
        {"obs_type": "rgb", "max_num_frames_per_episode": 123},
        {"stack_size": 1, "max_num_frames_per_episode": 150},
        {"frameskip": 2, "screen_size": (50, 70), "max_num_frames_per_episode": 97},
        {"frameskip": 1, "stack_size": 3, "max_num_frames_per_episode": 53},
        # Games that end while they are waited for, or in their first step.
        {"noop_max": 30, "max_num_frames_per_episode": 20},
        {"max_num_frames_per_episode": 3},
    ],
)
def test_deferred_drawing_is_invisible(settings):
    macros = random_macros()
    expected = play(gymnasium_stack(macros, **settings), 70)
    found = play(gym.make(ID, macros=macros, **settings), 70)
    assert_same_play(expected, found)
    if "max_num_frames_per_episode" in settings:
        assert any(result[3] for result in expected if len(result) == 5)


def test_a_life_lost_anywhere_in_a_macro_ends_the_episode():
    macros = random_macros(lengths=(28, 29, 30, 31))
    settings = {"terminal_on_life_loss": True}
    rng = np.random.default_rng(2)
    actions = len(NAMES) + rng.integers(4, size=14)
    results = []
    for make in (partial(gymnasium_stack, macros), partial(gym.make, ID, macros=macros)):
        with closing(make(**settings)) as env:
            results.append([env.reset(seed=2)])
            for action in actions:
                results[-1].append(env.step(action))
                if results[-1][-1][2]:
                    results[-1].append(env.reset())
    assert_same_play(*results)
    ends = [result[-1]["duration"] for result in results[0] if len(result) == 5 and result[2]]
    assert min(ends) < 24


def test_an_episode_may_end_at_any_primitive_of_a_macro():
    shooting = NAMES.index("B")
    macros = MacroSet(NAMES, ((shooting,) * 12,))
    for limit in range(44, 95, 5):
        settings = {"max_num_frames_per_episode": limit}
        env = gymnasium_stack(macros, **settings)
        with closing(env):
            env.reset(seed=1)
            expected = [env.step(len(NAMES)) for _ in range(2 if limit > 48 else 1)]
        env = gym.make(ID, macros=macros, **settings)
        with closing(env):
            env.reset(seed=1)
            found = [env.step(len(NAMES)) for _ in expected]
        assert expected[-1][3]
        assert_same_play(expected, found)


def test_episodes_that_the_scenario_ends_look_the_same(tmp_path):
    scenario = tmp_path / "brief.json"
    done = {"variables": {"score": {"op": "greater-than", "reference": 0}}}
    reward = {"variables": {"score": {"reward": 2.0}}}
    scenario.write_text(json.dumps({"done": done, "reward": reward}))
    macros = MacroSet(NAMES, tuple((NAMES.index("B"),) * length for length in (9, 10, 11)))
    settings = {"scenario": str(scenario)}
    expected = play(gymnasium_stack(macros, **settings), 110, seed=5)
    found = play(gym.make(ID, macros=macros, **settings), 110, seed=5)
    assert_same_play(expected, found)
    rewards = {result[1] for result in expected if len(result) == 5 and result[2]}
    assert rewards
    assert all(reward % 2 == 0 and reward for reward in rewards)


def test_memory_is_what_the_console_holds_after_each_decision():
    macros = random_macros()
    env = gymnasium_stack(macros)
    memories, rng = [], np.random.default_rng(3)
    with closing(env):
        env.reset(seed=3)
        for _ in range(30):
            env.step(rng.integers(env.action_space.n))
            memories.append(env.unwrapped.get_ram())
    found = play(gym.make(ID, macros=macros, obs_type="ram"), 30)
    for expected, result in zip(memories, found[1:], strict=True):
        np.testing.assert_array_equal(expected, result[0], strict=True)


def test_nobody_can_tell_that_memory_is_copied_only_where_a_variable_changed(tmp_path):
    scenario = tmp_path / "losing.json"
    paid = {"score": {"reward": 3.0}, "lives": {"penalty": 50.0}, "gameover": {"reward": 0.5}}
    done = {"variables": {"lives": {"op": "less-than", "reference": 2}}}
    scenario.write_text(json.dumps({"reward": {"variables": paid}, "done": done}))
    rng = np.random.default_rng(1)
    actions = rng.integers(len(NAMES), size=2_400)
    plays, behind = [], 0
    for must_see_all in (True, False):
        settings = {"scenario": str(scenario), "repeat_action_probability": 0.0}
        with closing(MacroRetroEnv(GAME, macros=MacroSet(NAMES), **settings)) as env:
            emulator = env._emulator
            assert not emulator._must_see_all
            emulator._must_see_all = must_see_all
            emulator.reset()
            play = []
            for number, action in enumerate(actions.tolist()):
                reward = emulator.act(action)
                behind += emulator._is_behind  # until somebody asks
                play.append((reward, emulator.over(), emulator.info() if number % 3 else {}))
                if number % 37 == 0:
                    play.append(emulator.env.get_ram().tobytes())
                if emulator.over():
                    emulator.reset()
            plays.append(play)
    assert plays[0] == plays[1]
    assert behind > 2_000
    rewards = {frame[0] for frame in plays[0] if isinstance(frame, tuple)}
    assert min(rewards) < 0 < max(rewards)
    assert any(frame[1] for frame in plays[0] if isinstance(frame, tuple))


# Laws 1, 3, 9, 10


def test_macros_of_length_one_are_the_primitives():
    ones = MacroSet(NAMES, ((5,), (0,), (77,)))
    rng = np.random.default_rng(0)
    actions = rng.integers(len(NAMES) + 3, size=60)
    same = [
        (5, 0, 77)[action - len(NAMES)] if action >= len(NAMES) else action for action in actions
    ]
    results = []
    for macros, played in ((ones, actions), (MacroSet(NAMES), same)):
        with closing(gym.make(ID, macros=macros)) as env:
            results.append([env.reset(seed=1), *(env.step(action) for action in played)])
    assert_same_play(*results)


def test_rewards_add_up_to_the_score_and_frames_to_the_durations():
    with closing(gym.make(ID, macros=random_macros())) as env:
        rng = np.random.default_rng(8)
        _, info = env.reset(seed=8)
        assert info["episode_frame_number"] == 0
        score = frames = 0
        while True:
            _, reward, terminated, truncated, info = env.step(rng.integers(env.action_space.n))
            duration, rewards = info["duration"], info["primitive_rewards"]
            assert rewards.dtype == np.float32
            assert rewards.shape == (env.get_wrapper_attr("macro_set").max_length,)
            assert rewards.sum() == reward
            assert not rewards[duration:].any()
            score += reward
            if terminated or truncated:
                break
            frames += 4 * duration
            assert info["score"] == score
            assert info["episode_frame_number"] == frames
            assert info["frame_number"] == frames
        assert terminated
        assert score > 0
        assert info["gameover"] == 1


# Primitives


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


def test_a_closed_environment_says_so():
    env = MacroRetroEnv(GAME, macros=random_macros())
    env.reset(seed=0)
    env.close()
    for use in (env.reset, partial(env.step, 0), partial(pickle.dumps, env)):
        with pytest.raises(EnvironmentClosedError, match="make a new one"):
            use()


def test_closing_frees_the_emulator_also_if_the_movie_cannot_be_written(tmp_path):
    env = MacroRetroEnv(GAME, macros=random_macros(), record=tmp_path / "movies")
    env.reset(seed=0)
    env.step(0)
    (tmp_path / "movies").rmdir()
    (tmp_path / "movies").write_text("in the way")
    with pytest.raises(FileExistsError):
        env.close()
    gym.make(ID, k=0).close()


def test_savestates_that_lack_something_are_noticed_and_not_relied_on_again(monkeypatch):
    shooting = NAMES.index("B")
    env = MacroRetroEnv(GAME, macros=MacroSet(NAMES, ((shooting,) * 30,)))
    with closing(env):
        env.reset(seed=1)
        emulator = env._emulator
        restore = emulator.restore

        def restore_amiss(state):
            restore(state)
            emulator.act(0)

        monkeypatch.setattr(emulator, "restore", restore_amiss)
        with pytest.warns(UserWarning, match="savestates of Airstriker-Genesis-v0 lack something"):
            any(env.step(len(NAMES))[2] for _ in range(100))
        assert env._unseen_steps(30) == 0


def test_damaged_macro_files_are_refused(tmp_path):
    path = tmp_path / "macros.json"
    random_macros().save(path)
    path.write_text(path.read_text()[:-20])
    with pytest.raises(MacroSetFileError):
        gym.make(ID, macros=path)


# What others expect of an environment


def test_a_second_game_in_a_process_is_refused_with_the_way_out():
    with (
        closing(gym.make(ID, macros=random_macros())),
        pytest.raises(EmulatorInUseError, match=r"only one in a process.*SubprocVecEnv"),
    ):
        gym.make(ID, macros=random_macros())
    gym.make(ID, macros=random_macros()).close()


def test_closing_twice_does_no_harm():
    env = gym.make(ID, macros=random_macros())
    env.close()
    env.close()


def test_environments_pass_the_checks_of_gymnasium_and_of_sb3():
    for obs_type in ("grayscale", "ram"):
        with closing(gym.make(ID, macros=random_macros(), obs_type=obs_type)) as env:
            check_env_for_sb3(env)
        # Without a spec: Gymnasium's checker would make a second one from it.
        with closing(MacroRetroEnv(GAME, macros=random_macros(), obs_type=obs_type)) as env:
            check_env(env, skip_render_check=True)


def test_an_environment_is_rebuilt_from_its_spec():
    env = gym.make(ID, macros=random_macros(), frameskip=3)
    spec = env.spec
    expected = play(env, 9)
    assert_same_play(expected, play(gym.make(spec), 9))


def test_a_pickled_environment_goes_on_in_the_middle_of_an_episode():
    rng = np.random.default_rng(2)
    actions = rng.integers(136, size=80)
    env = MacroRetroEnv(GAME, macros=random_macros())
    env.reset(seed=4)
    for action in actions[:31]:
        env.step(action)
    pickled = pickle.dumps(env)
    with closing(env):
        with pytest.raises(EmulatorInUseError, match="one in a process"):
            copy.deepcopy(env)
        expected = [env.step(action) for action in actions[31:]]
    with closing(pickle.loads(pickled)) as copied:
        found = [copied.step(action) for action in actions[31:]]
    assert_same_play(expected, found)
    assert [result[-1] for result in expected][-1]["frame_number"] == found[-1][-1]["frame_number"]
    assert sum(result[1] for result in expected) > 0


def test_a_fresh_environment_can_be_pickled():
    env = MacroRetroEnv(GAME, macros=random_macros())
    pickled = pickle.dumps(env)
    expected = play(env, 5)
    assert_same_play(expected, play(pickle.loads(pickled), 5))


def test_videos_and_screens_can_be_had(tmp_path):
    macros = random_macros(lengths=(7,))
    env = RecordVideo(gym.make(ID, macros=macros, render_mode="rgb_array"), str(tmp_path / "of"))
    play(env, 5)
    assert [path.suffix for path in (tmp_path / "of").iterdir()] == [".mp4"]
    with closing(gym.make(ID, macros=macros, render_mode="rgb_array_list")) as env:
        env.reset(seed=0)
        env.step(len(NAMES))
        screens = env.render()
        assert [screen.shape for screen in screens] == [(224, 320, 3)] * 8
        assert env.render() == []


def test_a_screen_of_another_resolution_is_brought_to_the_first():
    with closing(MacroRetroEnv(GAME, macros=random_macros())) as env:
        env.reset(seed=0)
        emulator = env._emulator
        screen = emulator.screen()
        smaller, expected = (
            np.empty((112, 160), np.uint8),
            cv2.resize(screen, (160, 112), interpolation=cv2.INTER_AREA),
        )
        emulator.draw(smaller)
        np.testing.assert_array_equal(smaller, cv2.cvtColor(expected, cv2.COLOR_RGB2GRAY))


def test_macros_mined_at_another_frameskip_are_warned_of():
    macros = MacroSet(("NOOP", "B"), ((1, 1),), provenance=Provenance(game="x", frameskip=1))
    with pytest.warns(UserWarning, match="mined at 1 frames per primitive and are used at 4"):
        gym.make(ID, macros=macros).close()
