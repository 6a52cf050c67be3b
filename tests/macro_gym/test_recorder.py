"""Recording and replaying: what reached the environment, and what it pays again."""

import os
import threading
from dataclasses import replace
from pathlib import Path

import ale_py
import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

import macro_gym  # noqa: F401
from macro_gym import MacroAction, MacroSet
from macro_gym.demonstrations import (
    Demonstration,
    PlannerSettings,
    plan_episode,
    read_play,
    record,
    replay,
    store,
)
from macro_gym.demonstrations.recorder import recording
from macro_gym.demonstrations.replay import first_difference
from macro_gym.errors import ActionSpaceError, DemonstrationError, EnvironmentSettingError

gym.register_envs(ale_py)
NAMES = ("NOOP", "FIRE", "RIGHT", "LEFT")
MACROS = MacroSet(NAMES, ((2, 2, 2, 2, 2), (3, 3, 3), (1, 0, 3, 3, 2, 2, 2)))


class Log(gym.Wrapper):
    """What passes here, kept naively; ``info`` tells how a decision was made up."""

    def __init__(self, env):
        super().__init__(env)
        self.seen, self.steps = [], []

    def reset(self, **kwargs):
        observation, info = self.env.reset(**kwargs)
        self.seen.append(observation)
        return observation, info

    def step(self, action):
        result = self.env.step(action)
        self.seen.append(result[0])
        self.steps.append((int(action), float(result[1]), result[4]))
        return result


class Chain(gym.Env):
    """Five states in a row; actions are 2 (stay), 3 (on) and 4 (on twice)."""

    observation_space = spaces.Discrete(6)
    action_space = spaces.Discrete(3, start=2)

    def __init__(self, rate=1.5):
        self.rate = rate

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at = (options or {}).get("at", 0)
        return self.at, {}

    def step(self, action):
        self.at += int(action) - 2
        return min(self.at, 5), self.rate * self.at, self.at >= 5, False, {}


def random_policy(n, seed=3):
    rng = np.random.default_rng(seed)
    return lambda observation: int(rng.integers(n))


def macro_breakout(**kwargs):
    return gym.make("MacroALE/Breakout-v5", macros=MACROS, **kwargs)


def assert_replays(demonstration):
    rewards = replay(demonstration)
    assert rewards.dtype == demonstration.rewards.dtype == np.float32
    np.testing.assert_array_equal(rewards, demonstration.rewards)


def test_decisions_are_recorded_as_the_primitives_that_ran():
    log = Log(macro_breakout())
    played = record(log, random_policy(7), episodes=2, seed=11)
    expected = [
        (primitive, reward)
        for action, _, info in log.steps
        for primitive, reward in zip(
            MACROS.expand(action)[: info["duration"]], info["primitive_rewards"], strict=False
        )
    ]
    got = [pair for play in played for pair in zip(play.actions, play.rewards, strict=True)]
    assert got == expected
    assert len(log.steps) < len(expected)
    assert any(info["duration"] < len(MACROS.expand(a)) for a, _, info in log.steps)
    assert sum(play.score for play in played) > 0
    assert [play.primitives for play in played] == [NAMES, NAMES]
    assert [(play.game, play.frameskip) for play in played] == [("Breakout", 4)] * 2


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"frameskip": 3, "repeat_action_probability": 0.6, "noop_max": 31, "screen_size": (40, 42)},
        {"full_action_space": True, "terminal_on_life_loss": True, "mode": 4, "difficulty": 1},
    ],
)
def test_every_episode_replays_with_the_same_rewards(settings, tmp_path):
    env = macro_breakout(**settings)
    last = env.action_space.n - 4
    busy = random_policy(4)
    played = record(env, lambda seen: last + busy(seen), steps=700, seed=5)
    assert len(played) > 1
    assert sum(play.score for play in played) > 0
    for play in played:
        assert_replays(Demonstration.load(store(play, tmp_path)))


def test_what_is_recorded_is_what_reached_the_game_under_all_wrappers():
    pytest.importorskip("stable_baselines3")
    from stable_baselines3.common.atari_wrappers import AtariWrapper

    log = Log(gym.make("ALE/Breakout-v5", frameskip=1).unwrapped)
    clipped = Log(AtariWrapper(log))
    played = record(clipped, random_policy(4), episodes=2, seed=7)
    got = [pair for play in played for pair in zip(play.actions, play.rewards, strict=True)]
    assert got == [(action, reward) for action, reward, _ in log.steps[: len(got)]]
    # Lives end the agent's episodes, not the game's; no-ops at the start are steps of the game.
    assert sum(len(play.actions) for play in played) > 4 * len(clipped.steps)
    assert [play.frameskip for play in played] == [1, 1]
    for play in played:
        assert_replays(play)


def test_rewards_are_the_games_whatever_is_clipped_above():
    env = gym.wrappers.TransformReward(gym.make("CartPole-v1"), lambda reward: -7 * reward)
    [play] = record(env, random_policy(2), seed=1)
    assert set(play.rewards) == {1.0}
    assert play.settings["kwargs"] == {}


def test_macros_of_a_wrapper_are_recorded_as_primitives():
    env = MacroAction(gym.make("CartPole-v1"), MacroSet(("L", "R"), ((0, 1, 0), (1, 1))))
    log = Log(env)
    [play] = record(log, random_policy(4), steps=40, episodes=1, seed=2)
    assert len(play.actions) == sum(info["duration"] for _, _, info in log.steps)
    assert play.primitives == ("0", "1")
    assert_replays(play)


def test_recording_changes_nothing_for_the_player_and_leaves_no_trace():
    plain, recorded = Log(macro_breakout()), Log(macro_breakout())
    wrappers = str(recorded)
    policy = random_policy(7)
    plain.reset(seed=13)
    for _ in range(41):
        _, _, terminated, truncated, _ = plain.step(policy(None))
        assert not terminated
        assert not truncated
    record(recorded, random_policy(7), steps=sum(s[2]["duration"] for s in plain.steps), seed=13)
    np.testing.assert_array_equal(plain.seen, recorded.seen)
    assert str(recorded) == wrappers


def test_seeds_count_up_from_the_first_and_empty_episodes_take_none():
    played = record(gym.make("CartPole-v1"), random_policy(2), episodes=3, seed=17)
    assert [play.settings["seed"] for play in played] == [17, 18, 19]
    kept = []
    with recording(gym.make("CartPole-v1"), kept.append, seed=5) as (env, recorder):
        env.reset()
        env.reset()
        env.step(0)
        env.reset()
        env.step(1)
        env.reset(seed=2, options={"low": -0.01, "high": 0.02})
        env.step(1)
        assert recorder.steps == 3
    assert [play.settings["seed"] for play in kept] == [5, 6, 2]
    assert kept[2].settings["options"] == {"low": -0.01, "high": 0.02}
    assert "options" not in kept[0].settings


def test_an_unwrapped_environment_is_recorded_as_well():
    env = Chain()
    [play] = record(env, lambda at: 4 if at == 2 else 3)
    assert play.actions.tolist() == [1, 1, 2, 1]
    assert play.rewards.tolist() == [1.5, 3, 6, 7.5]
    assert (play.game, play.frameskip, play.settings) == ("", 0, {"seed": 0})
    np.testing.assert_array_equal(replay(play, Chain()), play.rewards)


def test_environments_that_cannot_be_drawn_replay():
    gym.register("Undrawn-v0", entry_point=Chain)
    [play] = record(gym.make("Undrawn-v0", rate=0.5), lambda at: 3 if at % 2 else 4)
    assert_replays(play)


def test_a_file_opens_no_window():
    play = Demonstration(("0", "1"), np.zeros(3, np.uint8), settings={"id": "CartPole-v1"})
    loud = {**play.settings, "kwargs": {"render_mode": "loud"}}
    np.testing.assert_array_equal(replay(replace(play, settings=loud)), replay(play))


def test_steps_end_within_an_episode_and_decisions_are_played_out():
    env = macro_breakout()
    [play] = record(env, lambda observation: 6, steps=15)
    assert play.actions.tolist() == [1, 0, 3, 3, 2, 2, 2] * 3
    played = record(gym.make("CartPole-v1"), lambda observation: 0, steps=31, episodes=50)
    assert sum(len(play.actions) for play in played) == 31
    assert len(played) > 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_what_was_played_before_an_interruption_is_handed_on(error):
    left, kept = iter(range(13)), []

    def policy(observation):
        if next(left, None) is None:
            raise error
        return 1

    env = gym.make("ALE/Pong-v5")
    with pytest.raises(error):
        record(env, policy, on_episode=kept.append, seed=3)
    assert [play.actions.tolist() for play in kept] == [[1] * 13]
    assert_replays(kept[0])
    env.reset()  # It works on, and is recorded no more.
    env.step(0)
    assert len(kept) == 1


class Recurrent:
    """A model that counts the steps of an episode as its state, and plays them."""

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        assert episode_start.shape == (1,)
        assert deterministic
        count = 0 if state is None or episode_start[0] else state
        return np.array(3 if count % 3 == 1 else 2), count + 1


def test_a_models_state_goes_on_within_an_episode_and_starts_anew_with_the_next():
    played = record(Chain(), Recurrent(), episodes=2, steps=40, deterministic=True)
    # 2 stays, 3 goes on: fourteen steps to state 5, not a multiple of the three that repeat.
    assert [play.actions.tolist() for play in played] == [[0, 1, 0] * 4 + [0, 1]] * 2


def test_recordings_are_read_by_the_reader_of_plain_files(tmp_path):
    saved = record(macro_breakout(), random_policy(7), episodes=2, source="a test")
    paths = [store(play, tmp_path) for play in saved]
    assert [path.name for path in paths] == ["Breakout-0.npz", "Breakout-1.npz"]
    for read, play in zip(read_play(tmp_path), saved, strict=True):
        np.testing.assert_array_equal(read.actions, play.actions)
        np.testing.assert_array_equal(read.rewards, play.rewards)
        assert (read.source, read.settings) == ("a test", play.settings)


def short(game="Pong"):
    return Demonstration(NAMES, np.array([1, 2, 3], np.uint8), np.zeros(3, np.float32), game, 4)


def test_files_are_numbered_after_those_that_are_there(tmp_path):
    assert store(short(""), tmp_path / "new").name == "play-0.npz"
    (tmp_path / "Pong-9.npz").write_bytes(b"mine")
    (tmp_path / "Pong-x-70.npz").write_bytes(b"other")
    assert store(short(), tmp_path).name == "Pong-10.npz"
    assert (tmp_path / "Pong-9.npz").read_bytes() == b"mine"


def test_several_at_once_write_different_files(tmp_path):
    go = threading.Barrier(7)
    paths = []

    def run():
        go.wait()
        paths.extend(store(short(), tmp_path) for _ in range(11))

    threads = [threading.Thread(target=run) for _ in range(7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(paths)) == 77
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    for path in paths:
        Demonstration.load(path)


def test_files_are_stored_where_there_are_no_hard_links(tmp_path, monkeypatch):
    def refuse(whole, path):
        raise PermissionError("no links on exFAT")

    monkeypatch.setattr(os, "link", refuse)
    play = Demonstration(("NOOP",), np.array([0, 0], np.uint8), None, "Pong")
    stored = [store(play, tmp_path) for _ in range(3)]
    assert [path.name for path in stored] == ["Pong-0.npz", "Pong-1.npz", "Pong-2.npz"]
    assert sorted(tmp_path.iterdir()) == stored
    assert all(len(Demonstration.load(path).actions) == 2 for path in stored)
    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(PermissionError):
        store(play, tmp_path)
    assert sorted(tmp_path.iterdir()) == stored


def test_an_interrupted_store_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(self, path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(Demonstration, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store(short(), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("amounts", "problem"),
    [
        ({"episodes": 0}, "episodes is 0; it must be at least 1"),
        ({"steps": -3}, "steps is -3; it must be at least 1"),
        ({"seed": -1}, "seed is -1; it must be at least 0"),
    ],
)
def test_amounts_out_of_range_are_refused(amounts, problem):
    with pytest.raises(DemonstrationError, match=problem):
        record(Chain(), random_policy(1), **amounts)


def test_what_no_file_could_hold_is_refused_before_anything_is_played():
    with pytest.raises(ActionSpaceError, match=r"are Box\(.*made of discrete ones"):
        record(gym.make("Pendulum-v1"), random_policy(1))
    gym.register("Chain-v0", entry_point=Chain)
    with pytest.raises(DemonstrationError, match="which a file cannot hold as JSON"):
        record(gym.make("Chain-v0", rate=np.ones(3)), random_policy(1))


@pytest.mark.parametrize("game", ["breakout", "space_invaders"])
def test_the_planners_play_replays_though_it_says_nothing_of_settings(game):
    play = replace(plan_episode(game, PlannerSettings(steps=90), seed=13), settings={})
    assert play.score > 0
    assert_replays(play)


def test_the_planners_play_replays_with_sticky_actions_as_it_says():
    settings = PlannerSettings(steps=60, repeat_action_probability=0.5)
    play = plan_episode("space_invaders", settings, seed=13)
    assert play.score > 0
    assert_replays(play)


def test_replaying_with_other_settings_is_noticed():
    [play] = record(macro_breakout(), random_policy(7), seed=5)
    other = replace(play, settings={**play.settings, "seed": 6})
    assert first_difference(play.rewards, replay(play)) is None
    assert first_difference(other.rewards, replay(other)) is not None


def test_a_replay_stops_where_the_game_is_over():
    actions = np.ones(9, np.uint8)
    play = Demonstration(("2", "3", "4"), actions, np.arange(1, 10, dtype=np.float32))
    rewards = replay(play, Chain(rate=1))
    assert rewards.tolist() == [1, 2, 3, 4, 5]
    assert first_difference(play.rewards, rewards) == 5
    assert first_difference(rewards, play.rewards) == 5


@pytest.mark.parametrize(("recorded", "replayed", "step"), [([0, 2], [0, 3], 1), ([], [], None)])
def test_the_first_step_that_differs_is_told(recorded, replayed, step):
    assert first_difference(np.float32(recorded), np.float32(replayed)) == step


def test_the_screens_are_those_of_the_start_and_after_every_step():
    [play] = record(gym.make("ALE/Breakout-v5"), random_policy(4), steps=23, seed=4)
    screens = []
    replay(play, on_screen=screens.append)
    env = gym.make("ALE/Breakout-v5", obs_type="rgb")
    expected = [env.reset(seed=4)[0]] + [env.step(action)[0] for action in play.actions]
    np.testing.assert_array_equal(screens, expected)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"game": "Chess"}, "this play, of game 'Chess' and 4 frames a step, does not say how"),
        ({"game": ""}, "this play, of game '' and 4 frames"),
        ({"frameskip": 0}, "an unknown number of frames a step"),
        ({"primitives": ("A", "B", "C", "D")}, "does not say how to play it again"),
        ({"settings": {"id": "os:CartPole-v1"}}, "settings name no environment: id 'os:"),
        ({"settings": {"id": "CartPole-v1", "kwargs": 3}}, "settings name no environment"),
        ({"settings": {"id": "CartPole-v1"}}, "actions that .* lacks: FIRE, LEFT, RIGHT"),
        ({"settings": {"id": "ALE/Pong-v5"}, "frameskip": 3}, "has 3 frames, but one of .* has 4"),
    ],
)
def test_what_cannot_be_replayed_is_refused(changes, problem):
    fields = {"primitives": NAMES, "actions": np.array([1, 2, 3], np.uint8), "game": "Pong"}
    with pytest.raises(DemonstrationError, match=problem):
        replay(Demonstration(**(fields | {"frameskip": 4} | changes)))


@pytest.mark.parametrize(
    "settings",
    [{"id": "Chess-v0"}, {"id": "CartPole-v1", "kwargs": {"render_mode": "loud", "colour": 7}}],
)
def test_settings_of_no_environment_are_refused(settings):
    play = Demonstration(("0", "1"), np.zeros(3, np.uint8), settings=settings)
    with pytest.raises(EnvironmentSettingError, match=r"-v\d cannot be made with"):
        replay(play)


def test_an_environment_without_pictures_cannot_be_filmed():
    play = Demonstration(("2", "3", "4"), np.zeros(3, np.uint8))
    env = Chain()
    env.render = lambda: None
    with pytest.raises(DemonstrationError, match="draws no picture"):
        replay(play, env, on_screen=lambda screen: None)
