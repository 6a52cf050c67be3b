"""``masp weights``: what a user sees of weights, in files and of runs."""

from dataclasses import replace

import numpy as np
import pytest
import torch as th
from safetensors.torch import load_file

from sb3_masp import run
from sb3_masp.checkpoint import save_checkpoint
from sb3_masp.cli import main
from sb3_masp.pairwise import (
    FixedTableWeights,
    GeometricWeights,
    PairwiseA2C,
    TableWeights,
    load_weights,
    save_weights,
)

# SB3 asks every environment for pictures.
pytestmark = pytest.mark.filterwarnings("ignore:.*render_mode")


def shown(capsys, *words):
    assert main(["weights", "show", *map(str, words)]) == 0
    return capsys.readouterr().out.splitlines()


def config(folder, **changes):
    made = run.TrainConfig(
        env="Credit/DAG-v0",
        algorithm="pairwise-a2c",
        frames=60,
        options={"depth": 4},
        net_arch=(5,),
        threads=1,
        run=folder,
        learner=run.LearnerConfig(n_steps=4),
    )
    return replace(made, **changes)


def test_a_table_is_told_of_by_the_pairs_that_were_met_and_drawn(capsys, tmp_path):
    weights = TableWeights(7)
    with th.no_grad():
        weights.logits[2, 4], weights.logits[5, 1] = 1.5, -0.3
    save_weights(tmp_path / "a.safetensors", weights)
    lines = shown(capsys, tmp_path / "a.safetensors", "--output", tmp_path / "a.svg")
    low, high = (1 / (1 + np.exp(-logit)) for logit in (-0.3, 1.5))
    assert "form      TableWeights" in lines
    assert "numbers   logits, 7 x 7" in lines
    expected = f"weights   2 of 49 pairs: {low:.3g} to {high:.3g}, mean {(low + high) / 2:.3g}"
    assert expected in lines
    assert f"picture   {tmp_path / 'a.svg'}" in lines
    assert (tmp_path / "a.svg").read_text().startswith("<?xml")


def test_a_table_that_has_learned_nothing_is_told_of_so(capsys, tmp_path):
    save_weights(tmp_path / "a.safetensors", TableWeights(7))
    assert any(
        "none of 49 pairs was ever met" in line for line in shown(capsys, *tmp_path.iterdir())
    )


def test_settings_are_told_by_name(capsys, tmp_path):
    save_weights(tmp_path / "a.safetensors", GeometricWeights(0.75))
    assert "factor    0.75" in shown(capsys, tmp_path / "a.safetensors")


def test_runs_are_shown_by_their_folder_ended_or_under_way(capsys, tmp_path):
    made = config(tmp_path / "ended")
    run.train(made, progress_bar=False)
    capsys.readouterr()
    ended = shown(capsys, made.run, "--output", tmp_path / "ended.png")
    assert f"file      {made.run / 'weights.safetensors'}" in ended
    assert main(["weights", "export", str(made.run), "--output", str(tmp_path / "exported")]) == 0
    exported, written = tmp_path / "exported", made.run / "weights.safetensors"
    assert th.equal(load_weights(exported).logits, load_weights(written).logits)
    capsys.readouterr()
    assert ended[1:] == [*shown(capsys, made.run / "weights.safetensors")[1:], ended[-1]]
    assert (tmp_path / "ended.png").stat().st_size > 1_000
    (made.run / "weights.safetensors").unlink()
    model = PairwiseA2C("MlpPolicy", "CartPole-v1", n_steps=5, seed=1).learn(20)
    save_checkpoint(made.run / run.CHECKPOINT, model, {})
    lines = shown(capsys, made.run, "--output", tmp_path / "under_way.png")
    assert "form      EmbeddingWeights" in lines
    assert any("15 of 25 pairs" in line for line in lines)
    assert main(["weights", "export", str(made.run), "--output", str(tmp_path / "out")]) == 0
    exported = load_file(tmp_path / "out")
    for name, part in model.weights.state_dict().items():
        assert th.equal(exported[name], part)
    assert (tmp_path / "under_way.png").stat().st_size > 1_000


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["nothing.safetensors"], "there is no file of weights nothing.safetensors"),
        (["text"], "text is not a whole safetensors file"),
        (["geometric", "--output", "a.png"], "GeometricWeights, of which there is no table"),
        (["table", "--output", "a.pix"], "output is 'a.pix'; it must be a file that ends in .png"),
        (["empty"], "empty"),
    ],
)
def test_what_cannot_be_shown_is_said(words, problem, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text("no weights")
    (tmp_path / "empty").mkdir()
    save_weights("geometric", GeometricWeights(0.5))
    save_weights("table", FixedTableWeights(np.eye(3)))
    assert main(["weights", "show", *words]) == 2
    assert problem in capsys.readouterr().err
    assert not (tmp_path / "a.png").exists()


def test_runs_of_other_learners_and_runs_without_a_checkpoint_are_named(capsys, tmp_path):
    for algorithm, problem in (("dqn", "dqn, has no"), ("pairwise-a2c", "no checkpoint yet")):
        made = config(tmp_path / algorithm, algorithm=algorithm)
        made.run.mkdir()
        run._write_json(made.run / "config.json", run._about(made))
        assert main(["weights", "show", str(made.run)]) == 2
        assert problem in capsys.readouterr().err


def test_help_says_what_is_shown(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["weights", "show", "--help"])
    said = capsys.readouterr().out
    assert "--output" in said
    assert "weights.safetensors" in said
