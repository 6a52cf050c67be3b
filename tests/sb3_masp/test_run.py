"""Runs, checkpoints and the command line that starts them, on the real emulator."""

import inspect
import json
import re
import signal
import subprocess
import sys
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from moviepy import VideoFileClip
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import DummyVecEnv

from macro_gym import MacroSet
from macro_gym.atari import MacroAtariEnv
from macro_gym.errors import CheckpointError
from sb3_masp import MASPDQN, Rainbow, load_similarity, run
from sb3_masp.callbacks import Checkpoints, _frames_per_step
from sb3_masp.checkpoint import load_checkpoint, save_checkpoint
from sb3_masp.cli import main
from sb3_masp.device_replay import DeviceReplayBuffer
from sb3_masp.evaluation import Evaluation, evaluate
from sb3_masp.run_config import ALGORITHMS, ARGUMENTS
from sb3_masp.run_parts import make_env, make_model
from sb3_masp.similarity_learning import AuxiliaryHead

BREAKOUT = MacroSet(("NOOP", "FIRE", "RIGHT", "LEFT"), ((3, 3, 3), (2, 2), (1, 0, 2), (2, 3)))


@pytest.fixture
def config(tmp_path):
    BREAKOUT.save(tmp_path / "macros.json")
    return run.TrainConfig(
        env="MacroALE/Breakout-v5",
        frames=6_000,
        macros=tmp_path / "macros.json",
        obs_type="ram",
        seed=7,
        net_arch=(13,),
        threads=1,
        run=tmp_path / "run",
        checkpoint_every=150,
        learner=run.LearnerConfig(
            buffer_size=500,
            learning_starts=53,
            target_update_interval=70,
            exploration_fraction=0.5,
            meta_interval=2,
            n_steps=2,
            prioritized_replay=True,
        ),
    )


class Interrupted(Exception):
    """Stands for whatever ends a process."""


def interrupt_after(monkeypatch, decisions):
    """Let any run stop in the middle of a rollout, some decisions after a checkpoint."""
    original = Checkpoints._on_step

    def on_step(self):
        if self.num_timesteps == decisions:
            raise Interrupted
        return original(self)

    monkeypatch.setattr(Checkpoints, "_on_step", on_step)


def same_content(first, second, names):
    return [name for name in names if (first / name).read_bytes() != (second / name).read_bytes()]


@pytest.mark.parametrize("n_envs", [1, 2])
def test_a_run_stopped_and_resumed_equals_the_one_that_was_not(config, monkeypatch, n_envs):
    config = replace(config, n_envs=n_envs)
    whole = run.train(replace(config, run=config.run / "whole"), progress_bar=False)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 410)
        with pytest.raises(Interrupted):
            run.train(replace(config, run=config.run / "parts"), progress_bar=False)
    assert not (config.run / "parts" / "model.zip").exists()
    np.random.seed(99)
    th.manual_seed(99)
    resumed = run.resume(config.run / "parts", progress_bar=False)
    assert resumed.num_timesteps == whole.num_timesteps > 420
    for name, tensor in whole.policy.state_dict().items():
        assert th.equal(tensor, resumed.policy.state_dict()[name]), name
    assert th.equal(whole.similarity(), resumed.similarity())
    for ours, theirs in ((whole.policy.optimizer, resumed.policy.optimizer),):
        for left, right in zip(
            ours.state_dict()["state"].values(), theirs.state_dict()["state"].values(), strict=True
        ):
            assert all(th.equal(left[key], right[key]) for key in left)
    tables = ["episodes.csv", "actions.csv"]
    assert same_content(config.run / "whole", config.run / "parts", tables) == []


def test_ctrl_c_saves_stops_and_says_how_to_go_on(config, monkeypatch, capsys, tmp_path):
    whole = run.train(replace(config, run=tmp_path / "whole"), progress_bar=False)
    original = Checkpoints._on_step

    def on_step(self):
        if self.num_timesteps == 411:
            signal.raise_signal(signal.SIGINT)
        return original(self)

    folder = tmp_path / "parts"
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "_on_step", on_step)
        with pytest.raises(KeyboardInterrupt):
            run.train(replace(config, run=folder, checkpoint_every=10**6), progress_bar=False)
    assert load_checkpoint(folder / run.CHECKPOINT).model.num_timesteps >= 411
    resumed = run.resume(folder, progress_bar=False)
    assert same_content(tmp_path / "whole", folder, ["episodes.csv", "actions.csv"]) == []
    assert th.equal(whole.similarity(), resumed.similarity())


def test_a_run_can_be_continued_from_its_first_moment(config, monkeypatch):
    interrupt_after(monkeypatch, 3)
    with pytest.raises(Interrupted):
        run.train(replace(config, checkpoint_every=10**6), progress_bar=False)
    assert load_checkpoint(config.run / run.CHECKPOINT).model.num_timesteps == 0


def test_macros_from_a_file_serve_environments_that_are_no_games(tmp_path):
    macros = MacroSet(("LEFT", "RIGHT"), ((0, 0), (1, 0, 1)))
    macros.save(tmp_path / "macros.json")
    config = run.TrainConfig("CartPole-v1", macros=tmp_path / "macros.json")
    assert run.make_env(config).get_attr("macro_set") == [macros]


def test_frames_of_ales_own_environments_are_counted_too():
    config = run.TrainConfig("ALE/Breakout-v5")
    assert _frames_per_step(run.make_env(config)) == 4
    assert _frames_per_step(run.make_env(run.TrainConfig("CartPole-v1"))) == 1


def test_evaluation_needs_nothing_outside_the_folder(config, capsys):
    run.train(replace(config, frames=1_500), progress_bar=False)
    config.macros.unlink()
    assert main(["evaluate", str(config.run), "--episodes", "1"]) == 0
    assert main(["evaluate", str(config.run), "--episodes", "1", "--epsilon", "0.5"]) == 0


def test_the_command_line_starts_without_moviepy_or_matplotlib():
    code = (
        "import sys; sys.modules['moviepy'] = sys.modules['matplotlib'] = None; "
        "import sb3_masp.cli, macro_gym.cli"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_finished_run_leaves_its_settings_log_model_similarity_and_plots(config):
    model = run.train(config, progress_bar=False)
    folder = config.run
    assert run.read_config(folder) == config
    assert MacroSet.load(folder / "macro_set.json") == model.macro_set
    similarity, about = load_similarity(folder / "similarity.safetensors")
    assert th.equal(similarity(), model.similarity())
    assert about.actions == model.macro_set.names
    assert about.macro_set == model.macro_set.hash
    for plot in ("learning_curve", "similarity", "action_usage"):
        assert (folder / "plots" / f"{plot}.png").read_bytes().startswith(b"\x89PNG")
    assert list((folder / "tensorboard").glob("events*"))
    assert not (folder / "checkpoint.pkl").exists()
    episodes = run.read_episodes(folder)
    assert len(episodes) > 2
    assert episodes[-1].frames <= config.frames + 4 * 3
    rows = (folder / "actions.csv").read_text().splitlines()[1:]
    assert sum(int(row.rpartition(",")[2]) for row in rows) == model.num_timesteps
    assert json.loads((folder / "config.json").read_text())["versions"]["torch"]


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


def test_a_checkpoint_holds_the_environment_in_the_middle_of_an_episode(config, tmp_path):
    model = run.make_model(config, run.make_env(config)).learn(101)
    save_checkpoint(tmp_path / "checkpoint.pkl", model, {"note": 5})
    resumed = load_checkpoint(tmp_path / "checkpoint.pkl")
    assert resumed.extra == {"note": 5}
    for action in (4, 0, 5, 6, 7, 3):
        first, second = (m.env.step(np.array([action])) for m in (model, resumed.model))
        np.testing.assert_array_equal(first[0], second[0])
        np.testing.assert_array_equal(first[1], second[1])


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


def test_every_learner_setting_of_the_command_line_is_one_of_some_learner():
    from inspect import signature

    known = {name for learner, _ in ALGORITHMS.values() for name in signature(learner).parameters}
    assert {ARGUMENTS.get(name, name) for name in vars(run.LearnerConfig())} <= known


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


def test_the_command_line_trains_evaluates_and_refuses_to_overwrite(tmp_path, capsys):
    folder = tmp_path / "pole"
    words = ["train", "CartPole-v1", "--frames", "400", "--run", str(folder), "--seed", "3"]
    assert main(words) == 0
    assert main(words) == 2
    assert "masp train --resume" in capsys.readouterr().err
    assert main(["train", "--resume", str(folder)]) == 2
    assert "is finished" in capsys.readouterr().err
    assert main(["evaluate", str(folder), "--episodes", "3"]) == 0
    assert "over 3 episodes" in capsys.readouterr().out
    result = json.loads((folder / "evaluation.json").read_text())
    assert len(result["trained"]["scores"]) == len(result["random"]["scores"]) == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "--resume", "nowhere"], "holds no run"),
        (["evaluate", "nowhere"], "holds no run"),
        (["train", "MacroALE/Braekout-v5"], "Did you mean"),
        (["train", "--k", "999999"], "k may be 0"),
        (["train", "CartPole-v1", "--k", "4"], "--k and --obs-type are for games"),
        (["train", "Pendulum-v1"], "Pendulum-v1 has the action space Box"),
    ],
)
def test_the_command_line_says_what_is_wrong_in_a_line(words, message, capsys, tmp_path):
    if words[0] == "train" and "--resume" not in words:
        words = [*words, "--run", str(tmp_path / "run")]
    assert main(words) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


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


@pytest.mark.parametrize("words", [["--n-envs", "0"], ["--learning-rate", "-1"]])
def test_the_command_line_says_which_option_is_out_of_range(words, capsys):
    assert main(["train", "CartPole-v1", *words]) == 2
    assert f"{words[0]} is {words[1]}" in capsys.readouterr().err


def test_an_environment_that_a_checkpoint_would_begin_anew_is_refused_until_none_is_asked_for(
    tmp_path, capsys
):
    words = ["train", "ALE/Breakout-v5", "--frames", "400", "--buffer-size", "200"]
    words += ["--run", str(tmp_path / "run")]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert "AtariEnv is pickled as the arguments of its constructor" in error
    assert "MacroALE/<Game>-v5" in error
    assert not (tmp_path / "run").exists()
    assert main([*words, "--checkpoint-every", "None"]) == 0
    assert (tmp_path / "run" / "model.zip").exists()


def test_ctrl_c_stops_a_run_without_checkpoints_and_it_begins_again(config, monkeypatch):
    original = Checkpoints._on_step

    def on_step(self):
        if self.num_timesteps == 211:
            signal.raise_signal(signal.SIGINT)
        return original(self)

    config = replace(config, frames=1_500, checkpoint_every=None)
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "_on_step", on_step)
        with pytest.raises(KeyboardInterrupt):
            run.train(config, progress_bar=False)
    assert not (config.run / run.CHECKPOINT).exists()
    resumed = run.resume(config.run, progress_bar=False)
    whole = run.train(replace(config, run=config.run / "whole"), progress_bar=False)
    assert th.equal(whole.similarity(), resumed.similarity())


def test_what_cannot_be_pickled_is_refused_and_leaves_no_file(tmp_path):
    env = gym.wrappers.TransformReward(gym.make("CartPole-v1"), lambda reward: 2 * reward)
    model = MASPDQN("MlpPolicy", env)
    with pytest.raises(CheckpointError, match=r"the run cannot be pickled: .*lambda"):
        save_checkpoint(tmp_path / "checkpoint", model, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [[], ["train"], ["evaluate"]])
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*command, "--help"])
    assert stop.value.code == 0
    assert "usage: masp" in capsys.readouterr().out


def test_a_video_shows_every_primitive(config, tmp_path, monkeypatch):
    run.train(replace(config, frames=1_500), progress_bar=False)
    durations = []
    step = MacroAtariEnv.step

    def counted(self, action):
        result = step(self, action)
        durations.append(result[-1]["duration"])
        return result

    monkeypatch.setattr(MacroAtariEnv, "step", counted)
    film = tmp_path / "film"
    assert main(["evaluate", str(config.run), "--episodes", "1", "--video", str(film)]) == 0
    (path,) = film.iterdir()
    with VideoFileClip(str(path)) as clip:
        pictures = clip.n_frames
    # One of the reset, and of the filmed episode, which is the last, one of every primitive.
    assert pictures - 1 in np.cumsum(durations[::-1])
    assert pictures > 2 * 30


def test_a_video_of_an_environment_that_is_no_game_shows_its_macros_too(tmp_path):
    MacroSet(("LEFT", "RIGHT"), ((0, 1, 1), (1, 0))).save(tmp_path / "macros.json")
    macros, folder = str(tmp_path / "macros.json"), str(tmp_path / "run")
    words = ["CartPole-v1", "--macros", macros, "--frames", "200", "--run", folder]
    assert main(["train", *words]) == 0
    film = tmp_path / "film"
    assert main(["evaluate", folder, "--episodes", "1", "--video", str(film)]) == 0
    (path,) = film.iterdir()
    with VideoFileClip(str(path)) as clip:
        assert clip.n_frames > 5


def test_evaluation_gives_the_mean_and_an_interval_around_it(config):
    run.make_model(config, run.make_env(config)).save(config.run)
    # Loaded, its action space is another object than its environment's.
    model = MASPDQN.load(config.run, env=run.make_env(config))
    result = evaluate(model, model.get_env(), 5, epsilon=1.0, seed=2)
    again = evaluate(model, model.get_env(), 5, epsilon=1.0, seed=2)
    assert result == again
    assert result != evaluate(model, model.get_env(), 5, epsilon=1.0, seed=3)
    np.random.seed(1)
    model.action_space.seed(1)
    drawn = np.random.get_state()[2], model.action_space.np_random.bit_generator.state
    evaluate(model, model.get_env(), 2)
    assert drawn == (np.random.get_state()[2], model.action_space.np_random.bit_generator.state)
    low, high = result.interval
    assert low <= result.mean == np.mean(result.scores) <= high
    assert Evaluation((2.0,) * 7, (1,) * 7, 0.0).interval == (2.0, 2.0)


def test_what_is_best_is_evaluated_without_the_noise_that_explores():
    env = make_vec_env("CartPole-v1", 2)
    model = Rainbow("MlpPolicy", env, noise_scale=50.0, seed=3, device="cpu", buffer_size=100)
    best = evaluate(model, env, 3, epsilon=0.0, seed=2)
    model.predict = lambda seen, *_: Rainbow.predict(model, seen, deterministic=True)
    assert best == evaluate(model, env, 3, epsilon=0.0, seed=2)


def test_a_run_of_cuda_graphs_is_evaluated_without_a_gpu(config, capsys):
    model = run.train(replace(config, frames=800, checkpoint_every=None), progress_bar=False)
    model.cuda_graph = True
    model.save(config.run / "model.zip")
    main(["evaluate", str(config.run), "--episodes", "1"])
    assert "trained" in capsys.readouterr().out


def test_help_tells_the_defaults_of_the_learner_that_is_meant(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    told = re.sub(r"[\s│]+", " ", capsys.readouterr().out)
    assert "Weight of the similarity penalty; 0 for none. (default: 0.3)" in told
    own = "0.0001 of masp-dqn, dqn; 5e-05 of masp-qrdqn; 6.25e-05 of masp-rainbow, rainbow; 0.0007"
    assert f"Learning rate of the network. (default: {own} of pairwise-a2c)" in told
    for algorithm, (learner, _) in ALGORITHMS.items():
        assert inspect.signature(learner).parameters["learning_rate"].default == float(
            re.search(rf"([\de.-]+) of [^;]*{algorithm}\b", own + " of pairwise-a2c")[1]
        )


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
