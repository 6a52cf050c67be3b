"""Evaluating and filming what a run learned."""

from dataclasses import replace

import numpy as np
import pytest
from moviepy import VideoFileClip
from stable_baselines3.common.env_util import make_vec_env

from macro_gym import MacroSet
from macro_gym.atari import MacroAtariEnv
from sb3_masp import MASPDQN, Rainbow, run
from sb3_masp.cli import main
from sb3_masp.evaluation import Evaluation, evaluate


def test_evaluation_needs_nothing_outside_the_folder(config, capsys):
    run.train(replace(config, frames=1_500), progress_bar=False)
    config.macros.unlink()
    assert main(["evaluate", str(config.run), "--episodes", "1"]) == 0
    assert main(["evaluate", str(config.run), "--episodes", "1", "--epsilon", "0.5"]) == 0


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


def test_a_video_in_a_files_place_is_refused_before_anything_is_played(tmp_path, capsys):
    film = tmp_path / "film"
    film.write_text("x")
    assert main(["evaluate", str(tmp_path / "nothing"), "--video", str(film)]) == 2
    assert f"{film} cannot be a folder" in capsys.readouterr().err


@pytest.mark.parametrize("algorithm", ["masp-dqn", "rainbow", "pairwise-a2c"])
def test_a_video_is_of_the_first_episode_that_was_evaluated(
    algorithm, config, tmp_path, monkeypatch
):
    own = {} if algorithm == "pairwise-a2c" else {"buffer_size": 500}
    config = replace(config, algorithm=algorithm, frames=400, learner=run.LearnerConfig(**own))
    run.train(replace(config, options={"max_num_frames_per_episode": 300}), progress_bar=False)
    episodes = [[]]
    step = MacroAtariEnv.step

    def noted(self, action):
        result = step(self, action)
        episodes[-1].append(int(action))
        if result[2] or result[3]:
            episodes.append([])
        return result

    monkeypatch.setattr(MacroAtariEnv, "step", noted)
    words = ["--episodes", "2", "--epsilon", "0.3", "--video", str(tmp_path / "film")]
    assert main(["evaluate", str(config.run), *words]) == 0
    trained, _, _, _, filmed, _ = episodes
    assert len(set(trained)) > 2
    assert filmed == trained


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
