"""What SB3's documentation promises of learning with DQN holds for every learner."""

import multiprocessing

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from stable_baselines3.common.callbacks import (
    CallbackList,
    CheckpointCallback,
    ConvertCallback,
    EvalCallback,
    EveryNTimesteps,
    StopTrainingOnMaxEpisodes,
    StopTrainingOnRewardThreshold,
)
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.envs import FakeImageEnv
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import configure
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    SubprocVecEnv,
    VecNormalize,
    VecTransposeImage,
)
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sb3_masp.masp import MASP
from tests.sb3_masp.learners import LEARNERS, MACROS, DictCartPole, macro_cartpole, small
from tests.sb3_masp.trained import OBSERVATIONS, choices, equal, flat, trained

# Other processes have torch loaded already, so that they start in an instant.
multiprocessing.get_context("forkserver").set_forkserver_preload(["sb3_masp.run"])

pytestmark = pytest.mark.parametrize("learner", LEARNERS)


# Environments


def test_set_env_starts_an_episode_of_the_new_environment(learner):
    model = small(learner).learn(31)
    env = make_vec_env(macro_cartpole)
    model.set_env(env)
    assert model.get_env() is env
    assert model._last_obs is None
    model.learn(31, reset_num_timesteps=False)
    assert model._last_obs is not None
    model.set_env(make_vec_env(macro_cartpole), force_reset=False)
    assert model._last_obs is not None
    with pytest.raises(AssertionError, match="number of environments to be set is different"):
        model.set_env(make_vec_env(macro_cartpole, 2))


def test_an_environment_may_be_given_by_its_id(learner):
    model = small(learner, "CartPole-v1").learn(31)
    assert model.get_env().envs[0].spec.id == "CartPole-v1"


@pytest.mark.parametrize("kind", [DummyVecEnv, SubprocVecEnv])
def test_several_environments_are_played_at_once(learner, kind):
    env = kind([macro_cartpole] * 3)
    model = small(learner, env, gradient_steps=-1).learn(66)
    assert model.num_timesteps == 72
    assert model.replay_buffer.size() == 24
    assert model.macro_set == MACROS
    assert model.predict(env.reset())[0].shape == (3,)
    env.close()


def test_dict_observations_are_learned_from(learner, tmp_path):
    model = small(learner, DictCartPole(macro_cartpole()), "MultiInputPolicy").learn(61)
    observation = {"cart": OBSERVATIONS[:5, :2], "pole": OBSERVATIONS[:5, 2:]}
    before = choices(model, observation)
    model.save(tmp_path / "model")
    loaded = learner.load(tmp_path / "model", env=DictCartPole(macro_cartpole()))
    assert choices(loaded, observation) == before
    loaded.learn(31)


def test_images_are_learned_from_channels_first_or_last(learner):
    for first in (True, False):
        env = FakeImageEnv(3, 36, 36, n_channels=1, channel_first=first)
        model = small(learner, env, "CnnPolicy", buffer_size=53).learn(31)
        assert isinstance(model.get_env(), VecTransposeImage) != first
        action, _ = model.predict(env.observation_space.sample(), deterministic=True)
        assert env.action_space.contains(int(action))


def test_vec_normalize_reaches_what_is_learned_and_is_found(learner, tmp_path):
    env = VecNormalize(make_vec_env(macro_cartpole, 2), clip_obs=0.5)
    model = small(learner, env).learn(66)
    assert model.get_vec_normalize_env() is env
    stored = model.replay_buffer.sample(23).observations
    seen = model.replay_buffer.sample(23, env=env).observations
    assert stored.abs().max() > 0.5
    assert seen.abs().max() == 0.5
    model.save(tmp_path / "model")
    env.save(tmp_path / "statistics")
    env = VecNormalize.load(tmp_path / "statistics", make_vec_env(macro_cartpole, 2))
    loaded = learner.load(tmp_path / "model", env=env)
    assert loaded.get_vec_normalize_env() is env
    loaded.learn(30)
    loaded.set_env(make_vec_env(macro_cartpole, 2))
    assert loaded.get_vec_normalize_env() is None


# Acting


def test_one_observation_or_many_are_acted_on(learner):
    model = trained(learner)
    one, state = model.predict(OBSERVATIONS[0], deterministic=True)
    assert one.shape == ()
    assert state is None
    many, _ = model.predict(OBSERVATIONS, deterministic=True)
    assert many.shape == (37,)
    assert many.dtype == np.int64
    assert many[0] == one
    with pytest.raises(ValueError, match="Unexpected observation shape"):
        model.predict(np.zeros((2, 3), np.float32))


def test_deterministic_choices_repeat_and_others_vary(learner):
    model = small(learner, exploration_final_eps=1.0).learn(11)
    assert choices(model) == choices(model)
    explored = [model.predict(OBSERVATIONS, deterministic=False)[0].tolist() for _ in range(9)]
    assert any(actions != explored[0] for actions in explored)


def test_predicting_leaves_the_model_as_it_was(learner):
    model = small(learner)
    before = {name: tensor.clone() for name, tensor in flat(model).items() if "noise_" not in name}
    model.predict(OBSERVATIONS, deterministic=False)
    assert all(th.equal(tensor, flat(model)[name]) for name, tensor in before.items())


def test_evaluate_policy_scores_it(learner):
    scores, lengths = evaluate_policy(
        trained(learner), Monitor(macro_cartpole()), 3, return_episode_rewards=True
    )
    assert len(scores) == len(lengths) == 3
    # CartPole pays 1 a step and a decision takes one to three.
    assert all(length <= score <= 3 * length for score, length in zip(scores, lengths, strict=True))


# Learning


def test_the_same_seed_gives_the_same_run_and_another_one_another(learner):
    first, second, third = (small(learner, seed=seed).learn(76) for seed in (5, 5, 6))
    assert equal(first, second)
    assert not equal(first, third)
    np.testing.assert_array_equal(first.replay_buffer.actions, second.replay_buffer.actions)
    assert choices(first) == choices(second)


def test_set_random_seed_repeats_what_follows(learner):
    model = small(learner)
    runs = []
    for _ in range(2):
        model.set_random_seed(9)
        runs.append([model.predict(OBSERVATIONS)[0].tolist() for _ in range(5)])
    assert runs[0] == runs[1]


def test_learning_again_counts_from_zero_or_goes_on(learner):
    model = small(learner).learn(30)
    assert model.num_timesteps == 30
    updates = model._n_updates
    model.learn(30)
    assert model.num_timesteps == 30
    assert model._n_updates > updates
    observation = model._last_obs
    counted = model.learn(30, reset_num_timesteps=False, callback=lambda *_: False)
    assert counted.num_timesteps == 31
    assert observation is not None
    assert model.learn(30, reset_num_timesteps=False).num_timesteps == 61


@pytest.mark.filterwarnings("ignore:rich is experimental")  # SB3's own progress bar
def test_steps_may_be_a_float_and_show_a_progress_bar(learner, capsys):
    model = small(learner).learn(3e1, progress_bar=True)
    assert model.num_timesteps == 30
    assert "30/30" in capsys.readouterr().out


def test_callbacks_stop_learning(learner):
    model = small(learner)
    model.learn(10_000, callback=lambda local, _: local["self"].num_timesteps < 20)
    assert model.num_timesteps == 20
    model.learn(10_000, callback=StopTrainingOnMaxEpisodes(2))
    assert model._episode_num == 1  # the second is counted after the callback
    calls = []
    callback = EveryNTimesteps(10, ConvertCallback(lambda *_: calls.append(1) or True))
    model.learn(45, callback=[CallbackList([callback])])
    assert len(calls) == 4


def test_callbacks_evaluate_keep_the_best_and_stop_there(learner, tmp_path):
    stop = StopTrainingOnRewardThreshold(reward_threshold=1)
    callback = EvalCallback(
        make_vec_env(macro_cartpole),
        callback_on_new_best=stop,
        eval_freq=20,
        n_eval_episodes=2,
        best_model_save_path=str(tmp_path),
        log_path=str(tmp_path),
        verbose=0,
    )
    model = small(learner).learn(100, callback=callback)
    assert model.num_timesteps == 20
    assert np.load(tmp_path / "evaluations.npz")["results"].shape == (1, 2)
    learner.load(tmp_path / "best_model", env=macro_cartpole()).learn(31)


def test_callbacks_save_the_model_its_replay_and_its_statistics(learner, tmp_path):
    env = VecNormalize(make_vec_env(macro_cartpole))
    callback = CheckpointCallback(
        30, str(tmp_path), "kept", save_replay_buffer=True, save_vecnormalize=True
    )
    small(learner, env).learn(61, callback=callback)
    loaded = learner.load(tmp_path / "kept_60_steps.zip")
    assert loaded.num_timesteps == 60
    loaded.load_replay_buffer(tmp_path / "kept_replay_buffer_60_steps.pkl")
    # The callback comes before the decision is stored.
    assert loaded.replay_buffer.size() == 59
    assert (tmp_path / "kept_vecnormalize_60_steps.pkl").exists()


def test_tensorboard_gets_what_dqn_writes_and_a_folder_for_each_run(learner, tmp_path):
    model = small(learner, tensorboard_log=str(tmp_path))
    model.learn(150, log_interval=1)
    model.learn(60, log_interval=1, reset_num_timesteps=False)
    model.learn(60, log_interval=1, tb_log_name="named")
    name = learner.__name__
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}_1", "named_1"}
    tags = EventAccumulator(str(tmp_path / f"{name}_1")).Reload().Tags()["scalars"]
    expected = {
        *("rollout/ep_len_mean", "rollout/ep_rew_mean", "rollout/exploration_rate"),
        *("time/fps", "train/learning_rate", "train/loss"),
    }
    if issubclass(learner, MASP):
        expected |= {"train/penalty", "meta/outer_loss", "similarity/entropy"}
    assert expected <= set(tags)


def test_a_logger_that_was_set_is_used(learner, tmp_path):
    model = small(learner)
    model.set_logger(configure(str(tmp_path), ["csv"]))
    model.learn(100, log_interval=1)
    model.logger.close()
    assert "train/n_updates" in (tmp_path / "progress.csv").read_text().splitlines()[0]


@pytest.mark.parametrize(
    ("train_freq", "updates"), [((2, "episode"), None), ((5, "step"), 7), (7, 5)]
)
def test_updates_come_after_decisions_or_episodes(learner, train_freq, updates):
    model = small(learner, train_freq=train_freq, learning_starts=0).learn(35)
    if updates is None:
        assert model._episode_num % 2 == 0
        assert model._n_updates == model._episode_num // 2
    else:
        assert model._n_updates == updates


def test_as_many_updates_as_decisions_if_gradient_steps_is_negative(learner):
    model = small(learner, train_freq=7, gradient_steps=-1, learning_starts=0).learn(35)
    assert model._n_updates == 35
    model = small(learner, train_freq=7, gradient_steps=3, learning_starts=0).learn(35)
    assert model._n_updates == 15
    model = small(learner, gradient_steps=0, learning_starts=0).learn(35)
    assert model._n_updates == 0


def test_the_learning_rate_follows_its_schedule(learner):
    model = small(learner, learning_rate=LinearSchedule(0.5, 0.25, 0.5)).learn(60)
    # Halfway down at the end of half the run, and constant from there on.
    assert model.policy.optimizer.param_groups[0]["lr"] == pytest.approx(0.25)
    model = small(learner, learning_rate=lambda remaining: 1e-3 * (1 + remaining)).learn(60)
    assert model.policy.optimizer.param_groups[0]["lr"] == pytest.approx(1e-3)


class Doubled(FlattenExtractor):
    """An extractor of the user's own, with an argument."""

    def __init__(self, observation_space, factor=1.0):
        super().__init__(observation_space)
        self.factor = factor

    def forward(self, observations):
        return self.factor * super().forward(observations)


def test_policy_kwargs_choose_network_extractor_and_optimizer(learner, tmp_path):
    kwargs = {
        "net_arch": [7, 5],
        "activation_fn": th.nn.Tanh,
        "features_extractor_class": Doubled,
        "features_extractor_kwargs": {"factor": 2.0},
        "optimizer_class": th.optim.RMSprop,
        "optimizer_kwargs": {"alpha": 0.9, "eps": 1e-5},
    }
    model = small(learner, policy_kwargs=kwargs).learn(61)
    assert kwargs["optimizer_kwargs"] == {"alpha": 0.9, "eps": 1e-5}
    extractors = [part for part in model.policy.modules() if isinstance(part, Doubled)]
    assert [extractor.factor for extractor in extractors] == [2.0] * len(extractors) != []
    assert isinstance(model.policy.optimizer, th.optim.RMSprop)
    assert model.policy.optimizer.defaults["alpha"] == 0.9
    assert any(isinstance(part, th.nn.Tanh) for part in model.policy.modules())
    widths = {
        part.out_features for part in model.policy.modules() if isinstance(part, th.nn.Linear)
    }
    assert {7, 5} <= widths
    model.save(tmp_path / "model")
    assert equal(learner.load(tmp_path / "model"), model)


def test_verbose_says_what_sb3_says(learner, capsys):
    small(learner, gym.make("CartPole-v1"), verbose=1).learn(60, log_interval=1)
    said = capsys.readouterr().out
    assert "Wrapping the env in a DummyVecEnv" in said
    assert "ep_rew_mean" in said
