"""The inner step: A2C's losses, and the gradients for the optimizers."""

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch as th
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer, RMSprop

from sb3_masp.pairwise.metagradient import Evaluated, policy_loss
from sb3_masp.pairwise.trajectory import Trajectory
from sb3_masp.unrolled_vjp import flat, parts


class InnerLosses(NamedTuple):
    """The terms of A2C's loss, each of shape ``()``.

    Args:
        policy: −mean(Ψ log π).
        entropy: Minus the entropy, or mean log π where there is no formula for it.
        value: Mean squared error of the values.
    """

    policy: Tensor
    entropy: Tensor
    value: Tensor

    def total(self, ent_coef: float, vf_coef: float) -> Tensor:
        """Their sum, with the coefficients of the entropy and of the values."""
        return self.policy + ent_coef * self.entropy + vf_coef * self.value


def inner_losses(evaluated: Evaluated, trajectory: Trajectory, advantages: Tensor) -> InnerLosses:
    """A2C's losses for advantages Ψ, shape ``(envs * time,)``; gradients reach Ψ too."""
    values, log_probs, entropy = evaluated
    randomness = log_probs.neg() if entropy is None else entropy
    return InnerLosses(
        policy_loss(advantages, log_probs),
        -randomness.mean(),
        F.mse_loss(values.flatten(), trajectory.returns.flatten()),
    )


def give_gradients(loss: Tensor, parameters: Sequence[nn.Parameter]) -> None:
    """Set the gradients of ``parameters``: None for those that the loss does not depend on."""
    gradients = th.autograd.grad(loss, parameters, allow_unused=True)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient


def clip_gradients(parameters: Sequence[nn.Parameter], max_norm: float) -> tuple[Tensor, Tensor]:
    """Clip the gradients of parameters, which must all have one, by global norm, as torch does.

    Returns:
        The clipped gradients, concatenated in a vector of which the parameters' gradients are then
        views; and the norm before, shape ``()``.
    """
    # A new vector: gradients that `give_gradients` set may share their memory.
    vector = flat([cast(Tensor, parameter.grad) for parameter in parameters])
    norm: Tensor = th.linalg.vector_norm(vector)
    vector.mul_((max_norm / (norm + 1e-6)).clamp(max=1))
    for parameter, part in zip(parameters, parts(vector, parameters), strict=True):
        parameter.grad = part
    return vector, norm


def step_together(optimizers: Sequence[Optimizer]) -> list[nn.Parameter]:
    """Make RMSprop step all parameters in a few calls, unless configured otherwise.

    Returns:
        The parameters that require gradients.
    """
    groups = [(type(each), group) for each in optimizers for group in each.param_groups]
    for kind, group in groups:
        if kind is RMSprop and group["foreach"] is None and not group["differentiable"]:
            group["foreach"] = True
    return [p for _, group in groups for p in group["params"] if p.requires_grad]
