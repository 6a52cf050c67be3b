"""MacroAction: laws 1, 3, 9 and 10 on any Discrete environment."""

import copy
import pickle

import ale_py
import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import (
    AtariPreprocessing,
    FrameStackObservation,
    MaxAndSkipObservation,
    RecordEpisodeStatistics,
    TransformAction,
    TransformObservation,
)
from gymnasium.wrappers.vector import RecordEpisodeStatistics as RecordVectorStatistics
from stable_baselines3.common.atari_wrappers import MaxAndSkipEnv
from stable_baselines3.common.env_checker import check_env as check_env_for_sb3

from macro_gym import MacroAction, MacroSet, Provenance
from macro_gym.errors import ActionSpaceError, ArgumentTypeError, FrameSkipError, RemapError
from macro_gym.frames import frames_per_step
from macro_gym.macro_action import decision_info

gym.register_envs(ale_py)

CARTPOLE = ("LEFT", "RIGHT")
BREAKOUT = ("NOOP", "FIRE", "RIGHT", "LEFT")
PUSHES = MacroSet(CARTPOLE, ((0, 1, 0), (1,) * 40, (1, 0), (0,)))


def same_step(one, other):
    np.testing.assert_array_equal(one[0], other[0])
    assert one[1:-1] == other[1:-1]


def atari(**settings):
    env = gym.make("ALE/Breakout-v5", frameskip=1, **settings)
    return FrameStackObservation(AtariPreprocessing(env, noop_max=0), 4)


# Law 1


@pytest.mark.parametrize("make", [lambda: gym.make("CartPole-v1"), atari])
@pytest.mark.parametrize("n_macros", [0, 2])
def test_macros_of_length_one_or_none_are_the_wrapped_environment(make, n_macros):
    bare, env = make(), make()
    n = int(bare.action_space.n)
    names = BREAKOUT if n == 4 else CARTPOLE
    env = MacroAction(env, MacroSet(names, tuple((p,) for p in range(n))[:n_macros]))
    assert env.action_space == gym.spaces.Discrete(n + n_macros)
    rng = np.random.default_rng(1)
    np.testing.assert_array_equal(bare.reset(seed=5)[0], env.reset(seed=5)[0])
    episodes = 0
    for _ in range(700):
        action = rng.integers(n + n_macros)
        one, other = bare.step(action % n), env.step(action)
        same_step(one, other)
        assert other[4]["duration"] == 1
        np.testing.assert_array_equal(other[4]["primitive_rewards"], np.float32([one[1]]))
        assert {key: other[4][key] for key in one[4]} == one[4]
        if one[2] or one[3]:
            episodes += 1
            np.testing.assert_array_equal(bare.reset()[0], env.reset()[0])
    assert episodes > 2


# Law 3


@pytest.mark.parametrize("limit", [None, 17])
def test_a_macro_is_its_primitives_up_to_the_end_of_the_episode(limit):
    """Against a naive loop; the limit ends episodes by truncation."""
    bare = gym.make("CartPole-v1", max_episode_steps=limit)
    env = MacroAction(gym.make("CartPole-v1", max_episode_steps=limit), PUSHES)
    rng = np.random.default_rng(2)
    bare.reset(seed=3)
    env.reset(seed=3)
    cut_short = truncations = 0
    for _ in range(300):
        action = int(rng.integers(env.action_space.n))
        steps = []
        for primitive in PUSHES.expand(action):
            steps.append(bare.step(primitive))
            if steps[-1][2] or steps[-1][3]:
                break
        observation, reward, terminated, truncated, info = env.step(action)
        np.testing.assert_array_equal(observation, steps[-1][0])
        assert (terminated, truncated) == steps[-1][2:4]
        assert reward == sum(step[1] for step in steps)
        assert info["duration"] == len(steps)
        assert type(info["duration"]) is int
        assert info["primitive_rewards"].dtype == np.float32
        assert info["primitive_rewards"].tolist() == [1.0] * len(steps) + [0.0] * (40 - len(steps))
        if terminated or truncated:
            cut_short += len(steps) < len(PUSHES.expand(action))
            truncations += truncated
            np.testing.assert_array_equal(bare.reset()[0], env.reset()[0])
    assert cut_short > 5
    assert (truncations > 5) == (limit == 17)


def test_decision_info_by_hand():
    info = decision_info([1.0, -2.0], 5)
    assert info["duration"] == 2
    assert info["primitive_rewards"].tolist() == [1, -2, 0, 0, 0]


# Law 9


def test_rewards_are_the_scores_of_the_game():
    names = tuple(gym.make("ALE/MsPacman-v5").unwrapped.get_action_meanings())
    hold = MacroSet(names, tuple((p,) * 5 for p in range(len(names))))
    env = MacroAction(gym.make("ALE/MsPacman-v5", obs_type="ram"), hold)
    ale = gym.make("ALE/MsPacman-v5", obs_type="ram").unwrapped
    env.reset(seed=0)
    ale.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(30):
        action = int(rng.integers(len(names), env.action_space.n))
        score = sum(ale.step(action - len(names))[1] for _ in range(5))
        assert env.step(action)[1] == score
    assert ale.ale.getEpisodeFrameNumber() == 30 * 5 * 4


# Law 10


@pytest.mark.parametrize(
    ("make", "frames"),
    [
        (lambda: gym.make("CartPole-v1"), 0),
        (lambda: gym.make("ALE/Breakout-v5"), 4),
        (lambda: gym.make("ALE/Breakout-v5", frameskip=1), 1),
        (lambda: gym.make("BreakoutNoFrameskip-v4"), 1),
        (atari, 4),
        (lambda: MaxAndSkipEnv(gym.make("BreakoutNoFrameskip-v4"), 3), 3),
        (lambda: MaxAndSkipObservation(gym.make("BreakoutNoFrameskip-v4"), 5), 5),
        (lambda: AtariPreprocessing(gym.make("ALE/Breakout-v5"), frame_skip=1), 4),
        (lambda: MaxAndSkipObservation(gym.make("CartPole-v1"), 2), 2),
    ],
)
def test_frames_per_step_are_counted_wherever_they_are_skipped(make, frames):
    assert frames_per_step(make()) == frames


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: MaxAndSkipEnv(gym.make("ALE/Breakout-v5"), 4),
            "MaxAndSkipEnv skips 4 and AtariEnv skips 4 frames: together 16 frames a step",
        ),
        (
            lambda: MaxAndSkipObservation(gym.make("ALE/Breakout-v5", frameskip=3), 5),
            "MaxAndSkipObservation skips 5 and AtariEnv skips 3 frames: together 15",
        ),
        (
            lambda: MaxAndSkipEnv(atari(), 2),
            "MaxAndSkipEnv skips 2 and AtariPreprocessing skips 4 frames: together 8",
        ),
        (lambda: gym.make("Breakout-v4"), r"AtariEnv skips \(2, 5\) frames, a random number"),
    ],
)
def test_skipping_twice_or_at_random_is_refused(make, message):
    env = make()
    with pytest.raises(FrameSkipError, match=message):
        frames_per_step(env)
    with pytest.raises(FrameSkipError, match=message):
        MacroAction(env, MacroSet(BREAKOUT))


@pytest.mark.parametrize(("mined", "used"), [(4, 1), (3, 4)])
def test_macros_mined_at_another_frame_skip_are_used_with_a_warning(mined, used):
    macros = MacroSet(BREAKOUT, ((1, 1),), provenance=Provenance(frameskip=mined))
    env = gym.make("ALE/Breakout-v5", frameskip=used)
    with pytest.warns(UserWarning, match=f"mined at {mined} frames .* used at {used}"):
        assert MacroAction(env, macros).frameskip == used


def test_macros_of_the_same_or_no_frame_skip_are_used_in_silence():
    for mined, env_id in [(4, "ALE/Breakout-v5"), (0, "ALE/Breakout-v5")]:
        macros = MacroSet(BREAKOUT, ((1, 1),), provenance=Provenance(frameskip=mined))
        MacroAction(gym.make(env_id), macros)
    MacroAction(
        gym.make("CartPole-v1"), MacroSet(CARTPOLE, ((1, 1),), provenance=Provenance(frameskip=4))
    )


# Fitting a set to an environment


def test_macros_are_matched_to_the_environments_actions_by_name():
    full = tuple(
        gym.make("ALE/Breakout-v5", full_action_space=True).unwrapped.get_action_meanings()
    )
    macros = MacroSet(full, ((full.index("LEFT"), full.index("NOOP")),))
    env = MacroAction(gym.make("ALE/Breakout-v5"), macros)
    assert env.get_action_meanings() == [*BREAKOUT, "LEFT,NOOP"]
    assert env.macro_set.expand(4) == (3, 0)
    assert env.action_space.n == 5


def test_macros_that_need_an_action_the_environment_lacks_are_refused():
    macros = MacroSet(("NOOP", "UP"), ((1, 1),))
    with pytest.raises(RemapError, match="1 of 1 macros need UP"):
        MacroAction(gym.make("ALE/Breakout-v5"), macros)


def test_a_set_of_another_size_than_nameless_actions_is_refused():
    with pytest.raises(ActionSpaceError, match=r"4 primitives \(NOOP, .*\), but .* has 2 actions"):
        MacroAction(gym.make("CartPole-v1"), MacroSet(BREAKOUT))


@pytest.mark.parametrize(
    "make",
    [
        lambda: gym.make("Pendulum-v1"),
        lambda: TransformAction(
            gym.make("CartPole-v1"), lambda action: action - 1, gym.spaces.Discrete(2, start=1)
        ),
    ],
)
def test_actions_that_are_not_discrete_from_zero_are_refused(make):
    with pytest.raises(ActionSpaceError, match="but macros need Discrete actions that start at 0"):
        MacroAction(make(), MacroSet(CARTPOLE))


@pytest.mark.parametrize(
    "make",
    [
        lambda: gym.make("MacroALE/Breakout-v5", k=0),
        lambda: TransformObservation(
            MacroAction(gym.make("CartPole-v1"), PUSHES), lambda seen: seen, None
        ),
    ],
)
def test_macros_of_macros_are_refused(make):
    env = make()
    with pytest.raises(ActionSpaceError, match="has a macro_set already"):
        MacroAction(env, env.get_wrapper_attr("macro_set"))


# Gymnasium's and Stable-Baselines3's contracts


@pytest.mark.parametrize("action", [1.9, -0.9, np.float64(1.9), np.array(1.9)])
@pytest.mark.parametrize(
    "make",
    [
        lambda: MacroAction(gym.make("CartPole-v1"), PUSHES),
        lambda: gym.make("MacroALE/Breakout-v5", k=0),
    ],
)
def test_fractional_actions_are_refused_before_anything_is_run(make, action):
    env, fresh = make(), make()
    env.reset(seed=3)
    fresh.reset(seed=3)
    with pytest.raises(ArgumentTypeError, match=r"action is .*\.9\)?; it must be an integer"):
        env.step(action)
    same_step(env.step(np.array(2)), fresh.step(2))


def test_the_spec_rebuilds_the_environment():
    env = MacroAction(gym.make("CartPole-v1"), PUSHES)
    again = gym.make(env.spec)
    assert again.get_wrapper_attr("macro_set") == PUSHES
    env.reset(seed=7)
    again.reset(seed=7)
    for action in (2, 4, 3):
        same_step(env.step(action), again.step(action))


def test_both_environment_checkers_are_content():
    bricks = MacroSet(BREAKOUT, ((3, 3, 2), (1,)))
    # It says this of every wrapper; any other warning is an error.
    with pytest.warns(UserWarning, match="most likely has a wrapper applied to it"):
        check_env(
            MacroAction(gym.make("ALE/Breakout-v5").unwrapped, bricks), skip_render_check=True
        )
    check_env_for_sb3(MacroAction(gym.make("CartPole-v1"), PUSHES))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_copies_go_on_as_the_original_does(duplicate):
    env = MacroAction(gym.make("CartPole-v1"), PUSHES)
    env.reset(seed=1)
    env.step(2)
    other = duplicate(env)
    for action in (0, 1, 4, 2):
        same_step(env.step(action), other.step(action))


def test_episode_statistics_count_true_returns():
    env = RecordEpisodeStatistics(MacroAction(gym.make("CartPole-v1"), PUSHES))
    env.reset(seed=1)
    total, done = 0.0, False
    while not done:
        *_, info = step = env.step(3)
        total, done = total + step[1], step[2] or step[3]
    assert info["episode"]["r"] == total > 1


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_vector_of_macro_environments_equals_its_environments(mode):
    """Law 4, with Gymnasium's own vectors; info's arrays stack."""
    vectors = {"sync": gym.vector.SyncVectorEnv, "async": gym.vector.AsyncVectorEnv}
    make = lambda: MacroAction(gym.make("CartPole-v1"), PUSHES)  # noqa: E731
    vector = RecordVectorStatistics(
        vectors[mode]([make] * 3, autoreset_mode=gym.vector.AutoresetMode.SAME_STEP)
    )
    singles = [make() for _ in range(3)]
    vector.reset(seed=11)
    for index, env in enumerate(singles):
        env.reset(seed=11 + index)
    rng = np.random.default_rng(0)
    for _ in range(60):
        actions = rng.integers(6, size=3)
        observations, rewards, terminated, truncated, infos = vector.step(actions)
        final = infos.get("final_info", {})
        for index, env in enumerate(singles):
            step = env.step(actions[index])
            done = step[2] or step[3]
            observation = env.reset()[0] if done else step[0]
            info = final if done else infos
            np.testing.assert_array_equal(observations[index], observation)
            assert (rewards[index], terminated[index], truncated[index]) == step[1:4]
            assert info["duration"][index] == step[4]["duration"]
            np.testing.assert_array_equal(
                info["primitive_rewards"][index], step[4]["primitive_rewards"]
            )
    vector.close()
