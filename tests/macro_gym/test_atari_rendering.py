"""MacroALE's screens and videos show what happens inside macros, too."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.save_video import save_video
from gymnasium.wrappers import RecordEpisodeStatistics, RecordVideo

from macro_gym import MacroSet
from macro_gym.atari import MacroAtariEnv
from tests.macro_gym.atari import BREAKOUT, random_macros


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


def test_a_person_who_watches_sees_no_frame_twice_when_a_game_ends_with_lives_to_spare(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setenv("SDL_AUDIODRIVER", "dummy")
    env = MacroAtariEnv("breakout", macros=MacroSet(BREAKOUT, ((3,) * 11,)), render_mode="human")
    env.reset(seed=0)
    emulator, act, shown = env._emulator, env.ale.act, []
    emulator.act = lambda code: shown.append(code) or act(code)
    emulator.over = emulator.terminated = lambda: len(shown) >= 59
    env.step(4)
    _, _, terminated, _, info = env.step(4)
    assert (terminated, info["duration"], info["lives"]) == (True, 4, 5)
    assert len(shown) == 59


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
