"""MASPQRDQN's loss: quantile regression that knows durations, importance and double Q."""

import numpy as np
import pytest
import torch as th

from sb3_masp import MASPQRDQN
from sb3_masp.buffers import MacroReplaySamples
from tests.sb3_masp.poles import SMALL, macro_cartpole


def batch(model, seed=0):
    """Decisions of every kind: terminal, long, weighted."""
    generator = np.random.default_rng(seed)

    def draw(*shape):
        return th.as_tensor(generator.normal(size=shape), dtype=th.float32)

    return MacroReplaySamples(
        draw(5, 4),
        th.as_tensor(generator.integers(0, 7, (5, 1))),
        draw(5, 4),
        th.tensor([[0.0], [1.0], [0.0], [0.0], [1.0]]),
        draw(5, 1),
        th.tensor([[0.9], [0.81], [0.729], [0.0], [0.5]]),
        th.tensor([[1.0], [0.3], [0.7], [0.2], [0.1]]),
        np.arange(5),
    )


@pytest.mark.parametrize("double_q", [False, True])
@pytest.mark.parametrize("prioritized_replay", [False, True])
def test_the_loss_is_the_papers_equation_in_loops(double_q, prioritized_replay):
    model = MASPQRDQN(
        "MlpPolicy",
        macro_cartpole(),
        double_q=double_q,
        prioritized_replay=prioritized_replay,
        policy_kwargs={"n_quantiles": 3},
        **SMALL,
    )
    with th.no_grad():
        for parameter in model.quantile_net_target.parameters():
            parameter += 0.3 * th.randn_like(parameter)  # so that its favourites are others
    samples = batch(model)
    td = model._td_loss(samples)
    with th.no_grad():
        found, online, target = (
            network(x).double()
            for network, x in (
                (model.quantile_net, samples.observations),
                (model.quantile_net, samples.next_observations),
                (model.quantile_net_target, samples.next_observations),
            )
        )
    losses = []
    for n in range(5):
        chooser = online if double_q else target
        best = max(range(7), key=lambda a: sum(chooser[n, i, a] for i in range(3)))
        loss = 0.0
        for j in range(3):
            bootstrap = samples.discounts[n, 0] * target[n, j, best]
            y = samples.rewards[n, 0] + (1 - samples.dones[n, 0]) * bootstrap
            for i in range(3):
                error = float(y - found[n, i, samples.actions[n, 0]])
                huber = error**2 / 2 if abs(error) <= 1 else abs(error) - 0.5
                loss += abs((i + 0.5) / 3 - (error < 0)) * huber / 3
        losses.append(loss)
    weights = samples.weights[:, 0].tolist() if prioritized_replay else [1.0] * 5
    expected = np.mean(np.multiply(weights, losses))
    np.testing.assert_allclose(td.loss.item(), expected, rtol=1e-5)
    np.testing.assert_allclose(td.td_errors, losses, rtol=1e-5)
    th.testing.assert_close(td.q_values, found.float().mean(dim=1))
    assert not td.td_errors.requires_grad
    chosen = {m.argmax(dim=1).tolist()[0] for m in (online.mean(1), target.mean(1))}
    assert len(chosen) == 2  # or double_q would change nothing here
