"""Gymnasium's vector environments under SB3's learners and ours."""

from dataclasses import replace
from functools import partial

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from ale_py.vector_env import AtariVectorEnv
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

import macro_gym  # noqa: F401
from macro_gym.errors import (
    CheckpointError,
    EnvironmentAccessError,
    FrameSkipError,
    MacroSetMismatchError,
    UnknownGameError,
    VectorEnvError,
)
from sb3_masp import MASPDQN, GymnasiumVecEnv, make_macro_vec_env, run
from sb3_masp.callbacks import _frames_per_step
from sb3_masp.checkpoint import load_checkpoint, save_checkpoint
from sb3_masp.environments import macro_set_of, pays_game_scores, require_no_skip_outside
from tests.sb3_masp.learners import LEARNERS, MACROS, small
from tests.sb3_masp.poles import BREAKOUT, DictCartPole, macro_cartpole, same_weights

MODES = list(AutoresetMode)


def pole(limit=8):
    """Macro environments whose episodes end by falling and by time, both often."""
    return gym.wrappers.TimeLimit(macro_cartpole(MACROS), limit)


def dict_pole():
    return DictCartPole(pole())


def adapted(make=pole, n_envs=3, mode=AutoresetMode.SAME_STEP, kind=SyncVectorEnv, **kwargs):
    return GymnasiumVecEnv(kind([make] * n_envs, autoreset_mode=mode, **kwargs))


def steps(env, actions):
    """Enough of them for episodes to end."""
    for _ in range(50):
        env.step(np.array(actions))


def plays_the_same(first, second, decisions, seed=3):
    """Whether two environments of SB3 say the same of the same actions, infos included."""
    rng = np.random.default_rng(seed)
    for env in (first, second):
        env.seed(seed)
    np.testing.assert_equal(first.reset(), second.reset())
    assert first.reset_infos == second.reset_infos
    ends = 0
    for _ in range(decisions):
        actions = rng.integers(first.action_space.n, size=first.num_envs)
        left, right = first.step(actions), second.step(actions)
        np.testing.assert_equal(left, right)
        assert left[1].dtype == right[1].dtype == np.float32
        np.testing.assert_equal(first.reset_infos, second.reset_infos)
        ends += left[2].sum()
    assert ends > 2 * first.num_envs
    return True


@pytest.mark.parametrize("make", [pole, dict_pole])
@pytest.mark.parametrize("mode", MODES)
def test_what_it_returns_is_what_dummy_vec_env_of_the_same_environments_does(make, mode):
    assert plays_the_same(adapted(make, 5, mode), DummyVecEnv([make] * 5), 67)


@pytest.mark.parametrize("mode", MODES)
def test_environments_in_other_processes_do_the_same(mode):
    env = adapted(kind=AsyncVectorEnv, mode=mode)
    assert plays_the_same(env, DummyVecEnv([pole] * 3), 43)
    env.close()


@pytest.mark.parametrize("mode", MODES)
def test_observations_in_reused_memory_are_not_overwritten(mode):
    env = adapted(mode=mode, copy=False)
    seen, copies = [env.reset()], []
    for _ in range(29):
        copies.append(seen[-1].copy())
        seen.append(env.step(np.array([0, 3, 4]))[0])
    np.testing.assert_equal(seen[:-1], copies)
    assert plays_the_same(adapted(mode=mode, copy=False), DummyVecEnv([pole] * 3), 43)


@pytest.mark.parametrize("mode", MODES)
def test_statistics_of_gymnasiums_wrapper_are_those_of_sb3s(mode):
    recorded = RecordEpisodeStatistics(SyncVectorEnv([pole] * 3, autoreset_mode=mode))
    theirs = VecMonitor(DummyVecEnv([pole] * 3))
    counted = [GymnasiumVecEnv(recorded), VecMonitor(adapted(mode=mode)), theirs]
    for env in counted:
        env.seed(1)
        env.reset()
    episodes = []
    for _ in range(50):
        found = [[info.get("episode") for info in env.step(np.array([0, 3, 4]))[3]]
                 for env in counted]  # fmt: skip
        for of_one in zip(*found, strict=True):
            assert len({episode and (episode["r"], episode["l"]) for episode in of_one}) == 1
            episodes += [of_one[0]] if of_one[0] else []
    assert len(episodes) > 9


def test_a_monitor_inside_the_vector_is_heard():
    env = adapted(lambda: Monitor(pole()))
    env.reset()
    infos = [info for _ in range(20) for info in env.step(np.array([2, 3, 4]))[3]]
    ends = [info for info in infos if "terminal_observation" in info]
    assert ends
    assert all(info["episode"]["l"] >= 1 for info in ends)
    assert env.env_is_wrapped(Monitor) == [True] * 3


# Learners


def learned(algorithm, env, **kwargs):
    settings = {"seed": 3, "device": "cpu", "policy_kwargs": {"net_arch": [11]}}
    return algorithm("MlpPolicy", env, **settings | kwargs).learn(140)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("algorithm", "kwargs"),
    [
        (PPO, {"n_steps": 17, "batch_size": 17, "n_epochs": 2}),
        (DQN, {"learning_starts": 23, "buffer_size": 100, "train_freq": 2}),
    ],
    ids=["ppo", "dqn"],
)
def test_sb3s_learners_learn_the_same_weights_as_from_dummy_vec_env(algorithm, kwargs, mode):
    ours = learned(algorithm, adapted(mode=mode), **kwargs)
    theirs = learned(algorithm, DummyVecEnv([pole] * 3), **kwargs)
    assert ours._n_updates == theirs._n_updates > 3
    assert same_weights(ours, theirs)


@pytest.mark.parametrize("learner", LEARNERS, ids=lambda learner: learner.__name__)
def test_our_learners_learn_the_same_weights_as_from_dummy_vec_env(learner):
    kwargs = {"n_steps": 2, "prioritized_replay": True}
    ours = small(learner, VecMonitor(adapted()), **kwargs).learn(150)
    theirs = small(learner, VecMonitor(DummyVecEnv([pole] * 3)), **kwargs).learn(150)
    assert ours._n_updates == theirs._n_updates > 10
    assert same_weights(ours, theirs)
    assert ours.macro_set == MACROS
    buffers = ours.replay_buffer, theirs.replay_buffer
    np.testing.assert_array_equal(*(buffer.durations for buffer in buffers))
    np.testing.assert_array_equal(*(buffer.timeouts for buffer in buffers))
    assert 0 < buffers[0].timeouts.sum() < buffers[0].dones.sum()


def test_dict_observations_are_learned_from():
    ours, theirs = (
        small(MASPDQN, env, "MultiInputPolicy").learn(90)
        for env in (adapted(dict_pole), DummyVecEnv([dict_pole] * 3))
    )
    assert same_weights(ours, theirs)


def test_evaluation_takes_recorded_statistics_for_a_monitor():
    env = GymnasiumVecEnv(RecordEpisodeStatistics(SyncVectorEnv([pole] * 2)))
    model = small(MASPDQN, env)
    returns, lengths = evaluate_policy(model, env, 4, return_episode_rewards=True)
    assert len(returns) == 4
    assert all(1 <= length <= 8 for length in lengths)
    assert adapted().env_is_wrapped(Monitor) == [False] * 3


# Asking and telling single environments


@pytest.mark.parametrize("kind", [SyncVectorEnv, AsyncVectorEnv])
def test_single_environments_can_be_asked_and_told(kind):
    env = adapted(kind=kind)
    assert env.get_attr("macro_set", 1) == [MACROS]
    assert macro_set_of(env) == macro_set_of(VecMonitor(env)) == MACROS
    others = replace(MACROS, macros=MACROS.macros[::-1])
    mixed = DummyVecEnv([macro_cartpole, macro_cartpole, lambda: macro_cartpole(others)])
    with pytest.raises(MacroSetMismatchError, match=r"environment 0 .*, and environment 2 has"):
        macro_set_of(mixed)
    assert env.get_attr("spec", [0, 2])[1].id == "CartPole-v1"
    assert not pays_game_scores(env)
    assert not env.has_attr("nothing")
    with pytest.raises(EnvironmentAccessError, match="nor its environments have 'nothing'"):
        env.get_attr("nothing")
    env.set_attr("gravity", 5.0, indices=[1])
    assert env.get_attr("gravity") == [9.8, 5.0, 9.8]
    env.set_attr("gravity", 7.0)
    assert env.get_attr("gravity") == [7.0, 7.0, 7.0]
    assert env.env_method("has_wrapper_attr", "gravity") == [True] * 3
    env.close()


def test_a_method_of_some_environments_is_refused_where_all_would_be_called():
    env = adapted(kind=AsyncVectorEnv)
    with pytest.raises(
        EnvironmentAccessError, match=r"in all environments only, not in \[2\] of 3"
    ):
        env.env_method("get_wrapper_attr", "gravity", indices=2)
    env.close()
    assert adapted().env_method("get_wrapper_attr", "gravity", indices=2) == [9.8]


def test_a_vector_without_single_environments_says_what_it_is_and_refuses_the_rest():
    env = GymnasiumVecEnv(gym.make_vec("CartPole-v1", 3, "vector_entry_point"))
    assert env.get_attr("gravity", [0, 1]) == [9.8, 9.8]
    assert env.get_attr("action_space") == [env.action_space] * 3
    assert env.env_is_wrapped(Monitor) == [False] * 3
    with pytest.raises(EnvironmentAccessError, match=r"cannot set 'gravity': .* no access to its"):
        env.set_attr("gravity", 5.0)
    with pytest.raises(EnvironmentAccessError, match=r"cannot call 'render': .* no access to its"):
        env.env_method("render")


def test_wrappers_that_would_skip_twice_are_seen_through_it():
    class Skipping(gym.Wrapper):
        _skip = 1

        def __init__(self, env):
            super().__init__(env)
            self._skip = 4

    require_no_skip_outside(adapted())
    with pytest.raises(FrameSkipError, match="Skipping repeats every decision"):
        require_no_skip_outside(VecMonitor(adapted(lambda: Skipping(pole()))))


# Seeds, options, resets


def test_seeds_are_each_environments_own_and_hold_for_one_reset():
    env, seeded = adapted(), adapted()
    assert env.seed(11) == [11, 12, 13]
    first = env.reset()
    for index in range(3):
        np.testing.assert_array_equal(first[index], pole().reset(seed=11 + index)[0])
    assert not np.array_equal(env.reset(), first)
    seeded._seeds = [13, 12, 11]
    np.testing.assert_array_equal(seeded.reset(), first[::-1])


def test_options_are_of_all_environments_or_refused():
    env = adapted()
    env.set_options({"low": 0.2, "high": 0.2})
    np.testing.assert_allclose(env.reset(), 0.2)
    assert np.abs(env.reset()).max() <= 0.05
    env.set_options([{"low": 0.1}, {}, {}])
    with pytest.raises(VectorEnvError, match="take the same for all: call set_options with one"):
        env.reset()


def test_a_vector_that_ignores_the_mask_of_a_reset_is_refused():
    env = GymnasiumVecEnv(CartPoleVectorEnv(3, max_episode_steps=500))
    assert env._mode == AutoresetMode.NEXT_STEP
    env.seed(1)
    env.reset()
    with pytest.raises(VectorEnvError, match="SB3's learners need resets in the same"):
        steps(env, [0, 1, 1])


def test_a_vector_that_leaves_out_last_observations_is_refused():
    class Forgetful(SyncVectorEnv):
        def step(self, actions):
            *results, infos = super().step(actions)
            infos.pop("final_obs", None)
            return *results, infos

    env = adapted(kind=Forgetful)
    env.reset()
    with pytest.raises(VectorEnvError, match="its infos lack final_obs"):
        steps(env, [0, 3, 4])


def test_pictures_are_tiled_as_sb3_does():
    make = partial(gym.make, "CartPole-v1", render_mode="rgb_array")
    env, theirs = adapted(make, 2), DummyVecEnv([make] * 2)
    for vector in (env, theirs):
        vector.seed(1)
        vector.reset()
    np.testing.assert_array_equal(env.render(), theirs.render())
    assert env.metadata["render_modes"] == ["human", "rgb_array"]
    assert adapted().get_images() == [None] * 3


def test_closing_it_closes_the_vector():
    env = adapted(kind=AsyncVectorEnv)
    env.close()
    assert env.env.closed


# Games


def games(n_envs=3, **kwargs):
    settings = {"obs_type": "ram", "macros": BREAKOUT, "max_num_frames_per_episode": 120}
    return make_macro_vec_env("breakout", n_envs, **settings | kwargs)


def test_a_learner_of_games_learns_the_same_weights_as_from_dummy_vec_env():
    make = partial(gym.make, "MacroALE/Breakout-v5", obs_type="ram", macros=BREAKOUT)
    make = partial(make, max_num_frames_per_episode=120)
    env = games()
    assert pays_game_scores(env)
    ours = small(MASPDQN, env, batch_size=5, eta=0.01).learn(150)
    env.close()
    theirs = small(MASPDQN, VecMonitor(DummyVecEnv([make] * 3)), batch_size=5, eta=0.01).learn(150)
    assert ours.clip_rewards
    assert ours.macro_set == theirs.macro_set
    assert [e["l"] for e in ours.ep_info_buffer] == [e["l"] for e in theirs.ep_info_buffer]
    assert len(ours.ep_info_buffer) > 2
    assert same_weights(ours, theirs)


@pytest.mark.parametrize("name", ["Breakout", "ALE/Breakout-v5", "MacroALE/Breakout-v5"])
def test_a_game_goes_by_any_of_its_names(name):
    env = make_macro_vec_env(name, 2, seed=5, monitor=False, k=3, obs_type="ram", num_workers=1)
    assert isinstance(env, GymnasiumVecEnv)
    assert (env.num_envs, env.action_space.n, env._seeds) == (2, 7, [5, 6])
    assert env.get_attr("spec", 0)[0].id == "MacroALE/Breakout-v5"
    env.close()


def test_unknown_games_are_refused_with_those_that_may_be_meant():
    with pytest.raises(UnknownGameError, match=r"no game 'Brakeout'\. Did you mean breakout"):
        make_macro_vec_env("Brakeout", 2)


def test_ale_pys_own_vector_is_learned_from():
    for mode in ("NextStep", "SameStep"):
        vector = AtariVectorEnv(
            "breakout", 2, autoreset_mode=mode, max_num_frames_per_episode=80, num_threads=1
        )
        env = VecMonitor(GymnasiumVecEnv(vector))
        model = DQN("MlpPolicy", env, seed=1, buffer_size=50, policy_kwargs={"net_arch": [3]})
        model.learn(90)
        assert {episode["l"] for episode in model.ep_info_buffer} == {20}
        assert (model.replay_buffer.dones == model.replay_buffer.timeouts).all()


def test_a_checkpoint_of_a_vector_that_cannot_be_pickled_is_refused(tmp_path):
    class Held(gym.Wrapper):
        def __init__(self):
            super().__init__(pole())
            self.held = (n for n in range(3))

    for kind in (SyncVectorEnv, AsyncVectorEnv):
        model = small(MASPDQN, adapted(Held, 2, kind=kind))
        with pytest.raises(CheckpointError, match="the run cannot be pickled"):
            save_checkpoint(tmp_path / "checkpoint", model, {})
        model.env.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("n_steps", [1, 2])
def test_a_checkpoint_of_games_in_processes_goes_on_exactly(n_steps, tmp_path):
    whole = small(MASPDQN, games(), batch_size=5, eta=0.01, n_steps=n_steps).learn(100)
    save_checkpoint(tmp_path / "checkpoint", whole, {})
    resumed = load_checkpoint(tmp_path / "checkpoint").model
    for model in (whole, resumed):
        th.manual_seed(1)
        np.random.seed(1)
        model.learn(90, reset_num_timesteps=False)
        model.env.close()
    assert same_weights(whole, resumed)
    assert (whole.replay_buffer.actions == resumed.replay_buffer.actions).all()
    assert whole.replay_buffer.dones.sum() > 3


def test_runs_of_many_games_step_them_side_by_side(tmp_path):
    BREAKOUT.save(tmp_path / "macros.json")
    config = run.TrainConfig(macros=tmp_path / "macros.json", obs_type="ram", n_envs=2)
    env = run.make_env(config)
    assert isinstance(env.unwrapped, GymnasiumVecEnv)
    assert macro_set_of(env).macros == BREAKOUT.macros
    assert _frames_per_step(env) == 4
    env.close()
    assert isinstance(run.make_env(config, n_envs=1), DummyVecEnv)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_games_may_be_stepped_in_other_ways(mode):
    env = make_macro_vec_env(
        "breakout", n_envs=2, seed=5, k=8, obs_type="ram", vectorization_mode=mode
    )
    ours = make_macro_vec_env("breakout", n_envs=2, seed=5, k=8, obs_type="ram")
    np.testing.assert_array_equal(env.reset(), ours.reset())
    for first, second in zip(env.step([9, 3])[:3], ours.step([9, 3])[:3], strict=True):
        np.testing.assert_array_equal(first, second)
    env.close()
    ours.close()


def test_our_learners_take_a_vector_of_gymnasium_as_it_is():
    whole = small(MASPDQN, VecMonitor(adapted())).learn(60)
    model = small(MASPDQN, SyncVectorEnv([pole] * 3)).learn(60)
    assert model.ep_info_buffer
    assert same_weights(whole, model)
    model.set_env(SyncVectorEnv([pole] * 3))
    assert isinstance(model.get_env(), VecMonitor)
