"""Files of pairwise weights: what comes back, and what is refused."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from safetensors.torch import load_file, save_file
from stable_baselines3.common.torch_layers import FlattenExtractor

from sb3_masp.pairwise import (
    ClockWeights,
    FixedTableWeights,
    GeometricWeights,
    PairwiseA2C,
    StateFeatures,
    TableWeights,
    WeightsFileError,
    load_weights,
    save_weights,
)
from sb3_masp.pairwise.weight_files import form_of
from sb3_masp.pairwise.weights import WEIGHTS, make_weights
from tests.sb3_masp.pairwise.trajectories import OBSERVED, trajectory

STATES = 11
BOX = spaces.Box(-np.inf, np.inf, (OBSERVED,), np.float32)


def made(form, seed=0, gamma=0.9):
    """Weights of a form that is named, or of a table that is given, drawn from a seed."""
    table = np.random.default_rng(seed).random((STATES, STATES))
    if form == "fixed":
        return FixedTableWeights(table)
    if form == "clock":
        return ClockWeights(table)
    space = spaces.Discrete(STATES) if form == "table" else BOX
    weights = make_weights(form, space, StateFeatures(BOX, FlattenExtractor), gamma, 0.8)
    generator = th.Generator().manual_seed(seed)
    for parameter in weights.parameters():
        parameter.data = th.randn(parameter.shape, generator=generator) / 2
    return weights


def played(form):
    """A trajectory of the states that a form reads, in float32."""
    of_numbers = STATES if form in ("table", "fixed") else None
    traj = trajectory(3, n_states=of_numbers)
    parts = {field.name: getattr(traj, field.name) for field in fields(traj)}
    singles = {name: part.float() for name, part in parts.items() if part.dtype == th.float64}
    return replace(traj, **singles)


@pytest.mark.parametrize("form", [*WEIGHTS, "fixed", "clock"])
def test_weights_loaded_are_the_weights_saved(form, tmp_path):
    weights, other = made(form), made(form, seed=1)
    save_weights(tmp_path / "weights", weights)
    expected = weights.matrix(played(form))
    assert expected.count_nonzero() > 10
    assert load_weights(tmp_path / "weights", into=other) is other
    assert type(other) is type(weights)
    assert th.equal(other.matrix(played(form)), expected)
    if form in ("embedding", "state_lambda", "sequence"):
        with pytest.raises(WeightsFileError, match="read states by a network"):
            load_weights(tmp_path / "weights")
        assert form_of(tmp_path / "weights") == form
    else:
        assert th.equal(load_weights(tmp_path / "weights").matrix(played(form)), expected)


def test_learned_weights_serve_as_a_table_that_stays(tmp_path):
    save_weights(tmp_path / "weights", made("table"))
    table = load_weights(tmp_path / "weights").table().detach()
    fixed = FixedTableWeights(table)
    assert th.equal(fixed.matrix(played("fixed")), made("table").matrix(played("table")))


def test_the_file_is_one_that_any_reader_of_safetensors_reads(tmp_path):
    weights = made("table")
    save_weights(tmp_path / "weights", weights)
    assert th.equal(load_file(tmp_path / "weights")["logits"], weights.logits)


def test_weights_of_a_learner_come_back_into_another(tmp_path):
    first, second = (
        PairwiseA2C("MlpPolicy", "CartPole-v1", seed=seed, policy_kwargs={"net_arch": [5]})
        for seed in (1, 2)
    )
    save_weights(tmp_path / "weights", first.weights)
    load_weights(tmp_path / "weights", into=second.weights)
    for name, part in first.weights.state_dict().items():
        assert th.equal(second.weights.state_dict()[name], part)
    assert list(second.weights.parameters()) == second.weights_optimizer.param_groups[0]["params"]


@pytest.mark.parametrize(
    ("into", "message"),
    [
        (lambda: TableWeights(STATES + 2), "TableWeights of other sizes.*another environment"),
        (
            lambda: GeometricWeights(0.5),
            "holds TableWeights, but .* GeometricWeights of factor 0.5",
        ),
    ],
)
def test_weights_of_another_form_or_size_are_refused(into, message, tmp_path):
    save_weights(tmp_path / "weights", made("table"))
    with pytest.raises(WeightsFileError, match=f"(?s){message}"):
        load_weights(tmp_path / "weights", into=into())


def test_lambdas_of_another_discount_are_refused(tmp_path):
    save_weights(tmp_path / "weights", made("state_lambda"))
    with pytest.raises(WeightsFileError, match=r"of gamma 0\.9, but .* of gamma 0\.7"):
        load_weights(tmp_path / "weights", into=made("state_lambda", gamma=0.7))


def test_files_of_something_else_or_cut_short_are_refused(tmp_path):
    path = tmp_path / "weights"
    with pytest.raises(FileNotFoundError, match="there is no file of weights"):
        load_weights(path)
    save_file({"logits": th.zeros(3, 3)}, path)
    with pytest.raises(WeightsFileError, match="no pairwise weights of schema 1"):
        load_weights(path)
    save_weights(path, made("table"))
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(WeightsFileError, match="not a whole safetensors file"):
        load_weights(path)
