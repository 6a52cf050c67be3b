"""Back through one step of an optimizer: cotangents of θ′ become cotangents of the gradient.

With the optimizer's state held, the step θ′ = θ + u(g) acts entry by entry, so its Jacobian is a
diagonal that is written down here rather than traced.
"""

from collections.abc import Sequence
from typing import Any

import torch as th
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from macro_gym.errors import MacroGymError


class UnsupportedOptimizerError(MacroGymError, TypeError):
    """An optimizer through whose step the meta-gradient cannot go."""


def sgd_vjp(
    cotangent: Tensor, *, lr: float, momentum: float = 0.0, nesterov: bool = False
) -> Tensor:
    """``(∂u/∂g)ᵀ c`` for SGD without dampening: ``u = −lr (g + μ buffer)``.

    Args:
        cotangent: c, the gradient of some loss with respect to θ′.
        lr: Learning rate.
        momentum: μ.
        nesterov: Whether the step looks ahead along the new buffer.

    Returns:
        The cotangent of g, of the same shape.
    """
    return cotangent * (-lr * (1 + momentum if nesterov else 1))


def adam_vjp(
    cotangent: Tensor,
    gradient: Tensor,
    first: Tensor,
    second: Tensor,
    *,
    step: float,
    lr: float,
    betas: tuple[float, float],
    eps: float,
) -> Tensor:
    """``(∂u/∂g)ᵀ c`` for Adam: ``u = −lr m̂ / (√v̂ + ε)``.

    Where v is zero, g has been zero for ever (a dead ReLU is enough) and the root has no
    derivative, but the quotient has: its limit, (1 − β₁)/ε, is taken.

    Args:
        cotangent: c, the gradient of some loss with respect to θ′.
        gradient: g, as the optimizer saw it.
        first: m *after* the step.
        second: v *after* the step.
        step: Number of the step, from one.
        lr: Learning rate.
        betas: Decay rates of m and v.
        eps: ε.

    Returns:
        The cotangent of g, of the same shape.

    Source: arXiv 1412.6980, algorithm 1, differentiated.
    """
    correction = (1 - betas[1] ** step) ** 0.5
    scale = -lr / (1 - betas[0] ** step)
    # m/d, with d = √v̂ + ε, in g: m moves by 1 − β₁ and √v by (1 − β₂) g/√v. In place, because
    # the parameters are millions and fresh memory costs more than the arithmetic.
    root = second.sqrt().clamp_(min=th.finfo(second.dtype).tiny)
    slope = (gradient * first).div_(root)
    denominator = root.div_(correction).add_(eps)
    slope.div_(denominator).mul_(scale * (betas[1] - 1) / correction)
    return slope.add_(scale * (1 - betas[0])).mul_(cotangent).div_(denominator)


def rmsprop_vjp(
    cotangent: Tensor, gradient: Tensor, second: Tensor, *, lr: float, alpha: float, eps: float
) -> Tensor:
    """``(∂u/∂g)ᵀ c`` for RMSprop: ``u = −lr g / (√v + ε)``.

    Args:
        cotangent: c, the gradient of some loss with respect to θ′.
        gradient: g, as the optimizer saw it.
        second: v *after* the step; where it is zero the limit is taken, as for `adam_vjp`.
        lr: Learning rate.
        alpha: Decay rate of v.
        eps: ε.

    Returns:
        The cotangent of g, of the same shape.
    """
    root = second.sqrt().clamp_(min=th.finfo(second.dtype).tiny)
    denominator = root + eps
    slope = 1 - (1 - alpha) * gradient.square() / (root * denominator)
    return -lr * cotangent * slope / denominator


def clip_vjp(
    cotangents: Sequence[Tensor], clipped: Sequence[Tensor], norm: Tensor, max_norm: float
) -> list[Tensor]:
    """Back through clipping by global norm, ``g ↦ c g`` with ``c = max/(‖g‖ + 1e-6)``.

    Args:
        cotangents: Cotangents of the clipped gradients.
        clipped: The gradients after clipping.
        norm: ‖g‖ before clipping, shape ``()``.
        max_norm: The limit; nothing happens if ``c ≥ 1``.

    Returns:
        Cotangents of the gradients before clipping.
    """
    scale = float(max_norm / (norm + 1e-6))
    if scale >= 1:
        return list(cotangents)
    along = float(sum((g * c).sum() for g, c in zip(clipped, cotangents, strict=True)))
    # With g = clipped/c: max/(n + 1e-6)² ⟨g, v⟩/n g, where max/(n + 1e-6) = c.
    shrink = along / (scale * float(norm) * (float(norm) + 1e-6))
    return [
        scale * cotangent - shrink * gradient
        for gradient, cotangent in zip(clipped, cotangents, strict=True)
    ]


def optimizer_vjp(
    optimizer: Optimizer,
    parameters: Sequence[Tensor],
    cotangents: Sequence[Tensor],
    before: Sequence[Tensor],
) -> list[Tensor]:
    """Back through the step that ``optimizer`` has just taken.

    Args:
        optimizer: One that `require_supported` lets pass, with the gradients of the step still
            in place.
        parameters: Some or all of its parameters.
        cotangents: Gradient of some loss with respect to each, after the step.
        before: Their values before the step.

    Returns:
        Cotangents of the gradients that the optimizer saw, one for each parameter.
    """
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    return [
        _parameter_vjp(optimizer, groups[id(parameter)], parameter, cotangent, old)
        for parameter, cotangent, old in zip(parameters, cotangents, before, strict=True)
    ]


def require_supported(optimizer: Optimizer) -> None:
    """Refuse, before any training, an optimizer that `optimizer_vjp` cannot go through.

    Raises:
        UnsupportedOptimizerError: See there.
    """
    supported = type(optimizer) in (SGD, Adam, AdamW, RMSprop)
    options = ("amsgrad", "dampening", "maximize", "centered")
    used = [name for group in optimizer.param_groups for name in options if group.get(name)]
    if isinstance(optimizer, RMSprop):
        used += ["momentum" for group in optimizer.param_groups if group["momentum"]]
    if not supported or used:
        raise UnsupportedOptimizerError(
            f"Σ is learned through the optimizer's step, which is written for SGD, Adam, AdamW and "
            f"RMSprop without {', '.join(options)}; got {type(optimizer).__name__}"
            f"{' with ' + ', '.join(used) if used else ''}. Choose another optimizer_class in "
            "policy_kwargs, or similarity_frozen=True."
        )


def _parameter_vjp(
    optimizer: Optimizer, group: dict[str, Any], parameter: Tensor, cotangent: Tensor, old: Tensor
) -> Tensor:
    """`optimizer_vjp` for one parameter."""
    if parameter.grad is None:
        return th.zeros_like(cotangent)
    gradient, state, lr = parameter.grad, optimizer.state[parameter], float(group["lr"])
    decoupled = isinstance(optimizer, AdamW) or group.get("decoupled_weight_decay", False)
    if group["weight_decay"] and not decoupled:
        gradient = gradient + group["weight_decay"] * old
    if isinstance(optimizer, SGD):
        return sgd_vjp(cotangent, lr=lr, momentum=group["momentum"], nesterov=group["nesterov"])
    if isinstance(optimizer, RMSprop):
        return rmsprop_vjp(
            cotangent, gradient, state["square_avg"], lr=lr, alpha=group["alpha"], eps=group["eps"]
        )
    return adam_vjp(
        cotangent,
        gradient,
        state["exp_avg"],
        state["exp_avg_sq"],
        step=float(state["step"]),
        lr=lr,
        betas=group["betas"],
        eps=group["eps"],
    )
