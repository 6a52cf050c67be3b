"""The meta-gradient by double backward: what the learner's route is checked and timed against.

Everything is written out with ``create_graph=True`` and nothing is shared with ``sb3_masp``.
"""

from typing import Any

import torch as th
from torch import Tensor
from torch.func import functional_call

from sb3_masp import MASPDQN

Values = dict[str, Tensor]


def double_backward_gradient(
    model: MASPDQN, inner: Any, outer: Any, through: list[str] | None = None
) -> tuple[list[Tensor], list[Tensor]]:
    """Gradient of the outer TD loss with respect to Σ's parameters.

    Args:
        model: A learner before its inner step; it is not changed.
        inner: Inner batch.
        outer: Outer batch.
        through: Names of the parameters whose step is differentiated; all if omitted.

    Returns:
        One gradient for each parameter of ``model.similarity``; and of the inner step, the
        clipped gradient of each parameter of the network.
    """
    values = {n: p.detach().clone().requires_grad_() for n, p in model.q_net.named_parameters()}
    similarity = model.similarity()
    q_values = _q_values(model, values, inner.observations)
    squares = (q_values.T - similarity @ q_values.T) ** 2
    rows = squares.mean(0) if model.penalty_reduction == "mean" else squares.sum(0)
    loss = _td_loss(model, values, inner, q_values) + model.eta * rows.mean()
    gradients = th.autograd.grad(loss, list(values.values()), create_graph=True)
    norm = th.sqrt(sum((g**2).sum() for g in gradients))
    if norm + 1e-6 > model.max_grad_norm:
        gradients = tuple(g * model.max_grad_norm / (norm + 1e-6) for g in gradients)
    after = {
        name: value + _step(model.policy.optimizer, parameter, value, gradient)
        for (name, value), parameter, gradient in zip(
            values.items(), model.q_net.parameters(), gradients, strict=True
        )
    }
    if through is not None:
        after = {n: value if n in through else value.detach() for n, value in after.items()}
    outer_q_values = _q_values(model, after, outer.observations)
    outer_loss = _td_loss(model, after, outer, outer_q_values)
    meta_gradients = th.autograd.grad(outer_loss, list(model.similarity.parameters()))
    return list(meta_gradients), [gradient.detach() for gradient in gradients]


def _q_values(model: MASPDQN, values: Values, observations: Tensor) -> Tensor:
    """Q(s, ·) at the given parameters."""
    return functional_call(model.q_net, values, (observations,))


def _td_loss(model: MASPDQN, values: Values, batch: Any, q_values: Tensor) -> Tensor:
    """Huber loss towards the target network's values, averaged with the batch's weights."""
    with th.no_grad():
        next_values = model.q_net_target(batch.next_observations)
        chooser = next_values
        if model.double_q:
            chooser = _q_values(model, values, batch.next_observations)
        best = next_values[range(len(chooser)), chooser.argmax(1)]
        targets = batch.rewards[:, 0] + (1 - batch.dones[:, 0]) * batch.discounts[:, 0] * best
    errors = (q_values[range(len(q_values)), batch.actions[:, 0]] - targets).abs()
    losses = th.where(errors < 1, errors**2 / 2, errors - 0.5)
    return (batch.weights[:, 0] * losses if model.prioritized_replay else losses).mean()


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
