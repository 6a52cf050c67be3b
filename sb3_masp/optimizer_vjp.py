"""Vector-Jacobian products of an optimizer's step: cotangents of θ′ to cotangents of the gradient.

With the optimizer's state held fixed, the step θ′ = θ + u(g) acts elementwise, so its Jacobian is
diagonal and is written out here rather than traced.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch as th
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from macro_gym.errors import MacroGymError


class UnsupportedOptimizerError(MacroGymError, TypeError):
    """An optimizer whose step the meta-gradient cannot be pulled back through."""


def sgd_vjp(
    cotangent: Tensor, *, lr: float, momentum: float = 0.0, nesterov: bool = False
) -> Tensor:
    """``(∂u/∂g)ᵀ c`` for SGD without dampening: ``u = −lr (g + μ buffer)``.

    Args:
        cotangent: c, the gradient of some loss with respect to θ′.
        lr: Learning rate.
        momentum: μ.
        nesterov: Whether to use Nesterov momentum.

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
    step: float | Tensor,
    lr: float,
    betas: tuple[float, float],
    eps: float,
) -> Tensor:
    """``(∂u/∂g)ᵀ c`` for Adam: ``u = −lr m̂ / (√v̂ + ε)``.

    Where v is zero, g has always been zero (a dead ReLU is enough). The root has no derivative
    there, but the quotient has: its limit, (1 − β₁)/ε, is used.

    Args:
        cotangent: c, the gradient of some loss with respect to θ′.
        gradient: g, as the optimizer saw it.
        first: m *after* the step.
        second: v *after* the step.
        step: Number of the step, from 1; a tensor of shape ``()`` if counted on the device.
        lr: Learning rate.
        betas: Decay rates of m and v.
        eps: ε.

    Returns:
        The cotangent of g, of the same shape.

    Source: arXiv 1412.6980, algorithm 1, differentiated.
    """
    correction = (1 - betas[1] ** step) ** 0.5
    scale = -lr / (1 - betas[0] ** step)
    # m/d, with d = √v̂ + ε, in g: m moves by 1 − β₁ and √v by (1 − β₂) g/√v.
    root = positive_root(second)
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
        second: v *after* the step; where it is zero the limit is used, as in `adam_vjp`.
        lr: Learning rate.
        alpha: Decay rate of v.
        eps: ε.

    Returns:
        The cotangent of g, of the same shape.
    """
    root = positive_root(second)
    denominator = root + eps
    slope = 1 - (1 - alpha) * gradient.square() / (root * denominator)
    return -lr * cotangent * slope / denominator


def clip_vjp(
    cotangents: Sequence[Tensor], clipped: Sequence[Tensor], norm: Tensor, max_norm: float
) -> list[Tensor]:
    """Pull cotangents back through clipping by norm, ``g ↦ c g``, ``c = max/(‖g‖ + 1e-6)``.

    Args:
        cotangents: Cotangents of the clipped gradients.
        clipped: The gradients after clipping.
        norm: ‖g‖ before clipping, shape ``()``.
        max_norm: The limit; nothing is clipped if ``c ≥ 1``.

    Returns:
        Cotangents of the gradients before clipping.
    """
    scale = max_norm / (norm + 1e-6)
    along = th.stack([th.sum(g * c) for g, c in zip(clipped, cotangents, strict=True)]).sum()
    # With g = clipped/c: max/(n + 1e-6)² ⟨g, v⟩/n g, where max/(n + 1e-6) = c.
    shrink = th.where(scale < 1, along / (scale * norm * (norm + 1e-6)), 0)
    scale = scale.clamp(max=1)
    return [
        scale * cotangent - shrink * gradient
        for gradient, cotangent in zip(clipped, cotangents, strict=True)
    ]


class TakenStep(NamedTuple):
    """A step of one parameter.

    Args:
        optimizer: Class of the optimizer.
        settings: Settings of the parameter's group.
        gradient: As the optimizer saw it; None if there was none, so that nothing moved.
        state: The optimizer's state of the parameter, after the step.
        before: Value of the parameter before the step.
    """

    optimizer: type[Optimizer]
    settings: Mapping[str, Any]
    gradient: Tensor | None
    state: Mapping[str, Tensor]
    before: Tensor


def taken_steps(
    optimizer: Optimizer, parameters: Sequence[Tensor], before: Sequence[Tensor]
) -> list[TakenStep]:
    """The steps that ``optimizer`` has just taken.

    They refer to its state and to the gradients, which the next step overwrites.

    Args:
        optimizer: One that passes `require_supported`, with the gradients of the step still in
            place.
        parameters: Some or all of its parameters.
        before: Their values before the step.
    """
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    return [
        TakenStep(type(optimizer), groups[id(p)], p.grad, optimizer.state.get(p, {}), old)
        for p, old in zip(parameters, before, strict=True)
    ]


def optimizer_vjp(
    optimizer: Optimizer,
    parameters: Sequence[Tensor],
    cotangents: Sequence[Tensor],
    before: Sequence[Tensor],
) -> list[Tensor]:
    """Pull cotangents back through the step that ``optimizer`` has just taken.

    Args:
        optimizer: As for `taken_steps`.
        parameters: As for `taken_steps`.
        cotangents: Gradients of some loss with respect to the parameters after the step.
        before: As for `taken_steps`.

    Returns:
        Cotangents of the gradients that the optimizer saw, one per parameter.
    """
    steps = taken_steps(optimizer, parameters, before)
    return [step_vjp(step, cotangent) for step, cotangent in zip(steps, cotangents, strict=True)]


def require_supported(optimizer: Optimizer, otherwise: str) -> None:
    """Reject an optimizer that `optimizer_vjp` does not support, before any training.

    Args:
        optimizer: The optimizer.
        otherwise: Setting of the learner that would allow it, for the error message.

    Raises:
        UnsupportedOptimizerError: The optimizer, or an option of it, is not supported.
    """
    supported = type(optimizer) in (SGD, Adam, AdamW, RMSprop)
    options = ("amsgrad", "dampening", "maximize", "centered")
    used = [name for group in optimizer.param_groups for name in options if group.get(name)]
    if isinstance(optimizer, RMSprop):
        used += ["momentum" for group in optimizer.param_groups if group["momentum"]]
    if not supported or used:
        raise UnsupportedOptimizerError(
            f"meta-gradients go through the optimizer's step, which is written for SGD, Adam, "
            f"AdamW and RMSprop without {', '.join(options)}; got {type(optimizer).__name__}"
            f"{' with ' + ', '.join(used) if used else ''}. Choose another optimizer_class in "
            f"policy_kwargs, or {otherwise}."
        )


def step_vjp(step: TakenStep, cotangent: Tensor) -> Tensor:
    """Pull a cotangent back through a step, to the gradient that the optimizer saw."""
    if step.gradient is None:
        return th.zeros_like(cotangent)
    vjp, moments = _settled_vjp(step)
    decay = coupled_decay(step)
    pulled = th.empty_like(cotangent, memory_format=th.contiguous_format)
    for to, piece, gradient, value, *rest in _pieces(
        pulled, cotangent, step.gradient, step.before, *moments
    ):
        to.copy_(vjp(piece, gradient + decay * value if decay else gradient, *rest))
    return pulled


def coupled_decay(step: TakenStep) -> float:
    """Weight decay that is added to the gradient, unlike AdamW's."""
    decoupled = issubclass(step.optimizer, AdamW) or step.settings.get("decoupled_weight_decay")
    return 0.0 if decoupled else step.settings["weight_decay"]


def _settled_vjp(step: TakenStep) -> tuple[Callable[..., Tensor], list[Tensor]]:
    """The step's derivative as a function of cotangent, gradient and moments; and the moments."""
    group, state = step.settings, step.state
    if issubclass(step.optimizer, SGD):
        settings = {name: group[name] for name in ("lr", "momentum", "nesterov")}
        return lambda cotangent, _: sgd_vjp(cotangent, **settings), []
    if issubclass(step.optimizer, RMSprop):
        settings = {name: group[name] for name in ("lr", "alpha", "eps")}
        return functools.partial(rmsprop_vjp, **settings), [state["square_avg"]]
    settings = {name: group[name] for name in ("lr", "betas", "eps")}
    settings["step"] = step_count(state)
    moments = [state["exp_avg"], state["exp_avg_sq"]]
    return functools.partial(adam_vjp, **settings), moments


def step_count(state: Mapping[str, Tensor]) -> float | Tensor:
    """Number of Adam's step, from 1."""
    # Reading a count on the device would wait for it; torch counts in float32.
    return float(state["step"]) if state["step"].is_cpu else state["step"].double()


def _pieces(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Split flattened tensors of one size alike; on the CPU, into pieces that fit its cache."""
    length = 2**16 if tensors[0].is_cpu else max(tensors[0].numel(), 1)
    flat = (tensor.reshape(-1) for tensor in tensors)
    return zip(*(th.split(entries, length) for entries in flat), strict=True)


def positive_root(second: Tensor) -> Tensor:
    """``√v``, or almost zero where v is zero, since CPUs are slow to take the root of zero."""
    return second.clamp(min=th.finfo(second.dtype).tiny).sqrt_()
