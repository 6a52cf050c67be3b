"""Settings of runs: which there are, what they reach and which are refused."""

import json
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import DQN
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import DummyVecEnv

from macro_gym import MacroSet
from sb3_masp import MASPDQN, run
from sb3_masp.callbacks import Checkpoints, FrameBudget, _frames_per_step
from sb3_masp.cli import main
from sb3_masp.device_replay import DeviceReplayBuffer
from sb3_masp.run_config import ALGORITHMS
from sb3_masp.run_parts import make_env, make_model
from sb3_masp.similarity_learning import AuxiliaryHead


def test_macros_from_a_file_serve_environments_that_are_no_games(tmp_path):
    macros = MacroSet(("LEFT", "RIGHT"), ((0, 0), (1, 0, 1)))
    macros.save(tmp_path / "macros.json")
    config = run.TrainConfig("CartPole-v1", macros=tmp_path / "macros.json")
    assert run.make_env(config).get_attr("macro_set") == [macros]


def test_frames_of_ales_own_environments_are_counted_too():
    config = run.TrainConfig("ALE/Breakout-v5")
    assert _frames_per_step(run.make_env(config)) == 4
    assert _frames_per_step(run.make_env(run.TrainConfig("CartPole-v1"))) == 1


def test_the_budget_counts_frames_and_exploration_falls_over_them(config):
    rates = {}

    class Spy(Checkpoints):
        def _on_step(self):
            rates[budget.frames] = self.model.exploration_rate
            return True

    model = run.make_model(config, run.make_env(config))
    budget = run.FrameBudget(config.frames)
    model.learn(10**9, callback=[budget, Spy(10**9, lambda: None)])
    emulated = model.get_env().get_attr("ale")[0].getFrameNumber()
    # A reset runs no frames of its own, but an episode's last step may be cut short.
    assert config.frames <= budget.frames <= config.frames + 12
    assert abs(budget.frames - emulated) < 4 * len(model.ep_info_buffer) + 4
    frames = np.array(list(rates))
    halfway = frames[np.searchsorted(frames, config.frames // 4)]
    assert rates[halfway] == pytest.approx(1 - 0.95 / 2, abs=0.01)
    assert list(rates.values())[-1] == pytest.approx(0.05)


@pytest.mark.parametrize(("learner", "k"), [(DQN, 0), (DQN, 32), (MASPDQN, 32)])
def test_any_script_stops_after_the_same_number_of_frames(learner, k):
    env = gym.make("MacroALE/Breakout-v5", k=k, obs_type="ram")
    model = learner("MlpPolicy", env, buffer_size=1_000, learning_starts=10_000)
    model.learn(4_000, callback=FrameBudget(4_000))
    # An episode's last step may be cut short, and the last macro goes on to its end.
    cut = 4 * (len(model.ep_info_buffer) + 1)
    assert 4_000 - cut <= env.unwrapped.ale.getFrameNumber() <= 4_000 + 4 * 8
    assert model.num_timesteps < (600 if k else 1_001)
    assert model.exploration_rate == model.exploration_final_eps


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_settings_left_out_are_the_learners_own_and_the_settings_file_tells_them(config, algorithm):
    from inspect import signature

    config = replace(config, algorithm=algorithm, learner=run.LearnerConfig(gamma=0.5))
    learner, fixed = ALGORITHMS[algorithm]
    assert config.learner_kwargs == {"gamma": 0.5} | fixed
    model = run.make_model(config, run.make_env(config))
    assert type(model) is learner
    assert model.gamma == 0.5
    default = signature(learner).parameters["learning_rate"].default
    assert model.learning_rate == run._about(config)["learner"]["learning_rate"] == default
    assert run._about(config)["learner"]["gamma"] == 0.5


def test_options_for_what_eta_and_beta_come_to_make_straight_lines_over_the_run(config):
    settings = {"eta": 3.0, "eta_final": 0.3, "meta_learning_rate_final": 0.0}
    config = replace(config, learner=replace(config.learner, **settings))
    model = run.make_model(config, run.make_env(config))
    assert [model.eta(remaining) for remaining in (1, 0.5, 0)] == pytest.approx([3, 1.65, 0.3])
    assert [model.meta_learning_rate(r) for r in (1, 0.5, 0)] == pytest.approx([0.01, 0.005, 0])
    told = json.loads(json.dumps(run._about(config)["learner"], default=str))
    assert told["eta"] == "LinearSchedule(start=3.0, end=0.3, end_fraction=1.0)"
    with pytest.raises(run.RunError, match="--eta-final is no setting of dqn"):
        _ = run.TrainConfig(
            algorithm="dqn", learner=run.LearnerConfig(eta_final=0.3)
        ).learner_kwargs


def test_the_option_for_the_prior_is_the_auxiliary_heads_and_of_no_other_way(config):
    head = run.LearnerConfig(similarity_learning="auxiliary", auxiliary_prior=0.37)
    way = replace(config, learner=head).learner_kwargs["similarity_learning"]
    assert (type(way), way.prior) == (AuxiliaryHead, 0.37)
    alone = replace(config, learner=replace(head, similarity_learning=None))
    with pytest.raises(run.RunError, match="--auxiliary-prior goes with --similarity-learning"):
        _ = alone.learner_kwargs


def test_options_for_speed_reach_the_learner(config):
    speed = {"replay_on_device": True, "overlap_updates": True}
    config = replace(config, learner=replace(config.learner, **speed))
    model = make_model(config, make_env(config))
    assert type(model.replay_buffer) is DeviceReplayBuffer
    assert (model.overlap_updates, model.cuda_graph) == (True, False)
    graph = replace(config, learner=run.LearnerConfig(cuda_graph=True))
    assert graph.learner_kwargs["cuda_graph"] is True


@pytest.mark.parametrize(
    "setting", [{"meta_interval": 8}, {"outer_batch_size": 99}, {"meta_learning_rate_final": 0.1}]
)
def test_settings_of_meta_learning_are_refused_where_nothing_is_meta_learned(config, setting):
    head = run.LearnerConfig(similarity_learning="auxiliary", **setting)
    option = f"--{next(iter(setting)).replace('_', '-')}"
    with pytest.raises(run.RunError, match=f"{option} goes with --similarity-learning meta"):
        _ = replace(config, learner=head).learner_kwargs


def test_a_setting_that_the_learner_does_not_have_is_refused_before_anything_is_written(
    config, capsys
):
    words = ["train", "--algorithm", "dqn", "--eta", "0.5", "--run", str(config.run)]
    assert main(words) == 2
    assert "--eta is no setting of dqn" in capsys.readouterr().err
    assert not config.run.exists()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("n_envs", 0, "--n-envs is 0; it must be at least 1"),
        ("frames", -5, "--frames is -5; it must be at least 1"),
        ("threads", 0, "--threads is 0"),
        ("checkpoint_every", 0, "--checkpoint-every is 0"),
        ("seed", -1, "--seed is -1"),
        ("net_arch", (3, 0), r"--net-arch is \(3, 0\)"),
    ],
)
def test_settings_of_runs_out_of_range_are_refused(name, value, message):
    with pytest.raises(run.RunError, match=message):
        run.TrainConfig(**{name: value})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("learning_rate", -1.0, "--learning-rate is -1.0; it must be above 0"),
        ("train_freq", 0, "--train-freq is 0; it must be at least 1"),
        ("batch_size", 0, "--batch-size is 0"),
        ("buffer_size", 0, "--buffer-size is 0"),
        ("n_steps", 0, "--n-steps is 0"),
        ("target_update_interval", 0, "--target-update-interval is 0"),
        ("learning_starts", -1, "--learning-starts is -1; it must be at least 0"),
        ("gradient_steps", -2, "--gradient-steps is -2"),
        ("gamma", 1.01, "--gamma is 1.01; it must be within"),
        ("exploration_fraction", 1.5, "--exploration-fraction is 1.5"),
        ("exploration_final_eps", -0.1, "--exploration-final-eps is -0.1"),
        ("max_grad_norm", float("nan"), "--max-grad-norm is nan"),
    ],
)
def test_settings_of_learners_out_of_range_are_refused(name, value, message):
    with pytest.raises(run.RunError, match=message):
        run.LearnerConfig(**{name: value})


@pytest.mark.parametrize(
    ("shape", "dtype", "high"), [((7, 10, 4), bool, 1), ((7, 10, 3), np.uint8, 255)]
)
def test_images_too_small_for_convolutions_are_read_as_numbers(shape, dtype, high, config):
    env = DummyVecEnv([lambda: Pictures(shape, dtype, high)])
    model = run.make_model(replace(config, env="Pictures-v0", macros=None, obs_type=None), env)
    assert isinstance(model.policy.q_net.features_extractor, FlattenExtractor)


class Pictures(gym.Env):
    action_space = gym.spaces.Discrete(2)

    def __init__(self, shape, dtype, high):
        self.observation_space = gym.spaces.Box(0, high, shape, dtype)
