"""Settings, environments, buffers and logs of MASP learners, shown on MASPDQN."""

import io

import ale_py
import gymnasium as gym
import numpy as np
import pytest
import torch as th
from stable_baselines3.common.atari_wrappers import MaxAndSkipEnv
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import configure
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import SubprocVecEnv
from torch.nn.utils.parametrizations import spectral_norm

from macro_gym import MacroAction, MacroSet
from macro_gym.errors import FrameSkipError, LearnerSettingError, MacroSetMismatchError
from sb3_masp import MASPDQN, MacroReplayBuffer, SoftmaxSimilarity, UnconstrainedSimilarity
from sb3_masp.callbacks import FrameBudget, Unfreeze
from sb3_masp.forward_mode import UnsupportedNetworkError
from sb3_masp.optimizer_vjp import UnsupportedOptimizerError
from sb3_masp.similarity import (
    FixedSimilarity,
    SimilarityAbout,
    SimilarityError,
    save_similarity,
)
from sb3_masp.similarity.forms import make_similarity
from tests.sb3_masp.poles import (
    BREAKOUT,
    MACROS,
    SMALL,
    cartpole,
    macro_breakout,
    macro_cartpole,
)

gym.register_envs(ale_py)


def test_a_model_without_environment_predicts(tmp_path):
    model = MASPDQN("MlpPolicy", macro_cartpole(), **SMALL)
    model.save(tmp_path / "model")
    loaded = MASPDQN.load(tmp_path / "model")
    action, _ = loaded.predict(np.zeros(4, np.float32), deterministic=True)
    assert 0 <= int(action) < MACROS.n_actions


@pytest.mark.parametrize("other", [MACROS.top(3), MacroSet(("LEFT", "RIGHT"), ((0,) * 3,) * 0)])
def test_loading_with_another_macro_set_names_both(tmp_path, other):
    model = MASPDQN("MlpPolicy", macro_cartpole(), **SMALL)
    model.save(tmp_path / "model")
    both = f"{MACROS.hash[:12]}.*{other.hash[:12]}"
    with pytest.raises(MacroSetMismatchError, match=both):
        MASPDQN.load(tmp_path / "model", env=macro_cartpole(other))
    with pytest.raises(MacroSetMismatchError, match=both):
        model.set_env(macro_cartpole(other))
    with pytest.raises(MacroSetMismatchError, match="no macro set"):
        model.set_env(cartpole())


def test_as_many_other_macros_are_noticed_though_the_spaces_agree(tmp_path):
    other = MacroSet(MACROS.primitives, (*MACROS.macros[:-1], (1, 1, 0)))
    file = io.BytesIO()
    MASPDQN("MlpPolicy", macro_cartpole(), **SMALL).save(file)
    file.seek(0)
    with pytest.raises(MacroSetMismatchError, match=other.hash[:12]):
        MASPDQN.load(file, env=macro_cartpole(other))
    file.seek(0)
    MASPDQN.load(file, env=macro_cartpole())


def test_game_scores_are_clipped_for_learning_and_other_rewards_are_not():
    assert MASPDQN("CnnPolicy", macro_breakout(), **SMALL).replay_buffer.clip_rewards
    assert not MASPDQN("MlpPolicy", macro_cartpole(), **SMALL).replay_buffer.clip_rewards
    model = MASPDQN("CnnPolicy", macro_breakout(), clip_rewards=False, **SMALL)
    assert not model.replay_buffer.clip_rewards


def test_the_logger_gets_losses_gradient_norm_and_health(tmp_path):
    model = MASPDQN("MlpPolicy", macro_cartpole(), meta_interval=1, **SMALL)
    model.set_logger(configure(str(tmp_path), ["csv"]))
    model.learn(401, log_interval=1)
    model.logger.close()
    header = (tmp_path / "progress.csv").read_text().splitlines()[0].split(",")
    assert {
        "train/loss",
        "train/penalty",
        "meta/outer_loss",
        "meta/gradient_norm",
        "similarity/entropy",
        "similarity/off_diagonal_mass",
        "similarity/effective_rank",
        "similarity/distance_from_start",
    } <= set(header)


def test_a_model_that_began_with_a_file_is_loaded_without_it(tmp_path):
    given = make_similarity("low_rank", "overlap", MACROS.n_actions, MACROS, seed=1)
    save_similarity(tmp_path / "given.safetensors", given, SimilarityAbout.of(MACROS))
    file = str(tmp_path / "given.safetensors")
    model = MASPDQN("MlpPolicy", macro_cartpole(), similarity=file, **SMALL).learn(60)
    assert not th.equal(model.similarity(), given())
    model.save(tmp_path / "model")
    (tmp_path / "given.safetensors").unlink()
    loaded = MASPDQN.load(tmp_path / "model")
    assert th.equal(loaded.similarity(), model.similarity())
    assert th.equal(loaded.similarity.start, given())


def test_a_frozen_similarity_stays_and_costs_no_outer_step():
    model = MASPDQN(
        "MlpPolicy", macro_cartpole(), similarity_start="overlap", similarity_frozen=True, **SMALL
    )
    start = model.similarity().detach().clone()
    model.learn(101)
    assert th.equal(model.similarity(), start)
    assert model.similarity_learning.optimizer.state_dict()["state"] == {}


def test_a_given_similarity_is_copied_saved_and_loaded(tmp_path):
    given = UnconstrainedSimilarity(th.rand(7, 7))
    model = MASPDQN("MlpPolicy", macro_cartpole(), similarity=given, meta_interval=1, **SMALL)
    model.learn(61)
    assert not th.equal(model.similarity(), given())
    model.save(tmp_path / "model")
    assert th.equal(MASPDQN.load(tmp_path / "model").similarity(), model.similarity())
    with pytest.raises(SimilarityError, match=r"over 5 actions.*has 7"):
        MASPDQN("MlpPolicy", macro_cartpole(), similarity=SoftmaxSimilarity(th.ones(5, 5)))


def test_prioritised_replay_updates_priorities_and_anneals_the_weights():
    model = MASPDQN("MlpPolicy", macro_cartpole(), prioritized_replay=True, **SMALL).learn(201)
    leaves = model.replay_buffer._tree[np.arange(100)]
    assert len(np.unique(leaves)) > 20
    assert model.replay_buffer.importance_exponent > 0.9


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"eta": -0.1}, "eta is -0.1; it must be at least 0"),
        ({"eta": float("inf")}, "eta is inf"),
        ({"meta_interval": 0}, "meta_interval is 0"),
        ({"meta_interval": 1.5}, "meta_interval is 1.5"),
        ({"meta_average": 0}, "meta_average is 0"),
        ({"meta_average": None}, "meta_average is None"),
        ({"outer_batch_size": 0}, "outer_batch_size is 0"),
        ({"meta_learning_rate": -1.0}, "meta_learning_rate is -1.0"),
        ({"replay_buffer_class": ReplayBuffer, "n_steps": 3}, "n_steps is 3; it must be 1 with"),
        (
            {"replay_buffer_class": ReplayBuffer, "clip_rewards": True},
            "clip_rewards is True; it must be False with ReplayBuffer",
        ),
        (
            {"replay_buffer_class": ReplayBuffer, "prioritized_replay": True},
            "prioritized_replay is True; it must be False with ReplayBuffer",
        ),
        ({"meta_gradient": "some"}, "meta_gradient is 'some'"),
        ({"penalty_reduction": "max"}, "penalty_reduction is 'max'"),
        ({"embedding_dim": -1}, "embedding_dim is -1"),
        ({"embedding": "sparse"}, "embedding is 'sparse'; it must be one of factored, dense"),
        (
            {"policy_kwargs": {"embedding_dim": 8}},
            r"policy_kwargs\['embedding_dim'\] is 8; it must be left out.*: embedding_dim, ",
        ),
        ({"policy_kwargs": {"embedding": "dense"}}, r"policy_kwargs\['embedding'\] is 'dense'"),
    ],
)
def test_settings_out_of_range_are_refused(setting, message):
    with pytest.raises(LearnerSettingError, match=message):
        MASPDQN("MlpPolicy", macro_cartpole(), **setting)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("eta", -0.1),
        ("meta_learning_rate", -1.0),
        ("meta_interval", 0),
        ("meta_average", 0),
        ("outer_batch_size", 0),
        ("meta_gradient", "some"),
        ("penalty_reduction", "max"),
    ],
)
def test_settings_out_of_range_are_refused_at_loading_too(name, value, tmp_path):
    MASPDQN("MlpPolicy", macro_cartpole(), **SMALL).save(tmp_path / "model")
    with pytest.raises(LearnerSettingError, match=f"^{name} is {value!r}; it must be"):
        MASPDQN.load(tmp_path / "model", **{name: value})


def test_an_optimizer_without_a_written_step_is_refused_before_training():
    kwargs = {"policy_kwargs": {"optimizer_class": th.optim.Adagrad}}
    with pytest.raises(UnsupportedOptimizerError, match="Adagrad"):
        MASPDQN("MlpPolicy", macro_cartpole(), **kwargs)
    MASPDQN("MlpPolicy", macro_cartpole(), similarity_frozen=True, **kwargs, **SMALL).learn(41)


AMSGRAD = {"policy_kwargs": {"optimizer_kwargs": {"amsgrad": True}}} | SMALL


def test_an_optimizer_without_a_written_step_is_refused_before_a_penalty_that_comes_later():
    def rising(remaining):
        return 0.3 * (1 - remaining)

    with pytest.raises(UnsupportedOptimizerError, match="Adam with amsgrad"):
        MASPDQN("MlpPolicy", macro_cartpole(), eta=rising, **AMSGRAD)
    fixed = FixedSimilarity(th.ones(7, 7))
    for settings in ({"eta": 0}, {"similarity_learning": "auxiliary"}, {"similarity": fixed}):
        MASPDQN("MlpPolicy", macro_cartpole(), **{"eta": rising} | settings, **AMSGRAD).learn(41)


def test_an_optimizer_without_a_written_step_is_refused_when_similarity_is_unfrozen():
    model = MASPDQN("MlpPolicy", macro_cartpole(), similarity_frozen=True, **AMSGRAD).learn(41)
    model.similarity_frozen = False
    start = model.similarity().detach().clone()
    with pytest.raises(UnsupportedOptimizerError, match="Adam with amsgrad"):
        model.learn(41)
    assert th.equal(model.similarity(), start)


def test_an_optimizer_without_a_written_step_is_refused_by_a_run_that_will_unfreeze():
    model = MASPDQN("MlpPolicy", macro_cartpole(), similarity_frozen=True, **AMSGRAD)
    budget = FrameBudget(1000)
    with pytest.raises(UnsupportedOptimizerError, match="Adam with amsgrad"):
        model.learn(1000, callback=[budget, Unfreeze(budget, 500)])
    assert model.num_timesteps == 0


class SpectralNorm(FlattenExtractor):
    def __init__(self, observation_space):
        super().__init__(observation_space)
        self.layer = spectral_norm(th.nn.Linear(self.features_dim, self.features_dim))

    def forward(self, observations):
        return self.layer(super().forward(observations))


def test_a_network_without_a_forward_derivative_learns_only_what_needs_none():
    kwargs = {"policy_kwargs": {"features_extractor_class": SpectralNorm}} | SMALL
    with pytest.raises(UnsupportedNetworkError, match="or similarity_learning='auxiliary'"):
        MASPDQN("MlpPolicy", macro_cartpole(), **kwargs).learn(41)
    for settings in ({"similarity_frozen": True}, {"similarity_learning": "auxiliary"}):
        MASPDQN("MlpPolicy", macro_cartpole(), **settings, **kwargs).learn(41)


def test_a_buffer_that_knows_no_durations_is_warned_of():
    with pytest.warns(UserWarning, match="ReplayBuffer does not know how long"):
        MASPDQN("MlpPolicy", macro_cartpole(), replay_buffer_class=ReplayBuffer, **SMALL).learn(41)


def test_memory_is_stated_before_learning_and_the_default_fits(capsys):
    model = MASPDQN("CnnPolicy", macro_breakout(), verbose=1)
    assert "replay buffer: 1,000,000 decisions, at most" in capsys.readouterr().out
    model.learn(50)
    assert 2**28 < model.replay_buffer.nbytes < 4 * 2**30


@pytest.mark.filterwarnings("ignore:rich is experimental")  # SB3's own progress bar
def test_sb3_tools_work_on_it(tmp_path):
    callback = EvalCallback(
        make_vec_env(macro_cartpole), eval_freq=50, n_eval_episodes=2, verbose=0
    )
    model = MASPDQN("MlpPolicy", macro_cartpole(), tensorboard_log=str(tmp_path), **SMALL)
    model.learn(1e2, callback=callback, progress_bar=True)
    assert list(tmp_path.glob("MASPDQN_1/events*"))
    assert callback.last_mean_reward > 0
    model.save_replay_buffer(tmp_path / "buffer")
    size = model.replay_buffer.size()
    model.load_replay_buffer(tmp_path / "buffer")
    assert model.replay_buffer.size() == size


def test_environments_in_other_processes_work():
    env = SubprocVecEnv([macro_cartpole] * 2)
    model = MASPDQN("MlpPolicy", env, **SMALL).learn(60)
    assert model.macro_set == MACROS
    env.close()


def test_a_named_buffer_class_gets_the_learners_settings_and_so_does_a_loaded_model(tmp_path):
    asked = {"gamma": 0.5, "n_steps": 3, "clip_rewards": True, "prioritized_replay": True}
    model = MASPDQN(
        "MlpPolicy",
        macro_cartpole(),
        replay_buffer_class=MacroReplayBuffer,
        replay_buffer_kwargs={"priority_exponent": 0.9},
        **asked,
        **SMALL,
    ).learn(41)
    buffer = model.replay_buffer
    assert (buffer.gamma, buffer.n_steps, buffer.clip_rewards) == (0.5, 3, True)
    assert buffer.prioritized
    assert buffer.priority_exponent == 0.9
    model.save(tmp_path / "model")
    loaded = MASPDQN.load(tmp_path / "model", gamma=0.25)
    assert (loaded.replay_buffer.gamma, loaded.replay_buffer.n_steps) == (0.25, 3)
    assert loaded.replay_buffer.priority_exponent == 0.9


def test_a_model_loaded_without_environment_still_clips_game_scores(tmp_path):
    MASPDQN("CnnPolicy", macro_breakout(), **SMALL).save(tmp_path / "model")
    assert MASPDQN.load(tmp_path / "model").replay_buffer.clip_rewards


def test_a_wrapper_that_repeats_decisions_is_refused_outside_and_allowed_inside():
    outside = MaxAndSkipEnv(macro_breakout(k=2), skip=4)
    with pytest.raises(FrameSkipError, match="MaxAndSkipEnv repeats every decision"):
        MASPDQN("CnnPolicy", outside, **SMALL)
    inside = gym.make("ALE/Breakout-v5", obs_type="ram", frameskip=1)
    inside = MacroAction(MaxAndSkipEnv(inside, skip=4), BREAKOUT)
    MASPDQN("MlpPolicy", inside, **SMALL)
    model = MASPDQN("CnnPolicy", macro_breakout(k=2), **SMALL)
    with pytest.raises(FrameSkipError, match="MaxAndSkipEnv repeats every decision"):
        model.set_env(outside)


def test_a_model_that_started_from_a_file_is_loaded_without_it(tmp_path):
    path = tmp_path / "start.safetensors"
    env = macro_cartpole()
    n_actions = int(env.action_space.n)
    save_similarity(path, make_similarity("softmax", "random", n_actions, seed=3))
    model = MASPDQN("MlpPolicy", env, similarity_start=str(path), **SMALL)
    model.save(tmp_path / "model")
    path.unlink()
    loaded = MASPDQN.load(tmp_path / "model", env=macro_cartpole())
    th.testing.assert_close(loaded.similarity(), model.similarity(), rtol=0, atol=0)


def test_a_fixed_similarity_takes_no_outer_steps():
    model = MASPDQN("MlpPolicy", macro_cartpole(), similarity="overlap", **SMALL)
    model.similarity_learning.step = None  # would fail if it were called
    model.learn(61)
    assert model._n_updates > 0
