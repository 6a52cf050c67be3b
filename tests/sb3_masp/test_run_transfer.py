"""The paper's transfer between games, with runs on the real emulator."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch as th

from macro_gym import MacroSet
from macro_gym.errors import RemapError
from sb3_masp import load_similarity, run, run_results
from sb3_masp.callbacks import Checkpoints, Unfreeze
from sb3_masp.cli import main
from sb3_masp.run_parts import split_macros
from sb3_masp.similarity import (
    FixedSimilarity,
    SimilarityAbout,
    SimilarityError,
    SoftmaxSimilarity,
    save_similarity,
    transferred_similarity,
)

BREAKOUT = MacroSet(("NOOP", "FIRE", "RIGHT", "LEFT"), ((3, 3, 3), (2, 2), (1, 0, 2)))
PONG = ("NOOP", "FIRE", "RIGHT", "LEFT", "RIGHTFIRE", "LEFTFIRE")
SETTINGS = """
    --obs-type ram --net-arch 7 --threads 1 --buffer-size 300 --learning-starts 23
    --batch-size 7 --checkpoint-every 40 --meta-interval 2 --seed 5 --frames 900
"""
EVALUATION = {"evaluate": ["--episodes", "1", "--epsilon", "1"], "similarity": []}


class Interrupted(Exception):
    """Stands for whatever ends a process."""


@pytest.fixture(autouse=True)
def _no_plots(monkeypatch):
    """They take longer than these runs, and are not what is tested here."""
    monkeypatch.setattr(run_results, "_draw", lambda *_: None)


@pytest.fixture
def files(tmp_path):
    """A similarity learned on Breakout, and its macros."""
    weights = th.rand(7, 7, generator=th.Generator().manual_seed(3))
    sigma, macros = tmp_path / "sigma.safetensors", tmp_path / "macros.json"
    save_similarity(sigma, SoftmaxSimilarity(weights), SimilarityAbout.of(BREAKOUT))
    BREAKOUT.save(macros)
    return sigma, macros


@pytest.fixture
def config(files, tmp_path):
    sigma, macros = files
    learner = run.LearnerConfig(
        similarity=str(sigma),
        similarity_frozen=True,
        buffer_size=300,
        learning_starts=23,
        batch_size=7,
        meta_interval=2,
    )
    return run.TrainConfig(
        env="MacroALE/Pong-v5",
        frames=1_000,
        macros=macros,
        obs_type="ram",
        seed=5,
        net_arch=(7,),
        threads=1,
        similarity_unmapped="uniform",
        run=tmp_path / "run",
        checkpoint_every=40,
        learner=learner,
    )


def protocol():
    """The commands of the page, at a size for tests."""
    page = (Path(__file__).parents[2] / "docs" / "transfer.md").read_text()
    (block,) = re.findall(r"<!-- protocol -->\n```sh\n(.*?)```", page, re.DOTALL)
    for command in block.splitlines():
        words = command.replace("--k 128", "--k 3").replace("--frames 10000000", SETTINGS).split()
        if "dqn" in words:
            words = [word for word in words if word not in ("--meta-interval", "2")]
        yield words[1:] if words[1] == "train" else [*words[1:], *EVALUATION[words[1]]]


def test_the_protocol_of_table_5_runs_as_the_page_has_it(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    commands = list(protocol())
    assert len(commands) == 7
    for words in commands:
        assert main(words) == 0, words
    said = capsys.readouterr().out
    assert "softmax, 7 actions of Breakout, learned by MASPDQN in 9" in said
    names = "RIGHTFIRE, LEFTFIRE"
    assert f"7 actions carried over by name; 2 not carried over, uniform instead: {names}\n" in said

    learned, about = load_similarity("breakout.safetensors")
    assert (about.env, about.game, about.learner) == ("MacroALE/Breakout-v5", "Breakout", "MASPDQN")
    assert 900 <= about.frames < 900 + 4 * 8
    assert not th.equal(learned(), learned.start)
    written = json.loads(Path("runs/transferred/transfer.json").read_text())
    assert written["unmapped"] == ["RIGHTFIRE", "LEFTFIRE"]
    assert written["by_name"] == list(about.actions)

    found, its = load_similarity("runs/transferred/similarity.safetensors")
    assert (its.env, its.game) == ("MacroALE/SpaceInvaders-v5", "SpaceInvaders")
    assert its.primitives == (*about.primitives, "RIGHTFIRE", "LEFTFIRE")
    assert its.macros == about.macros
    common = [0, 1, 2, 3, 6, 7, 8]
    shares = found()[common][:, common] * 8 / 6
    th.testing.assert_close(shares, learned(), rtol=1e-3, atol=1e-6)
    assert th.equal(found(), found.start)
    for name, is_as_it_started in (("own", False), ("uniform", True)):
        other, _ = load_similarity(f"runs/{name}/similarity.safetensors")
        assert th.equal(other(), other.start) == is_as_it_started
        assert float(other.start[0, 1]) == pytest.approx(1 / 8)


def test_actions_that_only_the_target_has_are_refused_by_default(config, capsys):
    words = ["train", "MacroALE/Pong-v5", "--macros", str(config.macros), "--run", str(config.run)]
    words += ["--frames", "60", "--similarity-frozen"]
    assert main([*words, "--similarity", config.learner.similarity]) == 2
    assert "RIGHTFIRE, LEFTFIRE. Say unmapped='uniform'" in capsys.readouterr().err
    assert not config.run.exists()


def test_without_freezing_it_is_where_learning_starts(config):
    config = replace(config, learner=replace(config.learner, similarity_frozen=False))
    model = run.train(config, progress_bar=False)
    wanted, _ = transferred_similarity(config.learner.similarity, model.macro_set, "uniform")
    assert th.equal(model.similarity.start, wanted())
    assert not th.allclose(model.similarity(), wanted())


def test_an_unfrozen_similarity_learns_from_its_frame_on_and_not_before(config, monkeypatch):
    seen = {}
    original = Unfreeze._on_step

    def on_step(self):
        seen[self._budget.frames] = self.model.similarity().detach().clone()
        return original(self)

    monkeypatch.setattr(Unfreeze, "_on_step", on_step)
    model = run.train(replace(config, similarity_unfreeze_at=600), progress_bar=False)
    moved = [
        frames for frames, sigma in seen.items() if not th.equal(sigma, model.similarity.start)
    ]
    assert 600 < min(moved) < 600 + 4 * 4 * 3
    assert all(frames in moved for frames in seen if frames > min(moved))
    assert min(seen) < 30


@pytest.mark.parametrize("is_late", [False, True])
def test_a_run_resumed_before_or_after_it_is_unfrozen_equals_the_whole_one(
    config, monkeypatch, is_late
):
    config = replace(config, similarity_unfreeze_at=500)
    whole = run.train(replace(config, run=config.run / "whole"), progress_bar=False)
    decisions = whole.num_timesteps - 1 if is_late else 50
    original = Checkpoints._on_step

    def on_step(self):
        if self.num_timesteps == decisions:
            raise Interrupted
        return original(self)

    parts = replace(config, run=config.run / "parts")
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "_on_step", on_step)
        with pytest.raises(Interrupted):
            run.train(parts, progress_bar=False)
    config.macros.unlink()
    (config.macros.parent / "sigma.safetensors").unlink()  # a run that is under way needs neither
    assert main(["similarity", "export", str(parts.run), "--output", str(config.run / "mid")]) == 0
    middle, about = load_similarity(config.run / "mid")
    assert about.decisions == decisions // 40 * 40
    assert (about.frames > 500) == is_late
    assert th.equal(middle(), middle.start) != is_late
    resumed = run.resume(parts.run, progress_bar=False)
    assert th.equal(resumed.similarity(), whole.similarity())
    assert not th.equal(whole.similarity(), whole.similarity.start)
    for name, tensor in whole.policy.state_dict().items():
        assert th.equal(tensor, resumed.policy.state_dict()[name]), name


def test_frames_at_which_nothing_is_left_to_unfreeze_are_refused(config):
    frozen = replace(config.learner, similarity_frozen=True)
    with pytest.raises(run.RunError, match=f"is {config.frames}; it must be below --frames"):
        replace(config, similarity_unfreeze_at=config.frames, learner=frozen)


def test_settings_that_do_not_go_together_are_refused_before_anything_is_written(config, files):
    with pytest.raises(run.RunError, match="--similarity-unfreeze-at goes with --similarity-fro"):
        replace(
            config,
            similarity_unfreeze_at=9,
            learner=replace(config.learner, similarity_frozen=False),
        )
    both = replace(config, learner=replace(config.learner, similarity_start="overlap"))
    with pytest.raises(run.RunError, match="leave --similarity-start out"):
        run.train(both, progress_bar=False)
    with pytest.raises(SimilarityError, match="RIGHTFIRE, LEFTFIRE"):
        run.train(replace(config, similarity_unmapped="error"), progress_bar=False)
    save_similarity(files[0], FixedSimilarity(th.ones(7, 7)), SimilarityAbout.of(BREAKOUT))
    with pytest.raises(run.RunError, match="something to learn, and this one is fixed"):
        run.train(replace(config, similarity_unfreeze_at=9), progress_bar=False)
    with pytest.raises(run.RunError, match="is no setting of rainbow"):
        run.train(replace(config, algorithm="rainbow"), progress_bar=False)
    assert not config.run.exists()


def test_macros_of_primitives_that_a_game_lacks_are_refused_or_left_out_and_named(
    config, tmp_path, capsys
):
    pong = MacroSet(PONG, ((4, 4), (3, 0), (2, 5, 1), (2, 2)), (11, 7, 5, 3))
    pong.save(tmp_path / "pong.json")
    config = replace(config, env="MacroALE/Breakout-v5", macros=tmp_path / "pong.json")
    with pytest.raises(RemapError, match="2 of 4 macros need RIGHTFIRE, LEFTFIRE, but the other"):
        run.make_env(config)
    (found,) = run.make_env(replace(config, macros_unmapped="drop")).get_attr("macro_set")
    assert found == replace(BREAKOUT, macros=((3, 0), (2, 2)), counts=(7, 3))
    dropped = "RIGHTFIRE×2, RIGHT,LEFTFIRE,FIRE"
    assert (
        f"2 macros dropped, of primitives that are none here: {dropped}\n"
        in capsys.readouterr().out
    )
    assert split_macros(pong, PONG) == (pong, ())


def test_a_run_that_has_no_similarity_exports_none(config, tmp_path, capsys):
    learner = run.LearnerConfig(buffer_size=300)
    rainbow = replace(config, algorithm="rainbow", frames=60, learner=learner)
    run.train(rainbow, progress_bar=False)
    assert main(["similarity", "export", str(config.run)]) == 2
    assert "its learner, rainbow, has none" in capsys.readouterr().err
    assert main(["similarity", "export", str(tmp_path)]) == 2
    assert "holds no run" in capsys.readouterr().err


def test_a_similarity_that_no_run_learned_is_not_said_to_be_learned(config, tmp_path, capsys):
    run.train(replace(config, frames=60), progress_bar=False)
    output = tmp_path / "frozen.safetensors"
    assert main(["similarity", "export", str(config.run), "--output", str(output)]) == 0
    assert "was not learned" in capsys.readouterr().out
    _, about = load_similarity(output)
    assert (about.learner, about.origin) == ("", "was not learned: as the run was given it")
    learner = run.LearnerConfig(buffer_size=300)
    plain = replace(config, algorithm="dqn", frames=60, learner=learner, run=tmp_path / "dqn")
    plain = replace(plain, similarity_unmapped="error")
    run.train(plain, progress_bar=False)
    assert main(["similarity", "export", str(plain.run)]) == 2
    assert "had no penalty (eta is 0)" in capsys.readouterr().err
