"""Runs that are really killed, by SIGKILL, and what they come to when they are resumed."""

import io
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from stable_baselines3.common.envs import IdentityEnv
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
)

from sb3_masp import MASPDQN, checkpoint, run
from sb3_masp.checkpoint import load_checkpoint, save_checkpoint
from sb3_masp.evaluation import evaluate
from sb3_masp.macro_learner import MacroLearner
from sb3_masp.run_config import ALGORITHMS
from tests.sb3_masp.killing import (
    CHILDREN,
    differences,
    generators,
    kill_after_checkpoints,
    scalars,
    started,
)


@pytest.fixture
def config(config):
    return replace(
        config,
        frames=2_600,
        checkpoint_every=35,
        learner=run.LearnerConfig(
            buffer_size=211,  # overwritten before the end
            learning_starts=53,
            batch_size=7,
            train_freq=3,
            target_update_interval=70,
            n_steps=2,
            prioritized_replay=True,
        ),
    )


def test_differences_finds_what_differs_however_deep():
    def thing():
        linear = th.nn.Linear(2, 3)
        th.nn.init.zeros_(linear.weight)
        th.nn.init.zeros_(linear.bias)
        return {"a": [np.arange(3), linear], "b": np.random.default_rng(5), "t": time.time()}

    first, second = thing(), thing()
    assert differences(first, second) == []
    second["b"].random()
    assert len(differences(first, second)) == 1
    second["a"][1].bias.data[1] = 1
    second["a"][0][2] = 7
    assert len(differences(first, second)) == 3
    assert differences(1.0, 1) != []


def test_a_killed_run_on_screens_with_their_channels_last_goes_on_bit_for_bit(config):
    config = replace(
        config,
        env="tests.sb3_masp.screens:Screens-v0",
        frames=500,
        macros=None,
        obs_type=None,
        net_arch=None,
        n_envs=2,
    )
    whole = run.train(replace(config, run=config.run / "whole"), progress_bar=False)
    assert isinstance(whole.env, VecTransposeImage)
    folder = config.run / "parts"
    killed = started(run.train, replace(config, run=folder))
    kill_after_checkpoints(killed, folder / run.CHECKPOINT, 3, random.Random(5))
    resumed = run.resume(folder, progress_bar=False)
    assert "\n".join(differences(whole, resumed)) == ""
    for table in ("episodes.csv", "actions.csv"):
        assert (config.run / "whole" / table).read_bytes() == (folder / table).read_bytes()


@pytest.mark.parametrize("wrapper", [VecMonitor, VecNormalize, partial(VecFrameStack, n_stack=3)])
def test_sb3s_wrappers_come_back_as_they_were(wrapper, tmp_path):
    env = wrapper(DummyVecEnv([lambda: gym.make("CartPole-v1")]))
    whole = MASPDQN("MlpPolicy", env, learning_starts=23, batch_size=7, seed=3).learn(31)
    save_checkpoint(tmp_path / "checkpoint", whole, {})
    resumed = load_checkpoint(tmp_path / "checkpoint").model
    assert type(resumed.env) is type(env)
    assert resumed.env.class_attributes.keys() == env.class_attributes.keys()
    for model in (whole, resumed):
        th.manual_seed(1)
        np.random.seed(1)
        model.learn(67, reset_num_timesteps=False)
    assert "\n".join(differences(whole, resumed)) == ""


@pytest.mark.parametrize(
    ("algorithm", "settings"),
    [
        *(
            (name, {})
            for name, algorithm in ALGORITHMS.items()
            if issubclass(algorithm.learner, MacroLearner)
        ),
        ("masp-dqn", {"similarity": "state", "meta_average": 3, "eta": 3.0, "eta_final": 0.3}),
        ("masp-rainbow", {"similarity_learning": "auxiliary", "auxiliary_prior": 0.5}),
    ],
    ids=str,
)
def test_a_run_killed_at_any_moment_goes_on_bit_for_bit(config, algorithm, settings):
    config = replace(config, algorithm=algorithm, learner=replace(config.learner, **settings))
    rng = random.Random(algorithm)
    whole = run.train(replace(config, run=config.run / "whole"), progress_bar=False)
    drawn = generators()

    folder = config.run / "parts"
    path = folder / run.CHECKPOINT
    kill_after_checkpoints(started(run.train, replace(config, run=folder)), path, 2, rng)
    kill_after_checkpoints(started(run.resume, folder), path, 1, rng)
    np.random.seed(99)
    th.manual_seed(99)
    resumed = run.resume(folder, progress_bar=False)

    assert differences(drawn, generators()) == []
    assert "\n".join(differences(whole, resumed)) == ""
    assert resumed.replay_buffer.full
    assert resumed._n_updates > 50
    for table in ("episodes.csv", "actions.csv"):
        assert (config.run / "whole" / table).read_bytes() == (folder / table).read_bytes()
    shown = scalars(folder)
    assert len(shown) > 5
    assert shown == scalars(config.run / "whole")
    first, second = (evaluate(model, model.get_env(), 2, seed=5) for model in (whole, resumed))
    assert first == second


def kill_at_replacing(config, name, moment, number):
    """Train until the ``number``-th time that the file ``name`` is written, and die there."""
    replace_file = os.replace
    times = 0

    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    def replacing(source, target):
        nonlocal times
        if target.name != name:
            return replace_file(source, target)
        times += 1
        if times == number and moment == "before":
            die()
        replace_file(source, target)
        if times == number:
            die()

    class Dying(checkpoint.Pickler):
        def __init__(self, file, protocol):
            self.file = file
            super().__init__(file, protocol)

        def dump(self, content):
            if not (times == number - 1 and moment == "within"):
                return super().dump(content)
            whole = io.BytesIO()
            pickler(whole, pickle.HIGHEST_PROTOCOL).dump(content)
            self.file.write(whole.getvalue()[: len(whole.getvalue()) // 2])
            self.file.flush()
            die()

    pickler = checkpoint.Pickler
    os.replace = replacing
    checkpoint.Pickler = Dying
    run.train(config, progress_bar=False)


@pytest.fixture(scope="module")
def uninterrupted():
    """The uninterrupted run that the cases below share, once one of them has made it."""
    return {}


@pytest.mark.parametrize(
    ("name", "moment", "number", "remains"),
    [
        (run.MACRO_SET, "after", 1, "nothing"),
        ("config.json", "after", 1, "no checkpoint"),
        (run.CHECKPOINT, "within", 1, "no checkpoint"),
        (run.CHECKPOINT, "within", 3, "a checkpoint"),
        (run.CHECKPOINT, "before", 3, "a checkpoint"),
        (run.CHECKPOINT, "after", 3, "a checkpoint"),
        ("actions.csv", "before", 1, "a checkpoint"),
        ("model.zip", "before", 1, "a checkpoint"),
        ("model.zip", "after", 1, "all"),
    ],
)
def test_a_kill_while_a_file_is_written_loses_nothing(
    config, uninterrupted, name, moment, number, remains
):
    # One file of macros for all cases, since environments remember its path.
    config = replace(config, frames=1_500, macros=uninterrupted.setdefault("macros", config.macros))
    if "model" not in uninterrupted:
        whole = replace(config, run=config.run / "whole")
        uninterrupted["model"] = run.train(whole, progress_bar=False)
    folder = config.run / "parts"
    child = CHILDREN.Process(
        target=kill_at_replacing, args=(replace(config, run=folder), name, moment, number)
    )
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert (folder / run.CHECKPOINT).exists() == (remains in ("a checkpoint", "all"))
    if moment == "within":
        assert list(folder.glob(f".{run.CHECKPOINT}.*"))
    if remains == "all":
        with pytest.raises(run.RunError, match="is finished"):
            run.resume(folder)
    elif remains == "nothing":
        with pytest.raises(run.RunError, match="holds no run"):
            run.resume(folder)
        run.train(replace(config, run=folder), progress_bar=False)
    else:
        resumed = run.resume(folder, progress_bar=False)
        assert "\n".join(differences(uninterrupted["model"], resumed)) == ""
    assert (folder / "model.zip").exists()
    assert not list(folder.glob(f"*{run.CHECKPOINT}*"))
    assert not list(folder.glob(f".{run.CHECKPOINT}*"))


def test_the_command_that_was_killed_is_resumed_by_the_command_that_it_names(config):
    folder = config.run
    train = [sys.executable, "-m", "sb3_masp.cli", "train"]
    words = ["CartPole-v1", "--frames", "100000", "--checkpoint-every", "50", "--run", str(folder)]
    with subprocess.Popen([*train, *words], stderr=subprocess.DEVNULL) as process:
        while not (folder / run.CHECKPOINT).exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    settings = folder / "config.json"
    settings.write_text(settings.read_text().replace('"frames": 100000', '"frames": 300'))
    ended = subprocess.run(
        [*train, "--resume", str(folder)], capture_output=True, text=True, check=True
    )
    assert "checkpoints took" in ended.stderr
    assert "model.zip" in ended.stdout


def test_the_cost_of_a_checkpoint_is_measured_and_logged(config, capsys):
    logged = {}

    class Spy(Logger):
        def record(self, key, value, exclude=None):
            logged.setdefault(key, []).append(value)

    model = run.make_model(config, run.make_env(config))
    model.set_logger(Spy(None, []))
    path = config.run / run.CHECKPOINT
    checkpoints = run.Checkpoints(40, lambda: save_checkpoint(path, model, {}), at_once=True)
    model.learn(90, callback=checkpoints)
    assert len(logged["checkpoint/seconds"]) == 3
    assert all(0 < seconds < 10 for seconds in logged["checkpoint/seconds"])
    assert logged["checkpoint/bytes"][-1] == path.stat().st_size
    assert checkpoints.statement().startswith("3 checkpoints took 0.")
    assert "KiB" in checkpoints.statement()


def test_an_environment_that_shares_its_actions_generator_shares_it_after_resuming(tmp_path):
    # IdentityEnv draws its states from the action space that the learner explores with.
    whole = MASPDQN("MlpPolicy", IdentityEnv(dim=5, ep_length=7), learning_starts=53, seed=3)
    whole.learn(31)
    save_checkpoint(tmp_path / "checkpoint", whole, {})
    resumed = load_checkpoint(tmp_path / "checkpoint").model
    for model in (whole, resumed):
        th.manual_seed(1)
        np.random.seed(1)
        model.learn(61, reset_num_timesteps=False)
    assert "\n".join(differences(whole, resumed)) == ""
