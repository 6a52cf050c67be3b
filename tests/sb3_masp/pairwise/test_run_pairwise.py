"""Runs of PairwiseA2C from the command line: settings, macros, kills, evaluation, what is left."""

import json
import random
from dataclasses import replace

import numpy as np
import pytest
import torch as th

from macro_gym.errors import LearnerSettingError
from sb3_masp import run
from sb3_masp.callbacks import Checkpoints, EpisodeLog
from sb3_masp.checkpoint import load_checkpoint, save_checkpoint
from sb3_masp.cli import main
from sb3_masp.evaluation import _PartlyRandom, evaluate
from sb3_masp.pairwise import FixedTableWeights, PairwiseA2C, load_weights, save_weights
from tests.sb3_masp.killing import (
    differences,
    generators,
    kill_after_checkpoints,
    scalars,
    started,
)
from tests.sb3_masp.poles import BREAKOUT

# SB3 asks every environment for pictures.
pytestmark = pytest.mark.filterwarnings("ignore:.*render_mode")


@pytest.fixture
def dag(tmp_path):
    return run.TrainConfig(
        env="Credit/DAG-v0",
        algorithm="pairwise-a2c",
        frames=900,
        options={"depth": 4},
        n_envs=2,
        seed=7,
        net_arch=(5,),
        threads=1,
        run=tmp_path / "run",
        checkpoint_every=134,
        learner=run.LearnerConfig(n_steps=2, inner_steps=3),
    )


@pytest.fixture
def breakout(config):
    return replace(
        config,
        algorithm="pairwise-a2c",
        frames=1_300,
        checkpoint_every=30,
        learner=run.LearnerConfig(
            n_steps=5, advantage="pwr", inner_steps=3, redistribute_rewards=True
        ),
    )


class Interrupted(Exception):
    """Stands for whatever ends a process."""


def same_tables(first, second):
    return all(
        (first / name).read_bytes() == (second / name).read_bytes()
        for name in ("episodes.csv", "actions.csv")
    )


def test_a_run_stopped_and_resumed_equals_the_one_that_was_not(dag, monkeypatch):
    whole = run.train(replace(dag, run=dag.run / "whole"), progress_bar=False)
    folder = dag.run / "parts"
    original = Checkpoints._on_step

    def on_step(self):
        if self.num_timesteps == 402:  # last saved at 272, two updates into three
            raise Interrupted
        return original(self)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "_on_step", on_step)
        with pytest.raises(Interrupted):
            run.train(replace(dag, run=folder), progress_bar=False)
    np.random.seed(99)
    th.manual_seed(99)
    resumed = run.resume(folder, progress_bar=False)
    assert "\n".join(differences(whole, resumed)) == ""
    assert whole._n_updates > 200
    assert whole.weights.table().std() > 1e-4
    assert same_tables(dag.run / "whole", folder)
    shown = scalars(folder)
    assert {step for _, step in shown} == {400, 800, whole.num_timesteps}  # a hundred updates
    assert shown == scalars(dag.run / "whole")


def test_a_run_killed_at_any_moment_goes_on_bit_for_bit(breakout):
    rng = random.Random(3)
    whole = run.train(replace(breakout, run=breakout.run / "whole"), progress_bar=False)
    drawn = generators()
    folder = breakout.run / "parts"
    path = folder / run.CHECKPOINT
    kill_after_checkpoints(started(run.train, replace(breakout, run=folder)), path, 3, rng)
    resumed = run.resume(folder, progress_bar=False)
    assert differences(drawn, generators()) == []
    assert "\n".join(differences(whole, resumed)) == ""
    assert same_tables(breakout.run / "whole", folder)
    first, second = (evaluate(model, model.get_env(), 2, seed=5) for model in (whole, resumed))
    assert first == second


def test_a_checkpoint_holds_the_clock_and_what_weights_are_yet_to_learn_from(breakout, tmp_path):
    model = run.make_model(breakout, run.make_env(breakout)).learn(40)
    assert model.rollout_buffer._now.any()
    assert len(model._window) == 2
    save_checkpoint(tmp_path / "checkpoint", model, {})
    resumed = load_checkpoint(tmp_path / "checkpoint").model
    for name in ("rollout_buffer", "_window", "_outcomes"):
        assert "\n".join(differences(getattr(model, name), getattr(resumed, name))) == ""


def test_a_checkpoint_holds_each_number_once(tmp_path):
    vector = th.arange(20_000.0)
    views = [part.view(5, 200) for part in vector.split(1_000)]
    model = PairwiseA2C("MlpPolicy", "CartPole-v1", policy_kwargs={"net_arch": [5]})
    without = save_checkpoint(tmp_path / "checkpoint", model, {}).nbytes
    cost = save_checkpoint(tmp_path / "checkpoint", model, {"views": views})
    assert cost.nbytes - without < 1.2 * vector.nbytes
    loaded = load_checkpoint(tmp_path / "checkpoint").extra["views"]
    assert all(th.equal(*pair) for pair in zip(views, loaded, strict=True))


def test_learning_rates_fall_over_frames_though_decisions_take_several(breakout):
    settings = {"meta_learning_rate": 0.5, "meta_learning_rate_final": 0.0, "n_steps": 3}
    config = replace(breakout, frames=700, learner=run.LearnerConfig(**settings))
    model = run.train(config, progress_bar=False)
    assert 0 < model.weights_optimizer.param_groups[0]["lr"] < 0.05


def test_macros_enter_time_and_discounts(breakout):
    model = run.train(breakout, progress_bar=False)
    trajectory = model._window[-1].trajectory
    assert trajectory.durations.max() > 1
    within = ~trajectory.last[:, :-1]
    ends = trajectory.clock + trajectory.durations
    assert th.equal(trajectory.clock[:, 1:][within], ends[:, :-1][within])
    going_on = trajectory.discounts > 0
    expected = model.gamma ** trajectory.durations.double()
    th.testing.assert_close(trajectory.discounts.double()[going_on], expected[going_on])
    assert model.clip_rewards
    assert model.macro_set == BREAKOUT


@pytest.mark.parametrize("advantage", ["pwtd", "pwr"])
def test_games_are_stepped_side_by_side_and_dictionaries_are_read(advantage, tmp_path):
    words = ["--algo", "pairwise-a2c", "--advantage", advantage, "--n-steps", "5"]
    games = ["MacroALE/Breakout-v5", "--k", "8", "--obs-type", "ram", "--n-envs", "2"]
    assert main(["train", *games, *words, "--frames", "200", "--run", str(tmp_path / "a")]) == 0
    doors = ["Credit/KeyToDoor-v0"]
    assert main(["train", *doors, *words, "--frames", "15", "--run", str(tmp_path / "b")]) == 0
    for folder in ("a", "b"):
        assert (tmp_path / folder / "weights.safetensors").exists()
        assert (tmp_path / folder / "plots" / "weights.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("flag", ["weights_frozen", "inner_resets"])
def test_every_setting_reaches_the_learner_and_is_told(dag, flag):
    settings = {
        flag: True,
        "learning_rate": 0.003,
        "gamma": 0.93,
        "gae_lambda": 0.81,
        "ent_coef": 0.02,
        "vf_coef": 0.3,
        "max_grad_norm": 0.7,
        "n_steps": 3,
        "advantage": "pwr",
        "inner_steps": 4,
        "redistribute_rewards": True,
        "normalize_advantage": True,
        "clip_rewards": True,
        "meta_learning_rate": 0.04,
    }
    config = replace(dag, learner=run.LearnerConfig(**settings, weights="geometric"))
    model = run.make_model(config, run.make_env(config))
    assert type(model) is PairwiseA2C
    assert {name: getattr(model, name) for name in settings} == settings
    assert model.weights.factor == 0.93
    told = json.loads(json.dumps(run._about(config)["learner"], default=str))
    assert told.items() >= (settings | {"weights": "geometric"}).items()


def test_a_run_leaves_its_weights_and_another_starts_from_them(dag, capsys):
    model = run.train(dag, progress_bar=False)
    file = dag.run / "weights.safetensors"
    learned = load_weights(file)
    assert th.equal(learned.table(), model.weights.table())
    settings = replace(dag.learner, weights=str(file), weights_frozen=True)
    config = replace(dag, run=dag.run / "frozen", frames=60, learner=settings)
    frozen = run.train(config, progress_bar=False)
    assert th.equal(frozen.weights.table(), learned.table())
    assert run.digests(config).keys() == {"weights"}
    going_on = replace(config, learner=replace(settings, weights_frozen=False), frames=61)
    assert not th.equal(
        run.train(replace(going_on, run=dag.run / "on"), progress_bar=False).weights.table(),
        learned.table(),
    )
    wider = replace(config, options={"depth": 8})
    with pytest.raises(ValueError, match="TableWeights of other sizes"):
        run.make_model(wider, run.make_env(wider))


def test_handcrafted_weights_may_come_from_a_file(dag, tmp_path):
    table = np.random.default_rng(3).random((10, 10))
    save_weights(tmp_path / "by_hand.safetensors", FixedTableWeights(table))
    by_hand = run.LearnerConfig(n_steps=2, weights=str(tmp_path / "by_hand.safetensors"))
    model = run.train(replace(dag, frames=80, learner=by_hand), progress_bar=False)
    np.testing.assert_allclose(model.weights.values, table, atol=1e-7)
    loaded = PairwiseA2C.load(dag.run / "model.zip")
    assert th.equal(loaded.weights.values, model.weights.values)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--eta", "0.5"], "--eta is no setting of pairwise-a2c"),
        (["--buffer-size", "50"], "--buffer-size is no setting of pairwise-a2c"),
        (["--similarity", "uniform"], "--similarity is no setting of pairwise-a2c"),
        (["--gae-lambda", "1.5"], "--gae-lambda is 1.5; it must be within"),
        (["--inner-steps", "0"], "--inner-steps is 0; it must be at least 1"),
        (["--ent-coef", "-1"], "--ent-coef is -1.0; it must be at least 0"),
        (["--weights", "tabel"], "weights is 'tabel'; it must be CreditWeights or one of table"),
        (["--weights", "table"], "weights='table' is for numbered states"),
        (["--redistribute-rewards"], "redistribute_rewards is True; it must be False with 'pwtd'"),
        (["--algo", "masp-dqn", "--weights", "table"], "--weights is no setting of masp-dqn"),
    ],
)
def test_settings_that_do_not_fit_are_refused(words, message, capsys, tmp_path):
    algorithm = [] if "--algo" in words else ["--algorithm", "pairwise-a2c"]
    folder = tmp_path / "run"
    assert main(["train", "CartPole-v1", *algorithm, *words, "--run", str(folder)]) == 2
    assert message in capsys.readouterr().err
    assert not folder.exists()


def test_a_finished_run_is_evaluated_with_a_share_of_random_decisions(dag, capsys):
    run.train(replace(dag, frames=60), progress_bar=False)
    assert main(["evaluate", str(dag.run), "--episodes", "3"]) == 0
    assert "over 3 episodes" in capsys.readouterr().out


@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0])
def test_a_share_of_decisions_is_random_where_a_learner_has_a_policy(epsilon, dag):
    model = run.make_model(dag, run.make_env(dag))
    with th.no_grad():
        model.policy.action_net.bias[1] = 1e6
    np.random.seed(1)
    player = _PartlyRandom(model, epsilon, greedy=False)
    chosen = np.concatenate([player.predict(np.zeros(2, int))[0] for _ in range(1_000)])
    # A random decision is the policy's own in one of two cases.
    assert np.mean(chosen == 0) == pytest.approx(epsilon / 2, abs=0.03)


def test_a_logged_episode_counts_every_environment(dag):
    model = run.make_model(dag, run.make_env(dag))
    budget = run.FrameBudget(dag.frames)
    log = EpisodeLog(budget)
    model.learn(10**6, callback=[budget, log])
    assert budget.frames == model.num_timesteps == 900
    assert log.action_counts.sum() == 900
    assert {episode.length for episode in log.episodes} == {4}


def test_a_weights_argument_that_is_no_form_says_which_there_are():
    with pytest.raises(LearnerSettingError, match="table, embedding, geometric"):
        PairwiseA2C("MlpPolicy", "CartPole-v1", weights="tables")
