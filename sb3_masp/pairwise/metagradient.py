"""The outer step's gradient with respect to pairwise weights, exact, through one update or several.

The weights enter an inner step only through the advantages Ψ_η, and in those linearly. So
∇_η L_outer(θ′) = ∇_η ⟨v, ∇_θ L_inner(θ, η)⟩ = −∇_η mean(Ψ_η · d log π/dv), where v is ∇_θ′ L_outer
pulled back through the optimizer and the clipping: one forward-mode pass of the policy, and one
backward pass through the weights. Through several updates, v also goes back through the Hessian of
each inner loss and through the optimizer's moments.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch as th
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import Tensor, nn
from torch.func import functional_call

from sb3_masp.forward_mode import Parameters, network_tangent
from sb3_masp.optimizer_vjp import TakenStep, clip_vjp
from sb3_masp.pairwise.trajectory import Trajectory
from sb3_masp.unrolled_vjp import Moments, unrolled_vjp


@dataclass(frozen=True, slots=True)
class InnerStep:
    """An update of the policy, as the outer step goes back through it.

    Args:
        trajectory: What it was taken on.
        credited: What the pairwise weights sum: TD errors or rewards, ``(envs, time)``.
        baseline: What was taken off the sums, ``(envs, time)``.
        advantages: Ψ as the loss had it, ``(envs * time,)``, without a graph.
        before: θ, by name.
        steps: What the optimizer did with each parameter, in the same order.
        gradient_norm: Of all gradients, before clipping, ``()``.
        max_grad_norm: What it was clipped to.
    """

    trajectory: Trajectory
    credited: Tensor
    baseline: Tensor
    advantages: Tensor
    before: Parameters
    steps: Sequence[TakenStep]
    gradient_norm: Tensor
    max_grad_norm: float


Evaluated = tuple[Tensor, Tensor, Tensor | None]
"""Values, log-probabilities and, if there is a formula for it, entropy, of each decision."""

InnerLoss = Callable[[Evaluated, Trajectory, Tensor], Tensor]
"""The loss of an inner step: of what `Evaluation` gives, the trajectory and the advantages."""


class Evaluation(nn.Module):
    """What a policy makes of decisions, as a function of its parameters.

    Args:
        policy: An actor-critic policy of SB3's.
    """

    policy: ActorCriticPolicy

    def __init__(self, policy: ActorCriticPolicy) -> None:
        """Hold it."""
        super().__init__()
        self.policy = policy

    def forward(self, observations: PyTorchObs, actions: Tensor) -> Evaluated:
        """Evaluate ``actions`` in the states of ``observations``."""
        return self.policy.evaluate_actions(observations, actions)


def normalized(advantages: Tensor) -> Tensor:
    """Advantages of mean zero and deviation one, as SB3's A2C makes them."""
    return (advantages - advantages.mean()) / (advantages.std() + 1e-8)


def policy_loss(advantages: Tensor, log_probs: Tensor) -> Tensor:
    """``−mean(Ψ log π(a|s))``, both of shape ``(batch,)``; gradients reach both."""
    return -(advantages * log_probs).mean()


def log_prob_tangents(
    evaluation: Evaluation, trajectory: Trajectory, before: Parameters, direction: Parameters
) -> Tensor:
    """How fast ``log π(a|s)`` changes as the parameters move along ``direction``, ``(batch,)``."""
    _, tangents = network_tangent(
        lambda point: _evaluated_at(evaluation, point, trajectory)[1],
        before,
        direction,
    )
    return tangents


def outer_gradient(
    evaluation: Evaluation,
    inner_loss: InnerLoss,
    advantages: Callable[[InnerStep], Tensor],
    steps: Sequence[InnerStep],
    outcomes: Sequence[Parameters],
    parameters: Sequence[nn.Parameter],
) -> list[Tensor]:
    """Gradient of the outer losses with respect to the weights' parameters.

    Args:
        evaluation: The policy.
        inner_loss: Of the steps; needed where there are several.
        advantages: Ψ_η of a step, with a graph to η, ``(envs * time,)``.
        steps: The updates, first to last.
        outcomes: Gradient of the outer loss after each of them, with respect to the policy's
            parameters there, by name.
        parameters: η.

    Returns:
        A gradient for each, of the sum of the outer losses.

    Source: arXiv 2102.04999, equations 15 and 16, and section 5.1 for several updates.
    """
    totals = [th.zeros_like(parameter) for parameter in parameters]
    cotangents: dict[str, Tensor] = {}
    moments: Mapping[str, Moments] = {}
    for step, outcome in zip(reversed(steps), reversed(outcomes), strict=True):
        cotangents = {name: outcome[name] + cotangents.get(name, 0) for name in step.before}
        direction, cotangents, moments = _past_update(step, cotangents, moments)
        tangents = log_prob_tangents(evaluation, step.trajectory, step.before, direction)
        surrogate = policy_loss(advantages(step), tangents)
        for total, part in zip(
            totals, th.autograd.grad(surrogate, parameters, materialize_grads=True), strict=True
        ):
            total += part
        if step is not steps[0]:
            curved = _hessian_product(evaluation, inner_loss, step, direction)
            cotangents = {name: cotangents[name] + curved[name] for name in cotangents}
    return totals


def _past_update(
    step: InnerStep, cotangents: Parameters, moments: Mapping[str, Moments]
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Moments]]:
    """Back through optimizer and clipping: to the loss's gradient, to θ and to the moments."""
    back = {
        name: unrolled_vjp(taken, cotangents[name], moments.get(name, {}))
        for name, taken in zip(step.before, step.steps, strict=True)
    }
    pulled = [found.gradient for found in back.values()]
    if step.gradient_norm + 1e-6 > step.max_grad_norm:
        clipped = [
            th.zeros_like(p) if taken.gradient is None else taken.gradient
            for p, taken in zip(pulled, step.steps, strict=True)
        ]
        pulled = clip_vjp(pulled, clipped, step.gradient_norm, step.max_grad_norm)
    return (
        dict(zip(back, pulled, strict=True)),
        {name: found.before for name, found in back.items()},
        {name: found.moments for name, found in back.items()},
    )


def _hessian_product(
    evaluation: Evaluation, inner_loss: InnerLoss, step: InnerStep, direction: Parameters
) -> dict[str, Tensor]:
    """The Hessian of an inner loss, at the parameters before it, times a direction."""
    point = {name: value.detach().requires_grad_() for name, value in step.before.items()}
    trajectory = step.trajectory
    evaluated = _evaluated_at(evaluation, point, trajectory)
    gradients = th.autograd.grad(
        inner_loss(evaluated, trajectory, step.advantages),
        list(point.values()),
        create_graph=True,
        materialize_grads=True,
    )
    along = sum((g * direction[name]).sum() for name, g in zip(point, gradients, strict=True))
    products = th.autograd.grad(along, list(point.values()), materialize_grads=True)  # type: ignore[arg-type]
    return dict(zip(point, products, strict=True))


def _evaluated_at(evaluation: Evaluation, point: Parameters, trajectory: Trajectory) -> Evaluated:
    """What the policy makes of a trajectory at other parameters."""
    inputs = trajectory.decided, trajectory.actions
    # Tied by name, a module that actor and critic share would be left with the wrong parameters.
    found: Evaluated = functional_call(evaluation, dict(point), inputs, tie_weights=False)
    return found
