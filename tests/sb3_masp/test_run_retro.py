"""Runs on games of stable-retro, of which every process can run one only."""

from dataclasses import replace

import numpy as np
import pytest
import torch as th

from macro_gym import MacroSet
from macro_gym.banks import load_bank
from sb3_masp import run
from sb3_masp.callbacks import Checkpoints
from sb3_masp.cli import main
from sb3_masp.run_parts import make_env, make_film_env, parts

AIRSTRIKER = MacroSet(("NOOP", "LEFT", "RIGHT+B", "B"), ((1, 1, 1), (3, 0), (2, 2, 2, 2, 2)))


@pytest.fixture
def config(tmp_path):
    AIRSTRIKER.save(tmp_path / "macros.json")
    return run.TrainConfig(
        env="MacroRetro/Airstriker-Genesis-v0",
        frames=2_500,
        macros=tmp_path / "macros.json",
        options={"screen_size": 37, "stack_size": 2, "max_num_frames_per_episode": 700},
        seed=7,
        threads=1,
        run=tmp_path / "run",
        checkpoint_every=70,
        learner=run.LearnerConfig(
            buffer_size=500,
            batch_size=7,
            learning_starts=53,
            target_update_interval=70,
            meta_interval=2,
        ),
    )


class Interrupted(Exception):
    """Stands for whatever ends a process."""


def interrupt_after(monkeypatch, decisions):
    """Let any run stop in the middle of a rollout, some decisions after a checkpoint."""
    original = Checkpoints._on_step

    def on_step(self):
        if self.num_timesteps >= decisions:
            raise Interrupted
        return original(self)

    monkeypatch.setattr(Checkpoints, "_on_step", on_step)


@pytest.mark.parametrize("n_envs", [1, 2])
def test_a_run_stopped_and_resumed_equals_the_one_that_was_not(config, monkeypatch, n_envs):
    config = replace(config, n_envs=n_envs)
    whole = run.train(replace(config, run=config.run / "whole"), progress_bar=False)
    stopped = replace(config, run=config.run / "stopped")
    with monkeypatch.context() as patch:
        interrupt_after(patch, 150)
        with pytest.raises(Interrupted):
            run.train(stopped, progress_bar=False)
    resumed = run.resume(stopped.run, progress_bar=False)
    assert whole.num_timesteps == resumed.num_timesteps > 150
    assert whole._n_updates == resumed._n_updates > 0
    for first, second in zip(
        whole.policy.state_dict().values(), resumed.policy.state_dict().values(), strict=True
    ):
        th.testing.assert_close(first, second, rtol=0, atol=0)
    for name in ("episodes.csv", "actions.csv"):
        before, after = ((config.run / arm / name).read_text() for arm in ("whole", "stopped"))
        assert before == after
    assert len(run.read_episodes(stopped.run)) >= 2


def test_environments_are_elsewhere_so_that_a_game_can_be_filmed_here(config):
    first, second = make_env(config), make_env(replace(config, n_envs=2))
    film = make_film_env(config)
    names = film.get_wrapper_attr("get_action_meanings")()
    assert set(names) == set(AIRSTRIKER.names)
    for env in (first, second):
        assert list(env.get_attr("macro_set", indices=0)[0].names) == names
        assert env.observation_space.shape == (2, 37, 37)
        assert env.reset().shape[1:] == (2, 37, 37)
    film.reset(seed=1)
    film.step(np.int64(names.index("RIGHT+B×5")))
    assert len(film.render()) == 1 + 5
    for env in (first, second, film):
        env.close()


def test_macros_that_the_game_cannot_play_are_left_out_if_asked(config, capsys, tmp_path):
    MacroSet(("NOOP", "LEFT", "FIRE"), ((1, 1), (2, 1))).save(tmp_path / "others.json")
    dropping = replace(config, macros=tmp_path / "others.json", macros_unmapped="drop")
    env = make_env(dropping)
    assert (
        "1 macros dropped, of primitives that are none here: FIRE,LEFT" in capsys.readouterr().out
    )
    assert env.get_attr("macro_set", indices=0)[0].names[-1] == "LEFT×2"
    env.close()


@pytest.mark.parametrize("options", [{}, {"players": 2}])
def test_macros_of_other_buttons_than_the_banks_are_not_dropped(config, capsys, tmp_path, options):
    rest = "|NOOP" * (options.get("players", 1) - 1)
    names = tuple(f"{name}{rest}" for name in ("NOOP", "UP+B"))
    assert "UP+B" not in load_bank(config.env).primitives
    MacroSet(names, ((1, 1), (0, 1, 1))).save(tmp_path / "others.json")
    dropping = replace(
        config, macros=tmp_path / "others.json", macros_unmapped="drop", options=options
    )
    assert parts(dropping).kwargs["macros"] == MacroSet.load(tmp_path / "others.json")
    assert capsys.readouterr().out == ""
    only = replace(dropping, options={**options, "buttons": ["NOOP", "LEFT"]})
    assert parts(only).kwargs["macros"].macros == ()


def test_the_command_line_trains_and_evaluates_on_the_game(config, tmp_path, capsys):
    folder = str(tmp_path / "by_command")
    words = f"{config.env} --frames 1500 --macros {config.macros} --run {folder} --n-envs 2"
    settings = "--options screen_size 37 max_num_frames_per_episode 700 --learning-starts 50"
    assert main(["train", *words.split(), *settings.split()]) == 0
    assert run.read_config(tmp_path / "by_command").options["screen_size"] == 37
    assert main(["evaluate", folder, "--episodes", "3"]) == 0
    trained, random = capsys.readouterr().out.splitlines()[-2:]
    assert trained.startswith("trained")
    assert random.endswith("over 3 episodes")


@pytest.mark.parametrize("n_envs", [1, 2])
@pytest.mark.parametrize("env", ["MacroRetro/Airstriker-Genesis-v0", "MacroALE/Breakout-v5"])
def test_options_that_the_environment_does_not_take_are_named(config, env, n_envs):
    misspelt = replace(config, env=env, macros=None, options={"screen_siz": 42}, n_envs=n_envs)
    with pytest.raises(run.RunError, match=rf"--options has screen_siz, which {env} does not take"):
        make_env(misspelt)


def test_a_wrong_type_of_an_option_is_told_as_it_is(config):
    with pytest.raises(TypeError, match="screen_size"):
        make_env(replace(config, options={"screen_size": "large"}))


def test_options_that_have_a_name_of_their_own_are_refused():
    with pytest.raises(
        run.RunError, match=r"--options is \{'k': 3\}; it must be other than k, mac"
    ):
        run.TrainConfig(options={"k": 3})
