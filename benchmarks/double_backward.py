"""The meta-gradient by double backward, a reference to check and time the learners against.

Everything is written out with ``create_graph=True``, and no code is shared with ``sb3_masp``.
"""

from typing import Any

import torch as th
from torch import Tensor, nn
from torch.func import functional_call

from sb3_masp import MASPQRDQN, Rainbow
from sb3_masp.masp import MASP

Values = dict[str, Tensor]


def double_backward_gradient(
    model: MASP, inner: Any, outer: Any, through: list[str] | None = None
) -> tuple[list[Tensor], list[Tensor]]:
    """Gradient of the outer TD loss with respect to Σ's parameters.

    Args:
        model: A learner before its inner step; it is not changed.
        inner: Inner batch.
        outer: Outer batch.
        through: Names of the parameters whose step is differentiated; all if omitted.

    Returns:
        One gradient for each parameter of ``model.similarity``; and the clipped gradient of the
        inner step for each parameter of the network.
    """
    network = model._network
    values = {n: p.detach().clone().requires_grad_() for n, p in network.named_parameters()}
    features = model.trunk_features(inner.observations)
    similarity = model.similarity.at(features)  # one per state if Σ depends on states
    outputs = _outputs(network, values, inner.observations)
    q_values = _q_values(model, outputs)
    mixed = (similarity * q_values[:, None]).sum(2)
    squares = (q_values - mixed) ** 2
    rows = squares.mean(1) if model.penalty_reduction == "mean" else squares.sum(1)
    loss = _td_loss(model, values, inner, outputs) + model.current_eta * rows.mean()
    gradients = th.autograd.grad(loss, list(values.values()), create_graph=True)
    norm = th.sqrt(sum((g**2).sum() for g in gradients))
    if model.max_grad_norm is not None and norm + 1e-6 > model.max_grad_norm:
        gradients = tuple(g * model.max_grad_norm / (norm + 1e-6) for g in gradients)
    after = {
        name: value + _step(model.policy.optimizer, parameter, value, gradient)
        for (name, value), parameter, gradient in zip(
            values.items(), network.parameters(), gradients, strict=True
        )
    }
    if through is not None:
        after = {n: value if n in through else value.detach() for n, value in after.items()}
    outer_outputs = _outputs(network, after, outer.observations)
    outer_loss = _td_loss(model, after, outer, outer_outputs)
    meta_gradients = th.autograd.grad(outer_loss, list(model.similarity.parameters()))
    return list(meta_gradients), [gradient.detach() for gradient in gradients]


class _Logits(nn.Module):
    """Rainbow's network as a module that returns logits."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, observations: Tensor) -> Tensor:
        """Return logits, shape ``(batch, actions, atoms)``."""
        return self.network.logits(observations)


def _outputs(network: Any, values: Values, observations: Tensor) -> Tensor:
    """Output of the network at the given parameters: values or distributions."""
    if not hasattr(network, "logits"):
        return functional_call(network, values, (observations,))
    prefixed = {f"network.{name}": value for name, value in values.items()}
    return functional_call(_Logits(network), prefixed, (observations,))


def _q_values(model: MASP, outputs: Tensor) -> Tensor:
    """Q(s, ·), shape ``(batch, actions)``."""
    if isinstance(model, MASPQRDQN):
        return outputs.mean(1)
    if isinstance(model, Rainbow):
        weights = outputs.exp() / outputs.exp().sum(2, keepdim=True)
        return (weights * model.q_net.support).sum(2) if outputs.shape[2] > 1 else outputs[..., 0]
    return outputs


def _td_loss(model: MASP, values: Values, batch: Any, outputs: Tensor) -> Tensor:
    """The learner's TD loss, averaged with the batch's weights."""
    rows, actions = range(len(outputs)), batch.actions[:, 0]
    with th.no_grad():
        target = model._target_network
        next_outputs = _outputs(target, dict(target.named_parameters()), batch.next_observations)
        chooser = next_outputs
        if model.double_q:
            chooser = _outputs(model._network, values, batch.next_observations)
        best = _q_values(model, chooser).argmax(1)
        discounts = (1 - batch.dones) * batch.discounts
    if isinstance(model, MASPQRDQN):
        samples = batch.rewards + discounts * next_outputs[rows, :, best]
        losses = _quantile_losses(outputs[rows, :, actions], samples)
    elif isinstance(model, Rainbow) and outputs.shape[2] > 1:
        support = model.q_net.support
        targets = _projected(
            next_outputs[rows, best].softmax(1), batch.rewards + discounts * support, support
        )
        losses = -(targets * outputs[rows, actions].log_softmax(1)).sum(1)
    else:
        targets = batch.rewards + discounts * _q_values(model, next_outputs)[rows, best][:, None]
        losses = _huber(_q_values(model, outputs)[rows, actions] - targets[:, 0])
    return (batch.weights[:, 0] * losses if model.prioritized_replay else losses).mean()


def _projected(masses: Tensor, points: Tensor, support: Tensor) -> Tensor:
    """Mass at points, shape ``(batch, points)``, split among the atoms on either side."""
    distance = (support[-1] - support[0]) / (len(support) - 1)
    places = (points.clamp(support[0], support[-1]) - support[0]) / distance
    below = places.floor().clamp(max=len(support) - 2)
    share = places - below
    projected = th.zeros_like(masses)
    projected.scatter_add_(1, below.long(), masses * (1 - share))
    return projected.scatter_add_(1, below.long() + 1, masses * share)


def _huber(errors: Tensor) -> Tensor:
    """Half the square up to one, then linear."""
    return th.where(errors.abs() < 1, errors**2 / 2, errors.abs() - 0.5)


def _quantile_losses(quantiles: Tensor, samples: Tensor) -> Tensor:
    """Huber losses of each pair, by which side of the quantile the sample lies on."""
    losses = 0
    for i, quantile in enumerate(quantiles.T):
        level = (i + 0.5) / quantiles.shape[1]
        errors = samples - quantile[:, None]
        sides = (level - (errors < 0).to(errors.dtype)).abs()
        losses = losses + (sides * _huber(errors)).mean(1)
    return losses


def _step(optimizer: Any, parameter: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
    """What the optimizer will add to ``value``, as a function of ``gradient``."""
    settings, state = optimizer.param_groups[0], optimizer.state[parameter]
    lr = settings["lr"]
    if isinstance(optimizer, th.optim.SGD):
        buffer = state.get("momentum_buffer")
        momentum = settings["momentum"]
        moved = gradient if buffer is None else momentum * buffer + gradient
        return -lr * (gradient + momentum * moved if settings["nesterov"] else moved)
    if isinstance(optimizer, th.optim.RMSprop):
        second = settings["alpha"] * state.get("square_avg", 0) + (1 - settings["alpha"]) * (
            gradient**2
        )
        return -lr * gradient / (_root(second) + settings["eps"])
    decay = settings["weight_decay"]
    shrink = 0.0 * value
    if isinstance(optimizer, th.optim.AdamW):
        shrink = -lr * decay * value
    else:
        gradient = gradient + decay * value
    beta1, beta2 = settings["betas"]
    count = float(state["step"]) + 1 if state else 1
    first = beta1 * state.get("exp_avg", 0) + (1 - beta1) * gradient
    second = beta2 * state.get("exp_avg_sq", 0) + (1 - beta2) * gradient**2
    denominator = _root(second / (1 - beta2**count)) + settings["eps"]
    return shrink - lr * first / (1 - beta1**count) / denominator


def _root(values: Tensor) -> Tensor:
    """Square root whose gradient at zero is zero rather than NaN."""
    positive = values > 0
    return th.where(positive, th.where(positive, values, 1.0).sqrt(), 0.0)
