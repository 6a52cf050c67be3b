"""The exact outer gradient with respect to pairwise weights, through one update or several.

The weights enter an inner step only through the advantages Ψ_η, and these linearly. So
∇_η L_outer(θ′) = ∇_η ⟨v, ∇_θ L_inner(θ, η)⟩ = −∇_η mean(Ψ_η · d log π/dv), where v is ∇_θ′ L_outer
pulled back through the optimizer and the clipping: one forward-mode pass of the policy, and one
backward pass through the weights. With several updates, v is also pulled back through the Hessian
of each inner loss and through the optimizer's moments.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import cast

import torch as th
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import Tensor, nn
from torch.func import functional_call

from sb3_masp.forward_mode import Parameters, network_tangent
from sb3_masp.optimizer_vjp import TakenStep, clip_vjp, step_vjp
from sb3_masp.pairwise.trajectory import Trajectory
from sb3_masp.unrolled_vjp import Cotangents, flat, parts, unrolled_vjp


@dataclass(frozen=True, slots=True)
class InnerStep:
    """An update of the policy, as the outer step needs it.

    Args:
        trajectory: The rollout that it was taken on.
        credited: What the pairwise weights sum: TD errors or rewards, ``(envs, time)``.
        baseline: What was subtracted from the sums, ``(envs, time)``.
        advantages: Ψ as used in the loss, ``(envs * time,)``, detached.
        before: θ, by name: all parameters that had a gradient.
        step: The optimizer's step of all of them, concatenated.
        gradient_norm: Norm of all gradients before clipping, ``()``.
        max_grad_norm: Norm that they were clipped to.
    """

    trajectory: Trajectory
    credited: Tensor
    baseline: Tensor
    advantages: Tensor
    before: Parameters
    step: TakenStep
    gradient_norm: Tensor
    max_grad_norm: float


Evaluated = tuple[Tensor, Tensor, Tensor | None]
"""Values, log-probabilities and, if there is a formula for it, entropy of each decision."""

InnerLoss = Callable[[Evaluated, Trajectory, Tensor], Tensor]
"""The loss of an inner step: a function of `Evaluation`'s output, trajectory and advantages."""


class Evaluation(nn.Module):
    """Evaluates a policy's decisions, as a function of its parameters.

    Args:
        policy: An actor-critic policy of SB3.
    """

    policy: ActorCriticPolicy

    def __init__(self, policy: ActorCriticPolicy) -> None:
        """Store the policy."""
        super().__init__()
        self.policy = policy

    def forward(
        self, observations: PyTorchObs, actions: Tensor, log_probs_alone: bool = False
    ) -> Evaluated:
        """Evaluate ``actions`` in the states of ``observations``."""
        if not log_probs_alone:
            return self.policy.evaluate_actions(observations, actions)
        log_probs = self.policy.get_distribution(observations).log_prob(actions)
        return log_probs, log_probs, None

    def at(
        self, point: Parameters, trajectory: Trajectory, log_probs_alone: bool = False
    ) -> Evaluated:
        """Evaluate a trajectory's actions at other parameters."""
        inputs = trajectory.decided, trajectory.actions, log_probs_alone
        # With tied weights, modules that actor and critic share get the wrong parameters.
        found: Evaluated = functional_call(self, dict(point), inputs, tie_weights=False)
        return found


def normalized(advantages: Tensor) -> Tensor:
    """Advantages normalised to mean zero and standard deviation one, as in SB3's A2C."""
    return (advantages - advantages.mean()) / (advantages.std() + 1e-8)


def policy_loss(advantages: Tensor, log_probs: Tensor) -> Tensor:
    """``−mean(Ψ log π(a|s))``, both of shape ``(batch,)``; gradients reach both."""
    return -(advantages * log_probs).mean()


def gradient_and_reach(loss: Tensor, parameters: Parameters) -> tuple[Tensor, list[str]]:
    """Gradient of a loss, whose graph is kept, and names of the parameters that it depends on.

    Returns:
        All entries, concatenated, zero where the loss does not depend on them; and the names.
    """
    variables = list(parameters.values())
    gradients = th.autograd.grad(loss, variables, retain_graph=True, allow_unused=True)
    reached = [n for n, found in zip(parameters, gradients, strict=True) if found is not None]
    pairs = zip(variables, gradients, strict=True)
    return flat([th.zeros_like(p) if found is None else found for p, found in pairs]), reached


def log_prob_tangents(
    evaluation: Evaluation,
    step: InnerStep,
    direction: Tensor,
    acting: Collection[str] | None = None,
) -> Tensor:
    """Directional derivative of ``log π(a|s)`` in the parameters before a step, ``(batch,)``.

    Args:
        evaluation: The policy.
        step: The step.
        direction: The direction, all entries concatenated.
        acting: Names of the parameters that log-probabilities depend on; all if None.
    """
    moving = dict(zip(step.before, parts(direction, list(step.before.values())), strict=True))
    names = step.before if acting is None else acting
    return network_tangent(
        lambda point: evaluation.at(point, step.trajectory, log_probs_alone=True)[1],
        {name: step.before[name] for name in names},
        {name: moving[name] for name in names},
    )[1]


def outer_gradient(
    evaluation: Evaluation,
    inner_loss: InnerLoss,
    advantages: Sequence[Tensor],
    steps: Sequence[InnerStep],
    outcomes: Sequence[Tensor],
    parameters: Sequence[nn.Parameter],
    acting: Collection[str] | None = None,
) -> list[Tensor]:
    """Gradient of the outer losses with respect to the weights' parameters.

    Args:
        evaluation: The policy.
        inner_loss: Loss of the steps; needed if there are several.
        advantages: Ψ_η of each step, differentiable in η, ``(envs * time,)``.
        steps: The updates, first to last.
        outcomes: Gradient of the outer loss after each of them, with respect to the parameters
            that it moved, all entries concatenated.
        parameters: η.
        acting: As for `log_prob_tangents`.

    Returns:
        Gradients of the sum of the outer losses, one per parameter.

    Source: arXiv 2102.04999, equations 15 and 16, and section 5.1 for several updates.
    """
    surrogates = []
    back = Cotangents(th.zeros_like(outcomes[0]), th.zeros_like(outcomes[0]), {})
    for step, weighted, outcome in reversed([*zip(steps, advantages, outcomes, strict=True)]):
        if len(steps) == 1:
            direction = _past_clipping(step, step_vjp(step.step, outcome))
        else:
            back = unrolled_vjp(step.step, outcome + back.before, back.moments)
            direction = _past_clipping(step, back.gradient)
        tangents = log_prob_tangents(evaluation, step, direction, acting)
        surrogates.append(policy_loss(weighted, tangents))
        if step is not steps[0]:
            curved = _hessian_product(evaluation, inner_loss, step, direction)
            back = back._replace(before=back.before + curved)
    total = th.stack(surrogates).sum()
    return list(th.autograd.grad(total, list(parameters), materialize_grads=True))


def _past_clipping(step: InnerStep, cotangent: Tensor) -> Tensor:
    """Pull a cotangent back through the clipping, to the gradient of the loss."""
    if step.gradient_norm + 1e-6 <= step.max_grad_norm:
        return cotangent
    clipped = cast(Tensor, step.step.gradient)
    return clip_vjp([cotangent], [clipped], step.gradient_norm, step.max_grad_norm)[0]


def _hessian_product(
    evaluation: Evaluation, inner_loss: InnerLoss, step: InnerStep, direction: Tensor
) -> Tensor:
    """The Hessian of an inner loss, at the parameters before its step, times a direction."""
    point = {name: value.detach().requires_grad_() for name, value in step.before.items()}
    evaluated = evaluation.at(point, step.trajectory)
    loss, variables = inner_loss(evaluated, step.trajectory, step.advantages), list(point.values())
    gradients = th.autograd.grad(loss, variables, create_graph=True, materialize_grads=True)
    along = flat(gradients) @ direction
    return flat(th.autograd.grad(along, variables, materialize_grads=True))
