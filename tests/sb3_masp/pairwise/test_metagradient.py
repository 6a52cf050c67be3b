import copy
from itertools import pairwise

import pytest
import torch as th
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.optim import SGD, Adam, AdamW, RMSprop

from sb3_masp.pairwise.metagradient import (
    Evaluation,
    InnerStep,
    normalized,
    outer_gradient,
    policy_loss,
)
from sb3_masp.pairwise.trajectory import td_errors
from sb3_masp.pairwise.weights import CreditWeights, weighted_sum
from sb3_masp.unrolled_vjp import flat, step_of_all
from tests.sb3_masp.pairwise.trajectories import OBSERVED, Policy, trajectory


class ByObservations(CreditWeights):
    """Weights of any smooth kind, with parameters in float64."""

    def __init__(self):
        super().__init__()
        generator = th.Generator().manual_seed(3)
        pairs = th.randn(OBSERVED, OBSERVED, dtype=th.float64, generator=generator)
        self.pairs = nn.Parameter(pairs)
        self.bias = nn.Parameter(th.zeros((), dtype=th.float64))

    def between(self, trajectory, rows, later, *encoded):
        envs, time = trajectory.rewards.shape
        origins = trajectory.decided.view(envs, time, -1)[:, rows]
        arrivals = trajectory.observations[trajectory.arrivals][:, later]
        return (origins @ self.pairs @ arrivals.mT + self.bias).sigmoid()


def inner_loss(evaluated, trajectory, advantages):
    values, log_probs, entropy = evaluated
    loss = policy_loss(advantages, log_probs) - 0.1 * entropy.mean()
    return loss + 0.5 * F.mse_loss(values, trajectory.returns.flatten())


def outer_loss(evaluated, trajectory):
    return policy_loss(trajectory.advantages.flatten(), evaluated[1])


def evaluate(evaluation, trajectory):
    return evaluation(trajectory.decided, trajectory.actions)


def stepped(optimizer, parameters, gradients, states):
    """θ′ and the moments after a step, differentiable: each optimizer's formula, written out."""
    group = optimizer.param_groups[0]
    lr, decay = group["lr"], group["weight_decay"]
    moved, after = {}, {}
    for name, value in parameters.items():
        g, state = gradients[name], states[name]
        if isinstance(optimizer, AdamW):
            value = value * (1 - lr * decay)
        else:
            g = g + decay * value
        if isinstance(optimizer, SGD):
            buffer = group["momentum"] * state.get("momentum_buffer", 0 * g) + g
            change = g + group["momentum"] * buffer if group["nesterov"] else buffer
            after[name] = {"momentum_buffer": buffer}
        elif isinstance(optimizer, RMSprop):
            square = group["alpha"] * state.get("square_avg", 0) + (1 - group["alpha"]) * g**2
            change, after[name] = g / (root(square) + group["eps"]), {"square_avg": square}
        else:
            b1, b2 = group["betas"]
            step = float(state.get("step", 0)) + 1
            m = b1 * state.get("exp_avg", 0) + (1 - b1) * g
            v = b2 * state.get("exp_avg_sq", 0) + (1 - b2) * g**2
            change = m / (1 - b1**step) / (root(v / (1 - b2**step)) + group["eps"])
            after[name] = {"exp_avg": m, "exp_avg_sq": v, "step": step}
        moved[name] = value - lr * change
    return moved, after


def root(square):
    """√ with a derivative of zero at zero, where a dead unit's gradients are."""
    alive = square > 0
    return th.where(alive, square, 1).sqrt() * alive


def by_double_backward(evaluation, optimizer, weights, trajectories, scale, max_norm):
    """The gradient by building the graph of everything that the updates do."""
    named = dict(evaluation.named_parameters())
    parameters = {name: p.detach().clone().requires_grad_() for name, p in named.items()}
    states = {name: dict(copy.deepcopy(optimizer.state.get(p, {}))) for name, p in named.items()}
    total = 0
    for inner, outer in pairwise(trajectories):
        evaluated = functional_call(evaluation, parameters, (inner.decided, inner.actions))
        advantages = scale(weighted_sum(weights, inner, td_errors(inner)).flatten())
        loss = inner_loss(evaluated, inner, advantages)
        found = th.autograd.grad(loss, list(parameters.values()), create_graph=True)
        norm = th.stack([g.square().sum() for g in found]).sum().sqrt()
        shrink = (max_norm / (norm + 1e-6)).clamp(max=1)
        gradients = {n: g * shrink for n, g in zip(parameters, found, strict=True)}
        parameters, states = stepped(optimizer, parameters, gradients, states)
        evaluated = functional_call(evaluation, parameters, (outer.decided, outer.actions))
        total = total + outer_loss(evaluated, outer)
    return th.autograd.grad(total, list(weights.parameters()))


def take(evaluation, optimizer, weights, trajectories, scale, max_norm):
    """The same updates by the optimizer itself; returns what `outer_gradient` takes."""
    steps, outcomes = [], []
    parameters = dict(evaluation.named_parameters())
    for inner, outer in pairwise(trajectories):
        advantages = scale(weighted_sum(weights, inner, td_errors(inner)).flatten()).detach()
        before = {name: p.detach().clone() for name, p in parameters.items()}
        optimizer.zero_grad()
        inner_loss(evaluate(evaluation, inner), inner, advantages).backward()
        norm = nn.utils.clip_grad_norm_(evaluation.parameters(), max_norm)
        optimizer.step()
        variables = list(parameters.values())
        gradient = flat([p.grad.clone() for p in variables])
        taken = step_of_all(optimizer, variables, gradient, flat(list(before.values())))
        baseline = th.zeros_like(inner.rewards)
        steps.append(
            InnerStep(
                inner,
                td_errors(inner),
                baseline,
                advantages,
                before,
                taken,
                norm,
                max_norm,
            )
        )
        loss = outer_loss(evaluate(evaluation, outer), outer)
        found = th.autograd.grad(loss, list(parameters.values()), materialize_grads=True)
        outcomes.append(flat(found))
    return steps, outcomes


OPTIMIZERS = {
    "sgd": lambda p: SGD(p, lr=0.3),
    "momentum": lambda p: SGD(p, lr=0.3, momentum=0.9, weight_decay=0.1),
    "nesterov": lambda p: SGD(p, lr=0.3, momentum=0.9, nesterov=True, weight_decay=0.1),
    "adam": lambda p: Adam(p, lr=0.01, eps=1e-5),
    "adam+decay": lambda p: Adam(p, lr=0.01, eps=1e-3, weight_decay=0.1),
    "adamw": lambda p: AdamW(p, lr=0.01, eps=1e-3, weight_decay=0.3),
    "rmsprop": lambda p: RMSprop(p, lr=7e-3, alpha=0.99, eps=1e-5),
    "rmsprop+decay": lambda p: RMSprop(p, lr=7e-3, alpha=0.9, eps=1e-3, weight_decay=0.1),
}


@pytest.mark.parametrize("scale", [lambda a: a, normalized], ids=["as they are", "normalized"])
@pytest.mark.parametrize("max_norm", [1e9, 0.03], ids=["free", "clipped"])
@pytest.mark.parametrize("inner_steps", [1, 3])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_outer_gradient_is_that_of_double_backward(name, inner_steps, max_norm, scale):
    policy, weights = Policy(), ByObservations()
    evaluation = Evaluation(policy)
    optimizer = OPTIMIZERS[name](policy.parameters())
    take(evaluation, optimizer, weights, [trajectory(9), trajectory(8)], scale, max_norm)  # warm
    trajectories = [trajectory(seed) for seed in range(inner_steps + 1)]
    expected = by_double_backward(evaluation, optimizer, weights, trajectories, scale, max_norm)
    steps, outcomes = take(evaluation, optimizer, weights, trajectories, scale, max_norm)
    if max_norm < 1:
        assert all(step.gradient_norm > max_norm for step in steps)
    for acting in (None, [name for name in steps[0].before if "critic" not in name]):
        graphs = [
            scale((weighted_sum(weights, step.trajectory, step.credited) - step.baseline).flatten())
            for step in steps
        ]
        found = outer_gradient(
            evaluation,
            inner_loss,
            graphs,
            steps,
            outcomes,
            list(weights.parameters()),
            acting,
        )
        for one, other in zip(found, expected, strict=True):
            assert other.abs().max() > 1e-12
            th.testing.assert_close(one, other, rtol=1e-10, atol=1e-16)
