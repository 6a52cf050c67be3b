"""What SB3's documentation promises of DQN holds for every learner."""

import inspect
import io
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

from macro_gym.errors import LearnerSettingError
from sb3_masp.masp import MASP
from tests.sb3_masp.learners import LEARNERS, MACROS, DictCartPole, macro_cartpole, small

# Other processes have torch loaded already, so that they start in an instant.
multiprocessing.get_context("forkserver").set_forkserver_preload(["sb3_masp.run"])

pytestmark = pytest.mark.parametrize("learner", LEARNERS)

OBSERVATIONS = np.random.default_rng(5).normal(size=(37, 4)).astype(np.float32)

MODELS = {}


def trained(learner):
    """A model that has learned a little; tests must leave it as it is."""
    if learner not in MODELS:
        MODELS[learner] = small(learner).learn(61)
    return MODELS[learner]


def choices(model, observations=OBSERVATIONS):
    return model.predict(observations, deterministic=True)[0].tolist()


def flat(model):
    """All tensors of the model's parameters, by where they are."""
    found = {}

    def walk(thing, path):
        if isinstance(thing, th.Tensor):
            found[path] = thing
        elif isinstance(thing, dict):
            for key, value in thing.items():
                walk(value, f"{path}.{key}")

    walk(model.get_parameters(), "")
    return found


def equal(first, second):
    left, right = flat(first), flat(second)
    return left.keys() == right.keys() and all(th.equal(left[key], right[key]) for key in left)


# Saving and loading


@pytest.mark.parametrize("kind", ["path", "text", "file"])
def test_a_saved_model_loads_without_environment_and_chooses_the_same(learner, kind, tmp_path):
    model = trained(learner)
    where = {"path": tmp_path / "model", "text": str(tmp_path / "model"), "file": io.BytesIO()}[
        kind
    ]
    model.save(where)
    if kind == "file":
        where.seek(0)
    loaded = learner.load(where)
    assert loaded.get_env() is None
    assert equal(model, loaded)
    assert choices(loaded) == choices(model)
    assert loaded._n_updates == model._n_updates
    assert loaded.num_timesteps == model.num_timesteps
    with pytest.raises(AssertionError, match="must set the environment"):
        loaded.learn(10)


def test_a_model_loaded_with_an_environment_goes_on_learning(learner, tmp_path):
    model = trained(learner)
    model.save(tmp_path / "model")
    loaded = learner.load(tmp_path / "model", env=macro_cartpole())
    loaded.learn(41, reset_num_timesteps=False)
    assert loaded.num_timesteps == model.num_timesteps + 42 - (model.num_timesteps + 42) % 3
    assert loaded._n_updates > model._n_updates
    assert not equal(model, loaded)
    loaded = learner.load(tmp_path / "model")
    loaded.set_env(macro_cartpole())
    loaded.learn(41)


def test_a_model_is_loaded_for_another_number_of_environments(learner, tmp_path):
    trained(learner).save(tmp_path / "model")
    loaded = learner.load(tmp_path / "model", env=make_vec_env(macro_cartpole, 2))
    assert loaded.n_envs == loaded.replay_buffer.n_envs == 2
    loaded.learn(50)


def test_saved_models_hold_no_replay_buffer_and_leave_out_what_they_are_told(learner, tmp_path):
    model = trained(learner)
    model.save(tmp_path / "model", exclude=["ep_info_buffer"], include=["_episode_num"])
    loaded = learner.load(tmp_path / "model")
    assert loaded.ep_info_buffer is None
    assert loaded._episode_num == model._episode_num > 0
    assert loaded.replay_buffer.size() == 0


def test_custom_objects_stand_for_what_was_saved(learner, tmp_path):
    trained(learner).save(tmp_path / "model")
    given = {"learning_rate": 0.5, "batch_size": 7}
    loaded = learner.load(tmp_path / "model", custom_objects=given)
    assert loaded.learning_rate == loaded.lr_schedule(0.3) == 0.5
    assert loaded.batch_size == 7
    loaded = learner.load(tmp_path / "model", env=macro_cartpole(), custom_objects=given)
    assert loaded.batch_size == 7


def test_a_model_is_loaded_with_other_hyper_parameters(learner, tmp_path):
    trained(learner).save(tmp_path / "model")
    other = {"learning_rate": 0.25, "gamma": 0.5, "buffer_size": 83, "n_steps": 2, "train_freq": 5}
    loaded = learner.load(tmp_path / "model", env=macro_cartpole(), **other)
    assert loaded.replay_buffer.buffer_size == 83
    assert loaded.replay_buffer.gamma == 0.5
    assert loaded.replay_buffer.n_steps == 2
    loaded.learn(41)
    assert loaded.policy.optimizer.param_groups[0]["lr"] == 0.25
    assert loaded.num_timesteps == 45


def test_policy_arguments_may_be_repeated_at_loading_and_not_changed(learner, tmp_path):
    model = trained(learner)
    model.save(tmp_path / "model")
    loaded = learner.load(tmp_path / "model", policy_kwargs={"net_arch": [11]})
    assert equal(model, loaded)
    with pytest.raises(ValueError, match="do not equal the stored policy kwargs"):
        learner.load(tmp_path / "model", policy_kwargs={"net_arch": [13]})


def test_spaces_of_another_environment_are_refused(learner, tmp_path):
    model = small(learner, gym.make("CartPole-v1"))
    model.save(tmp_path / "model")
    for use in (lambda env: learner.load(tmp_path / "model", env=env), model.set_env):
        with pytest.raises(ValueError, match="spaces do not match"):
            use(gym.make("Acrobot-v1"))


def test_the_device_is_the_one_asked_for(learner, tmp_path):
    model = small(learner, device="cpu")
    model.save(tmp_path / "model")
    for device in ("cpu", th.device("cpu"), "auto"):
        loaded = learner.load(tmp_path / "model", device=device)
        assert loaded.device == loaded.policy.device
        assert all(tensor.device.type == loaded.device.type for tensor in flat(loaded).values())
        assert loaded.replay_buffer.device == loaded.device


def test_parameters_that_were_got_can_be_set(learner):
    model, other = trained(learner), small(learner, seed=11)
    assert choices(other) != choices(model) or not equal(other, model)
    other.set_parameters(model.get_parameters())
    assert equal(model, other)
    assert choices(model) == choices(other)


def test_parameters_have_to_be_complete_unless_said_otherwise(learner, tmp_path):
    model, other = trained(learner), small(learner, seed=11)
    policy = {"policy": model.get_parameters()["policy"]}
    with pytest.raises(ValueError, match="do not match agents' parameters"):
        other.set_parameters(policy)
    with pytest.raises(ValueError, match="is an invalid object name"):
        other.set_parameters({"polizei": policy["policy"]})
    other = small(learner, seed=11)
    other.set_parameters(policy, exact_match=False)
    assert choices(model) == choices(other)
    model.save(tmp_path / "model")
    other = small(learner, seed=11)
    other.set_parameters(str(tmp_path / "model"))
    assert equal(model, other)


def test_a_saved_replay_buffer_comes_back_as_it_was(learner, tmp_path):
    model, other = trained(learner), small(learner)
    model.save_replay_buffer(tmp_path / "buffer")
    other.load_replay_buffer(tmp_path / "buffer")
    assert other.replay_buffer.size() == model.replay_buffer.size() == model.num_timesteps
    samples = []
    for buffer in (model.replay_buffer, other.replay_buffer):
        np.random.seed(2)
        samples.append(buffer.sample(17))
    for name in samples[0]._fields:
        np.testing.assert_array_equal(*(getattr(sample, name) for sample in samples), name)
    other.learn(31)


@pytest.mark.parametrize(
    ("name", "other"), [("gamma", 0.5), ("clip_rewards", True), ("prioritized_replay", None)]
)
def test_a_replay_buffer_of_other_returns_than_the_models_is_refused(
    learner, name, other, tmp_path
):
    trained(learner).save_replay_buffer(tmp_path / "buffer")
    other = not trained(learner).prioritized_replay if other is None else other
    model = small(learner, **{name: other})
    own = model.replay_buffer
    with pytest.raises(LearnerSettingError, match=f"{name} is {other}.*that was saved"):
        model.load_replay_buffer(tmp_path / "buffer")
    assert model.replay_buffer is own


def test_a_saved_replay_buffer_gives_returns_of_as_many_decisions_as_the_model_asks(
    learner, tmp_path
):
    trained(learner).save_replay_buffer(tmp_path / "buffer")
    model = small(learner, n_steps=7)
    model.load_replay_buffer(tmp_path / "buffer")
    assert model.replay_buffer.sample(17).discounts.min() < 0.99**7


def test_what_a_loaded_model_would_not_change_is_refused(learner, tmp_path):
    trained(learner).save(tmp_path / "model")
    known = {"similarity", "n_atoms"} & inspect.signature(learner).parameters.keys()
    assert known <= set(learner.kept_at_loading)
    for name in learner.kept_at_loading:
        with pytest.raises(LearnerSettingError, match=f"^{name} is 7; .* left out at loading"):
            learner.load(tmp_path / "model", **{name: 7})


def test_a_policy_is_saved_and_loaded_alone(learner, tmp_path):
    model = trained(learner)
    model.policy.save(tmp_path / "policy")
    policy = type(model.policy).load(tmp_path / "policy")
    assert policy.predict(OBSERVATIONS, deterministic=True)[0].tolist() == choices(model)


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
