"""Runs and their checkpoints, on the real emulator."""

import json
import signal
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch as th

from macro_gym import MacroSet
from macro_gym.errors import CheckpointError
from sb3_masp import MASPDQN, load_similarity, run
from sb3_masp.callbacks import Checkpoints
from sb3_masp.checkpoint import load_checkpoint, save_checkpoint
from sb3_masp.cli import main


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


def test_a_checkpoint_holds_the_environment_in_the_middle_of_an_episode(config, tmp_path):
    model = run.make_model(config, run.make_env(config)).learn(101)
    save_checkpoint(tmp_path / "checkpoint.pkl", model, {"note": 5})
    resumed = load_checkpoint(tmp_path / "checkpoint.pkl")
    assert resumed.extra == {"note": 5}
    for action in (4, 0, 5, 6, 7, 3):
        first, second = (m.env.step(np.array([action])) for m in (model, resumed.model))
        np.testing.assert_array_equal(first[0], second[0])
        np.testing.assert_array_equal(first[1], second[1])


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
