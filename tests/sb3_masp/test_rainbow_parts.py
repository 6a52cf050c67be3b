"""What Rainbow is made of: its network, its loss, its noise."""

import numpy as np
import pytest
import torch as th

from macro_gym import MacroAction
from sb3_masp import Rainbow
from sb3_masp.rainbow.noisy import NoisyLinear
from tests.sb3_masp.poles import MACROS, SMALL, small_rewards


def macro_cartpole():
    return MacroAction(small_rewards(), MACROS)


def naive_logits(network, features, noise):
    """Values plus advantages less their mean, layer by layer, noisy weights written out."""

    def stream(layers):
        outputs = features
        for linear in layers:
            if not isinstance(linear, th.nn.Linear):
                outputs = outputs.relu()
                continue
            weight, bias = linear.weight, linear.bias
            if isinstance(linear, NoisyLinear) and noise:
                weight = weight + linear.weight_sigma * th.outer(linear.noise_out, linear.noise_in)
                bias = bias + linear.bias_sigma * linear.noise_out
            outputs = outputs @ weight.T + bias
        return outputs

    advantages = stream(network.advantages).view(len(features), 7, -1)
    if not network.dueling:
        return advantages
    values = stream(network.values).unsqueeze(1)
    return values + advantages - advantages.sum(dim=1, keepdim=True) / 7


@pytest.mark.parametrize("noise", [True, False])
@pytest.mark.parametrize("off", [None, "noisy", "dueling", "distributional"])
def test_the_network_is_what_its_parameters_say(off, noise):
    settings = {off: False} if off else {}
    model = Rainbow("MlpPolicy", macro_cartpole(), n_atoms=11, v_min=-2, **settings, **SMALL)
    network, observations = model.q_net, th.randn(5, 4)
    logits = naive_logits(network, observations, noise)
    th.testing.assert_close(network.logits(observations, noise), logits)
    assert logits.shape == (5, 7, 1 if off == "distributional" else 11)
    if off == "distributional":
        expected = logits[:, :, 0]
    else:
        atoms = th.tensor([-2 + 1.2 * i for i in range(11)])
        expected = (logits.exp() / logits.exp().sum(dim=2, keepdim=True) * atoms).sum(dim=2)
    th.testing.assert_close(network(observations, noise), expected)
    assert th.equal(network(observations), network(observations, True))


@pytest.mark.parametrize("off", ["noisy", "dueling", "distributional"])
def test_a_network_is_rebuilt_from_what_it_tells_of_itself(off):
    model = Rainbow("MlpPolicy", small_rewards(), n_atoms=21, v_max=4, **{off: False}, seed=1)
    network = model.q_net
    again = type(network)(**network._get_constructor_parameters())
    again.load_state_dict(network.state_dict())
    observations = th.randn(3, 4)
    assert th.equal(again(observations), network(observations))


@pytest.mark.parametrize("prioritized_replay", [True, False])
@pytest.mark.parametrize("distributional", [True, False])
@pytest.mark.parametrize("double_q", [True, False])
def test_the_loss_matches_a_loop_over_the_batch(double_q, distributional, prioritized_replay):
    model = Rainbow(
        "MlpPolicy",
        macro_cartpole(),
        double_q=double_q,
        distributional=distributional,
        prioritized_replay=prioritized_replay,
        v_min=-1,
        v_max=3,
        gamma=0.9,
        target_update_interval=10**6,
        learning_rate=1e-2,
        **SMALL,
    ).learn(201)
    # Networks that disagree on the best action, and priorities that differ.
    model.replay_buffer.importance_exponent = 0.7
    batch = model._sample(29)
    online, target = model.q_net, model.q_net_target
    assert (
        online(batch.next_observations).argmax(dim=1)
        != target(batch.next_observations).argmax(dim=1)
    ).any()
    losses, errors = [], []
    with th.no_grad():
        logits, next_logits = (
            online.logits(batch.observations),
            target.logits(batch.next_observations),
        )
        for i in range(29):
            chooser = online if double_q else target
            best = int(chooser(batch.next_observations[i : i + 1]).argmax())
            shrink = float((1 - batch.dones[i]) * batch.discounts[i])
            chosen, following = logits[i, int(batch.actions[i])], next_logits[i, best]
            if not distributional:
                error = float(batch.rewards[i]) + shrink * float(following) - float(chosen)
                losses.append(0.5 * error**2 if abs(error) < 1 else abs(error) - 0.5)
                errors.append(error)
                continue
            goal = th.zeros(51)
            for atom in range(51):
                value = float(batch.rewards[i]) + shrink * (-1 + 4 / 50 * atom)
                place = (min(max(value, -1), 3) + 1) / (4 / 50)
                for j in range(51):
                    goal[j] += following.softmax(dim=0)[atom] * max(0, 1 - abs(place - j))
            log_chosen = chosen.log_softmax(dim=0)
            loss = sum(float(t * (t.log() - q)) for t, q in zip(goal, log_chosen, strict=True) if t)
            losses.append(loss)
            errors.append(loss)
    td = model._td_loss(batch)
    scales = batch.weights.flatten() if prioritized_replay else th.ones(29)
    assert (len(scales.unique()) > 5) == prioritized_replay
    close = {"rtol": 1e-4, "atol": 1e-5}
    th.testing.assert_close(td.loss.detach(), (scales * th.tensor(losses)).mean(), **close)
    th.testing.assert_close(td.td_errors, th.tensor(errors), **close)
    assert not td.td_errors.requires_grad
    th.testing.assert_close(td.q_values, online(batch.observations))
    assert td.q_values.requires_grad


def test_priorities_are_the_losses_and_importance_is_annealed():
    model = Rainbow("MlpPolicy", macro_cartpole(), **SMALL).learn(199)
    assert model.replay_buffer.importance_exponent > 0.95
    seen = {}
    model.replay_buffer.update_priorities = lambda indices, errors: seen.update(
        indices=indices, errors=errors
    )
    model.train(1, 13)
    assert seen["indices"].shape == seen["errors"].shape == (13,)
    assert float(seen["errors"].min()) > -1e-6


def noises(network):
    return [
        module.noise_out.clone() for module in network.modules() if hasattr(module, "noise_out")
    ]


def test_noise_is_drawn_once_for_each_update_and_held_through_it(monkeypatch):
    model = Rainbow("MlpPolicy", macro_cartpole(), **SMALL).learn(41)
    draws = []
    draw = type(model.q_net).draw_noise
    monkeypatch.setattr(
        type(model.q_net), "draw_noise", lambda self: (draws.append(self), draw(self))
    )
    before = noises(model.q_net), noises(model.q_net_target)
    model.train(3, 13)
    assert draws == [model.q_net, model.q_net_target] * 3
    for old, network in zip(before, (model.q_net, model.q_net_target), strict=True):
        assert len(old) == 6
        assert not any(th.equal(*pair) for pair in zip(old, noises(network), strict=True))
    batch = model._sample(13)
    assert th.equal(model._td_loss(batch).loss, model._td_loss(batch).loss)


def test_actions_are_under_fresh_noise_unless_deterministic():
    model = Rainbow("MlpPolicy", macro_cartpole(), noise_scale=5, **SMALL)
    observation = np.ones(4, np.float32)
    drawn = {int(model.predict(observation)[0]) for _ in range(40)}
    assert len(drawn) > 2
    values = model.q_net(th.ones(1, 4), noise=False)
    for _ in range(3):
        model.q_net.draw_noise()
        held = noises(model.q_net)
        action, _ = model.predict(observation, deterministic=True)
        assert int(action) == int(values.argmax())
        assert all(th.equal(*pair) for pair in zip(held, noises(model.q_net), strict=True))
    many, _ = model.predict(np.ones((5, 4), np.float32), deterministic=True)
    assert many.shape == (5,)
