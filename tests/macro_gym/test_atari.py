"""MacroALE: it is Gymnasium's own stack with macros (laws 1, 2, 9, 10)."""

import ale_py
import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation
from stable_baselines3.common.env_checker import check_env as check_env_for_sb3

from macro_gym import MacroAction, MacroSet
from macro_gym.atari import MacroAtariEnv
from tests.macro_gym.atari import BREAKOUT, assert_same, assert_same_play, random_macros


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


def test_waiting_for_a_game_to_start_presses_nothing_also_where_that_is_no_action():
    env = MacroAtariEnv("backgammon", k=0, noop_max=30, repeat_action_probability=0.9)
    assert "NOOP" not in env.get_action_meanings()
    ale = env.ale
    pressed = []
    env._emulator.act = lambda code: pressed.append(code) or ale.act(code)
    for seed in range(5):
        env.reset(seed=seed)
    assert set(pressed) == {ale_py.Action.NOOP.value}
    assert len(pressed) > 30


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
