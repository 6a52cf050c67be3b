"""MacroALE: it is Gymnasium's own stack with macros (laws 1, 2, 9, 10), and it can be copied."""

import copy
import pickle
import subprocess
import sys

import ale_py
import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.utils.save_video import save_video
from gymnasium.wrappers import (
    AtariPreprocessing,
    FrameStackObservation,
    RecordEpisodeStatistics,
    RecordVideo,
)
from stable_baselines3.common.env_checker import check_env as check_env_for_sb3
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from macro_gym import MacroAction, MacroSet, Provenance
from macro_gym.atari import MacroAtariEnv
from macro_gym.banks import load_bank
from macro_gym.errors import (
    ArgumentTypeError,
    EnvironmentSettingError,
    FrameSkipError,
    InvalidMacroError,
    MissingFileError,
    RemapError,
    RestoreError,
    UnknownGameError,
)

gym.register_envs(ale_py)

BREAKOUT = ("NOOP", "FIRE", "RIGHT", "LEFT")
LENGTHS = (1, 2, 3, 4, 5, 6, 7, 8, 8, 11)


def random_macros(game, lengths=LENGTHS, seed=0):
    names = tuple(gym.make(f"ALE/{game}-v5").unwrapped.get_action_meanings())
    rng = np.random.default_rng(seed)
    macros = {tuple(rng.integers(len(names), size=length).tolist()) for length in lengths}
    return MacroSet(names, tuple(sorted(macros)))


def gymnasium_stack(
    game,
    macros,
    *,
    obs_type="grayscale",
    frameskip=4,
    noop_max=0,
    terminal_on_life_loss=False,
    screen_size=84,
    stack_size=4,
    **settings,
):
    """The same environment, out of Gymnasium's own wrappers."""
    env = gym.make(f"ALE/{game}-v5", frameskip=1, **settings)
    env = AtariPreprocessing(
        env,
        noop_max=noop_max,
        frame_skip=frameskip,
        screen_size=screen_size,
        terminal_on_life_loss=terminal_on_life_loss,
        grayscale_obs=obs_type == "grayscale",
    )
    return MacroAction(FrameStackObservation(env, stack_size), macros)


def assert_same(one, other):
    """All of what reset or step returned."""
    assert one[0].dtype == other[0].dtype
    np.testing.assert_array_equal(one[0], other[0], strict=True)
    assert one[1:-1] == other[1:-1]
    assert one[-1].keys() == other[-1].keys()
    for key, value in one[-1].items():
        np.testing.assert_array_equal(value, other[-1][key], err_msg=key)


def assert_same_play(one, other, decisions, seed=3):
    """Play both the same way; return how far into a macro episodes ended, and how often each."""
    assert one.action_space == other.action_space
    assert one.observation_space == other.observation_space
    rng = np.random.default_rng(seed)
    assert_same(one.reset(seed=seed), other.reset(seed=seed))
    ends = []
    for _ in range(decisions):
        action = rng.integers(one.action_space.n)
        step = one.step(action)
        assert_same(step, other.step(action))
        if step[2] or step[3]:
            length = len(one.get_wrapper_attr("macro_set").expand(action))
            ends.append((step[-1]["duration"], length))
            assert_same(one.reset(), other.reset())
    return ends


# Law 2


@pytest.mark.parametrize(
    ("game", "settings"),
    [
        ("Breakout", {}),
        ("Breakout", {"noop_max": 30, "terminal_on_life_loss": True}),
        ("Breakout", {"repeat_action_probability": 0.0, "noop_max": 30}),
        ("Pong", {"max_num_frames_per_episode": 123}),
        ("MsPacman", {"obs_type": "rgb", "max_num_frames_per_episode": 333}),
        ("Seaquest", {"stack_size": 1, "noop_max": 30, "max_num_frames_per_episode": 150}),
        ("Freeway", {"frameskip": 2, "screen_size": (50, 70), "max_num_frames_per_episode": 97}),
        ("Qbert", {"frameskip": 1, "max_num_frames_per_episode": 201}),
        ("AirRaid", {"stack_size": 5, "terminal_on_life_loss": True, "full_action_space": True}),
        # Games that end while they are waited for, or in their first step.
        ("Breakout", {"noop_max": 30, "max_num_frames_per_episode": 20}),
        ("Breakout", {"max_num_frames_per_episode": 3}),
        ("SpaceInvaders", {"mode": 2, "difficulty": 1, "frameskip": 3, "stack_size": 2}),
        # Their games end with lives to spare, where deferred drawing expects no end.
        ("Amidar", {}),
        ("Gravitar", {"repeat_action_probability": 0.0}),
    ],
)
def test_deferred_drawing_is_invisible(game, settings):
    macros = random_macros(game)
    if settings.get("full_action_space"):
        full = gym.make("ALE/Breakout-v5", full_action_space=True).unwrapped.get_action_meanings()
        macros = macros.remap(full)
    stack = gymnasium_stack(game, macros, **settings)
    env = gym.make(f"MacroALE/{game}-v5", macros=macros, **settings)
    assert assert_same_play(stack, env, 350)


@pytest.mark.parametrize("stack_size", [1, 2, 4])
@pytest.mark.parametrize("cause", ["max_num_frames_per_episode", "terminal_on_life_loss"])
def test_an_episode_may_end_at_any_primitive_of_a_macro(cause, stack_size):
    macros = MacroSet(BREAKOUT, ((3,) * 7, (1, 2, 3, 1, 2, 3, 1)))
    ends = set()
    for limit in range(90, 120, 3) if cause == "max_num_frames_per_episode" else range(3):
        settings = {cause: limit or True, "stack_size": stack_size, "noop_max": 7}
        stack = gymnasium_stack("Breakout", macros, **settings)
        env = gym.make("MacroALE/Breakout-v5", macros=macros, **settings)
        decisions = 30 if cause == "max_num_frames_per_episode" else 200
        ends |= set(assert_same_play(stack, env, decisions, seed=limit))
    assert {(duration, 7) for duration in range(1, 8)} <= ends


def test_games_that_end_with_lives_to_spare_are_drawn_whole_from_then_on():
    env = MacroAtariEnv("amidar", macros=random_macros("Amidar", (50, 50, 50)))
    assert env._lives_foretell_end
    rng = np.random.default_rng(0)
    env.reset(seed=0)
    terminated = False
    while not terminated:
        *_, terminated, _, info = env.step(rng.integers(10, 13))
    assert info["duration"] < 50
    assert not env._lives_foretell_end


def test_unstacked_games_that_end_in_a_macros_last_step_show_the_step_before():
    macros = MacroSet(random_macros("Gravitar").primitives, ((2, 3), (4, 1), (5, 5)))
    stack = gymnasium_stack("Gravitar", macros, stack_size=1)
    env = MacroAtariEnv("gravitar", macros=macros, stack_size=1)
    assert_same(stack.reset(seed=2), env.reset(seed=2))
    rng = np.random.default_rng(2)
    terminated = False
    while not terminated:
        action = 18 + rng.integers(3)
        step = env.step(action)
        assert_same(stack.step(action), step)
        *_, terminated, _, info = step
    assert info["duration"] == 2


def test_running_out_of_frames_is_foreseen():
    macros = MacroSet(BREAKOUT, ((3,) * 11,))
    env = MacroAtariEnv("breakout", macros=macros, max_num_frames_per_episode=201)
    for _ in range(4):
        env.reset(seed=0)
        while not env.step(4)[3]:
            pass
    assert env._lives_foretell_end


def test_an_episode_played_again_ends_where_it_ended():
    """Whatever the emulator was doing meanwhile: it does not save which action it repeats."""
    env = MacroAtariEnv("breakout", 0)
    env.reset(seed=0)
    for left in range(60):
        env.step(3 if left % 2 else 2)
        env.reset()
        for _ in range(3):
            env.step(2 if left % 2 else 3)
        memory, observation = env.ale.getRAM(), env._frames.observation(env._emulator)
        frames = env._replay_episode()
        np.testing.assert_array_equal(env.ale.getRAM(), memory)
        np.testing.assert_array_equal(frames.observation(env._emulator), observation)


def test_memory_as_observation_equals_ale_pys_own():
    macros = random_macros("Breakout")
    stack = MacroAction(gym.make("ALE/Breakout-v5", obs_type="ram"), macros)
    env = gym.make("MacroALE/Breakout-v5", macros=macros, obs_type="ram")
    assert env.observation_space.shape == (128,)
    assert assert_same_play(stack, env, 500)


def test_memory_as_observation_ends_where_a_life_is_lost():
    env = gym.make(
        "MacroALE/Breakout-v5",
        macros=random_macros("Breakout"),
        obs_type="ram",
        terminal_on_life_loss=True,
    )
    whole = MacroAction(gym.make("ALE/Breakout-v5", obs_type="ram"), random_macros("Breakout"))
    rng = np.random.default_rng(0)
    _, info = env.reset(seed=0)
    whole.reset(seed=0)
    terminated = False
    while not terminated:
        lives = info["lives"]
        action = rng.integers(env.action_space.n)
        observation, _, terminated, _, info = env.step(action)
        if not terminated:
            np.testing.assert_array_equal(observation, whole.step(action)[0])
    assert info["lives"] == lives - 1 == 4


# Law 1


def test_macros_of_length_one_or_none_are_the_game_with_its_own_actions():
    for env in (
        gym.make("MacroALE/Breakout-v5", k=0),
        gym.make("MacroALE/Breakout-v5", macros=MacroSet(BREAKOUT, ((0,), (1,), (2,), (3,)))),
    ):
        bare = gym.make("ALE/Breakout-v5", frameskip=1)
        bare = FrameStackObservation(AtariPreprocessing(bare, noop_max=0), 4)
        rng = np.random.default_rng(0)
        np.testing.assert_array_equal(bare.reset(seed=1)[0], env.reset(seed=1)[0])
        for _ in range(300):
            action = rng.integers(env.action_space.n)
            one, other = bare.step(action % 4), env.step(action)
            np.testing.assert_array_equal(one[0], other[0])
            assert one[1:4] == other[1:4]
            assert other[4]["duration"] == 1
            if one[2]:
                np.testing.assert_array_equal(bare.reset()[0], env.reset()[0])


# The contract


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


def test_rewards_are_the_scores_of_the_game():
    """Law 9, against the emulator itself: Ms. Pac-Man pays 10 points for a dot."""
    macros = random_macros("MsPacman", (5, 5, 5))
    env = MacroAtariEnv("ms_pacman", macros=macros, repeat_action_probability=0.0)
    ale = ale_py.AtariEnv("ms_pacman", frameskip=1, repeat_action_probability=0.0)
    env.reset(seed=0)
    ale.reset(seed=0)
    rewards = []
    for action in (9, 10, 11) * 7:
        primitives = [p for p in macros.expand(action) for _ in range(4)]
        frames = [ale.step(primitive)[1] for primitive in primitives]
        _, reward, _, _, info = env.step(np.int64(action))
        assert reward == sum(frames)
        np.testing.assert_array_equal(info["primitive_rewards"], np.reshape(frames, (5, 4)).sum(1))
        rewards.append(reward)
    assert max(rewards) >= 10


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


def test_the_spec_rebuilds_the_environment():
    env = gym.make(
        "MacroALE/Breakout-v5", k=3, macros=random_macros("Breakout"), stack_size=2, noop_max=5
    )
    again = gym.make(env.spec)
    assert again.get_wrapper_attr("macro_set") == env.get_wrapper_attr("macro_set")
    assert_same_play(env, again, 30)


def test_both_environment_checkers_are_content():
    check_env(gym.make("MacroALE/Breakout-v5").unwrapped, skip_render_check=True)
    check_env_for_sb3(gym.make("MacroALE/Breakout-v5", k=5))
    check_env_for_sb3(gym.make("MacroALE/Breakout-v5", k=5, obs_type="ram"))


def test_keys_stand_for_the_primitives():
    assert MacroAtariEnv("breakout", 0).get_keys_to_action() == {
        ("e",): 0,
        (" ",): 1,
        ("d",): 2,
        ("a",): 3,
    }


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_vector_equals_its_environments(mode):
    settings = {"macros": random_macros("Breakout"), "max_num_frames_per_episode": 200}
    vector = gym.make_vec(
        "MacroALE/Breakout-v5",
        num_envs=3,
        vectorization_mode=mode,
        vector_kwargs={"autoreset_mode": gym.vector.AutoresetMode.SAME_STEP},
        **settings,
    )
    singles = [gym.make("MacroALE/Breakout-v5", **settings) for _ in range(3)]
    vector.reset(seed=11)
    for index, env in enumerate(singles):
        env.reset(seed=11 + index)
    rng = np.random.default_rng(0)
    for _ in range(30):
        actions = rng.integers(vector.single_action_space.n, size=3)
        observations, rewards, terminated, truncated, infos = vector.step(actions)
        for index, env in enumerate(singles):
            step = env.step(actions[index])
            done = step[2] or step[3]
            observation = env.reset()[0] if done else step[0]
            info = infos["final_info"] if done else infos
            np.testing.assert_array_equal(observations[index], observation)
            assert (rewards[index], terminated[index], truncated[index]) == step[1:4]
            for key in step[4]:
                np.testing.assert_array_equal(info[key][index], step[4][key])
    assert vector.get_attr("frameskip") == (4, 4, 4)
    vector.close()


# Rendering


def test_a_rendered_list_has_a_screen_for_every_primitive_since_it_was_taken():
    env = gym.make(
        "MacroALE/Breakout-v5", macros=random_macros("Breakout"), render_mode="rgb_array_list"
    )
    single = gym.make("MacroALE/Breakout-v5", k=0, render_mode="rgb_array")
    env.reset(seed=0)
    single.reset(seed=0)
    screens = [single.render()]
    for action in (9, 4, 11):
        for primitive in env.get_wrapper_attr("macro_set").expand(action):
            single.step(primitive)
            screens.append(single.render())
        env.step(action)
    assert np.shape(screens)[1:] == (210, 160, 3)
    np.testing.assert_array_equal(env.render(), screens)
    assert env.render() == []
    env.step(9)
    env.reset()
    assert len(env.render()) == 1


@pytest.mark.parametrize("render_mode", ["rgb_array", "rgb_array_list"])
def test_episodes_are_recorded(tmp_path, render_mode):
    env = gym.make(
        "MacroALE/Breakout-v5",
        macros=random_macros("Breakout"),
        render_mode=render_mode,
        max_num_frames_per_episode=200,
    )
    env = RecordEpisodeStatistics(
        RecordVideo(env, str(tmp_path / "videos"), episode_trigger=lambda _: True)
    )
    env.reset(seed=0)
    truncated, decisions, total = False, 0, 0.0
    while not truncated:
        _, reward, _, truncated, info = env.step(4 + decisions % 10)
        decisions, total = decisions + 1, total + reward
    env.close()
    assert info["episode"]["l"] == decisions
    assert info["episode"]["r"] == total
    assert [path.name for path in (tmp_path / "videos").iterdir()] == ["rl-video-episode-0.mp4"]


def test_a_video_of_a_rendered_list_shows_what_happens_inside_macros(tmp_path):
    from moviepy import VideoFileClip

    macros = MacroSet(BREAKOUT, ((3,) * 8,))
    env = gym.make("MacroALE/Breakout-v5", macros=macros, render_mode="rgb_array_list")
    env.reset(seed=0)
    for _ in range(4):
        env.step(4)
    save_video(env.render(), str(tmp_path), fps=env.metadata["render_fps"], episode_index=0)
    (path,) = tmp_path.iterdir()
    with VideoFileClip(str(path)) as video:
        assert video.n_frames == 1 + 4 * 8
        assert video.duration == pytest.approx(33 * 4 / 60, abs=0.1)


# Copies (law 5)


def play(env, actions):
    """Steps, with resets between episodes, as a list of arrays and numbers."""
    steps = []
    for action in actions:
        steps.append(env.step(action))
        if steps[-1][2] or steps[-1][3]:
            steps.append(env.reset())
    return steps


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
@pytest.mark.parametrize(
    ("game", "settings"),
    [
        ("Breakout", {}),
        ("Breakout", {"obs_type": "ram", "noop_max": 30}),
        ("Qbert", {"obs_type": "rgb", "render_mode": "rgb_array_list"}),
        ("Tetris", {"repeat_action_probability": 0.0, "terminal_on_life_loss": True}),
    ],
)
def test_copies_go_on_as_the_original_does(game, settings, duplicate):
    env = gym.make(f"MacroALE/{game}-v5", macros=random_macros(game), **settings)
    untouched = gym.make(f"MacroALE/{game}-v5", macros=random_macros(game), **settings)
    rng = np.random.default_rng(1)
    env.reset(seed=2)
    untouched.reset(seed=2)
    for length in (1, 40, 3, 67):
        actions = rng.integers(env.action_space.n, size=length)
        play(env, actions)
        play(untouched, actions)
        copied = duplicate(env)
        actions = rng.integers(env.action_space.n, size=59)
        for one, two, three in zip(
            *(play(other, actions) for other in (env, copied, untouched)), strict=True
        ):
            assert_same(one, two)
            assert_same(one, three)
        if env.render_mode:
            np.testing.assert_array_equal(env.render(), copied.render())


def test_copies_never_reset_are_like_new():
    env = MacroAtariEnv("breakout", 3)
    copied = copy.deepcopy(env)
    assert_same_play(env, copied, 20)


def test_a_pickle_goes_on_in_another_process_under_sb3s_wrappers(tmp_path):
    def make():
        return Monitor(gym.make("MacroALE/Breakout-v5", macros=random_macros("Breakout")))

    vector = DummyVecEnv([make, make])
    vector.seed(5)
    vector.reset()
    rng = np.random.default_rng(0)
    for _ in range(30):
        vector.step(rng.integers(14, size=2))
    (tmp_path / "envs").write_bytes(pickle.dumps(vector.envs))
    actions = rng.integers(14, size=(80, 2))
    expected = [vector.step(pair)[1].tolist() for pair in actions]
    code = f"""
import pickle
from stable_baselines3.common.vec_env import DummyVecEnv
envs = pickle.load(open({str(tmp_path / "envs")!r}, "rb"))
vector = DummyVecEnv([lambda env=env: env for env in envs])
print([vector.step(pair)[1].tolist() for pair in {actions.tolist()}])
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == str(expected), result.stderr
    assert sum(sum(pair) for pair in expected) > 0


def test_an_emulator_driven_behind_the_environments_back_is_not_copied_silently():
    env = MacroAtariEnv("breakout", 0)
    env.reset(seed=0)
    for _ in range(20):
        env.ale.act(1)
    content = pickle.dumps(env)
    with pytest.raises(RestoreError, match=r"episode of breakout .* driven directly"):
        pickle.loads(content)
