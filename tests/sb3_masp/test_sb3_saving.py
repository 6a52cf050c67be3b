"""What SB3's documentation promises of saving and loading DQN holds for every learner."""

import inspect
import io

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from stable_baselines3 import DQN
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.env_util import make_vec_env

from macro_gym.errors import LearnerSettingError
from sb3_masp import MASPDQN, MASPQRDQN, MASPRainbow, Rainbow
from tests.sb3_masp.learners import LEARNERS, macro_cartpole, small
from tests.sb3_masp.trained import OBSERVATIONS, choices, equal, flat, trained

pytestmark = pytest.mark.parametrize("learner", LEARNERS)


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


PLAIN = {
    MASPDQN: {},
    MASPQRDQN: {},
    Rainbow: {"n_steps": 1, "prioritized_replay": False},
    MASPRainbow: {"n_steps": 1, "prioritized_replay": False},
}
"""What each learner asks of its buffer that SB3's can do."""


@pytest.mark.parametrize(
    "value", [{"n_steps": 3}, {"clip_rewards": True}, {"prioritized_replay": True}]
)
def test_a_saved_buffer_of_sb3_is_refused_like_its_class(learner, value, tmp_path):
    small(DQN).learn(51).save_replay_buffer(tmp_path / "buffer")
    model = small(learner, **PLAIN[learner] | value)
    own = model.replay_buffer
    ((name, asked),) = value.items()
    with pytest.raises(LearnerSettingError, match=f"{name} is {asked}; .* with ReplayBuffer, wh"):
        model.load_replay_buffer(tmp_path / "buffer")
    assert model.replay_buffer is own


def test_a_saved_buffer_of_sb3_is_taken_where_it_suffices_with_the_warning_of_its_class(
    learner, tmp_path
):
    small(DQN).learn(51).save_replay_buffer(tmp_path / "buffer")
    model = small(learner, **PLAIN[learner])
    with pytest.warns(UserWarning, match="ReplayBuffer does not know how long macro-actions last"):
        model.load_replay_buffer(tmp_path / "buffer")
    assert type(model.replay_buffer) is ReplayBuffer
    assert model.replay_buffer.size() == 51


@pytest.mark.filterwarnings("ignore:NStepReplayBuffer does not know how long")
def test_a_saved_buffer_of_sb3s_n_steps_takes_the_models_n_and_discount(learner, tmp_path):
    small(DQN, n_steps=2).learn(51).save_replay_buffer(tmp_path / "buffer")
    model = small(
        learner,
        **PLAIN[learner] | {"n_steps": 5, "gamma": 0.8},
        replay_buffer_class=NStepReplayBuffer,
    )
    model.load_replay_buffer(tmp_path / "buffer")
    assert (model.replay_buffer.n_steps, model.replay_buffer.gamma) == (5, 0.8)
    assert model.replay_buffer.size() == 51


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
