"""Batch normalisation: its running statistics are those of what the network learns from."""

import pytest
import torch as th
from stable_baselines3.common.torch_layers import FlattenExtractor
from torch import nn

from sb3_masp import MASPDQN, MASPQRDQN, MASPRainbow, Rainbow
from sb3_masp.batch_norm import batch_norms, untracked
from tests.sb3_masp.learners import small
from tests.sb3_masp.poles import same_weights

MASPS = (MASPDQN, MASPQRDQN, MASPRainbow)


class Normalised(FlattenExtractor):
    def __init__(self, observation_space):
        super().__init__(observation_space)
        self.norm = nn.BatchNorm1d(self.features_dim)

    def forward(self, observations):
        return self.norm(super().forward(observations))


def learner(kind, extractor=Normalised, **kwargs):
    net = {"features_extractor_class": extractor, "net_arch": [11]}
    often = {} if kind is Rainbow else {"meta_interval": 1}
    return small(kind, policy_kwargs=net, **often | kwargs)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        *((kind, {"double_q": True}) for kind in (*MASPS, Rainbow)),
        *((kind, {"similarity_learning": "auxiliary"}) for kind in MASPS),
        *((kind, {"similarity_learning": "meta_shared"}) for kind in MASPS),
        (MASPDQN, {"similarity_learning": "meta_shared", "embedding_dim": 0}),
        (MASPDQN, {"similarity": "state"}),
        (MASPDQN, {"similarity_frozen": True}),
    ],
    ids=str,
)
def test_running_statistics_move_once_per_update_by_the_batch_learned_from(
    monkeypatch, kind, settings
):
    model, batches = learner(kind, **settings), []
    learned_from = model._learned_from

    def noting(batch, td_errors):
        batches.append(batch.observations)
        learned_from(batch, td_errors)

    monkeypatch.setattr(model, "_learned_from", noting)
    model.learn(60)
    mean, var = th.zeros(4), th.ones(4)
    for batch in batches:
        mean += 0.1 * (batch.mean(0) - mean)
        var += 0.1 * (batch.var(0) - var)
    norm = model._network.features_extractor.norm
    assert int(norm.num_batches_tracked) == len(batches) == model._n_updates > 10
    th.testing.assert_close(norm.running_mean, mean)
    th.testing.assert_close(norm.running_var, var)


def test_a_pass_that_only_reads_normalises_by_its_batch_and_moves_nothing():
    network = nn.Sequential(nn.Linear(3, 5), nn.Sequential(nn.BatchNorm1d(5, momentum=None)))
    batch, norms = th.randn(7, 3), batch_norms(network)
    network(th.randn(7, 3))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with untracked(norms), untracked(norms):
        inside = network(batch)
    with pytest.raises(ZeroDivisionError), untracked(norms):
        _ = 1 / 0
    assert all(th.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert th.equal(network(batch), inside)
    assert int(norms[0].num_batches_tracked) == 2


def test_a_loaded_model_reads_through_its_own_layers(tmp_path):
    model = learner(MASPDQN).learn(41)
    model.save(tmp_path / "model")
    loaded = MASPDQN.load(tmp_path / "model")
    assert same_weights(model, loaded)
    assert loaded._norms == batch_norms(loaded._network) != batch_norms(model._network)
