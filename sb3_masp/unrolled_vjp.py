"""Vector-Jacobian products of several optimizer steps, which are also linked by its moments."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

import torch as th
from torch import Tensor
from torch.optim import SGD, Optimizer, RMSprop

from sb3_masp.optimizer_vjp import (
    TakenStep,
    UnsupportedOptimizerError,
    coupled_decay,
    positive_root,
    require_supported,
    step_count,
    step_vjp,
)

Moments = Mapping[str, Tensor]
"""Cotangents of an optimizer's moments, by their names in its state; missing ones are zero."""

MOMENTS = ("momentum_buffer", "square_avg", "exp_avg", "exp_avg_sq")
"""Names of what optimizers keep for each entry of a parameter."""


class Cotangents(NamedTuple):
    """Cotangents of the inputs of a step.

    Args:
        gradient: Cotangent of the gradient that the optimizer saw.
        before: Cotangent of the parameter before the step.
        moments: Cotangents of the moments before the step.
    """

    gradient: Tensor
    before: Tensor
    moments: Moments


def require_unrollable(optimizer: Optimizer, otherwise: str) -> None:
    """Reject an optimizer whose `step_of_all` cannot be pulled back through, before any training.

    Args:
        optimizer: The optimizer.
        otherwise: Setting of the learner that would allow it, for the error message.

    Raises:
        UnsupportedOptimizerError: As for `require_supported`, or it has several groups of
            parameters.
    """
    require_supported(optimizer, otherwise)
    groups = len(optimizer.param_groups)
    if groups > 1:
        raise UnsupportedOptimizerError(
            f"meta-gradients go back through optimizers with one group of parameters, but the "
            f"policy's has {groups}. Let the policy give its optimizer one group, or "
            f"{otherwise}."
        )


def step_of_all(
    optimizer: Optimizer, parameters: Sequence[Tensor], gradient: Tensor, before: Tensor
) -> TakenStep:
    """The step just taken, as one step of all entries, which later steps do not change.

    Args:
        optimizer: One that passes `require_unrollable`.
        parameters: Parameters that moved.
        gradient: As the optimizer saw it, all entries concatenated.
        before: Their values before the step, likewise.
    """
    group = optimizer.param_groups[0]
    return TakenStep(
        type(optimizer),
        {name: value for name, value in group.items() if name != "params"},
        gradient,
        _joined_states([optimizer.state.get(parameter, {}) for parameter in parameters]),
        before,
    )


def flat(tensors: Sequence[Tensor]) -> Tensor:
    """All entries, concatenated in a new vector."""
    return th.cat([tensor.flatten() for tensor in tensors])


def parts(vector: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Inverse of `flat`: views of a vector in the shapes of ``like``."""
    pieces = vector.split_with_sizes([tensor.numel() for tensor in like])
    return [piece.view_as(tensor) for piece, tensor in zip(pieces, like, strict=True)]


def unrolled_vjp(step: TakenStep, cotangent: Tensor, moments: Moments) -> Cotangents:
    """Pull cotangents back through one of several steps of a parameter.

    Args:
        step: The step, which had a gradient.
        cotangent: c, the gradient of some loss with respect to the parameter after the step.
        moments: Its gradient with respect to the moments after the step, through later steps.

    Returns:
        Cotangents of the inputs; without ``moments``, that of the gradient is `step_vjp`'s.
    """
    gradient = cast(Tensor, step.gradient)
    decay, settings = coupled_decay(step), step.settings
    seen = gradient + decay * step.before if decay else gradient
    later, before = _through_moments(step, seen, cotangent, moments)
    pulled = step_vjp(step, cotangent) + later
    kept_of_value = 1 if decay else 1 - settings["lr"] * settings["weight_decay"]
    return Cotangents(pulled, kept_of_value * cotangent + decay * pulled, before)


def _through_moments(
    step: TakenStep, seen: Tensor, cotangent: Tensor, moments: Moments
) -> tuple[Tensor, Moments]:
    """What later steps' moments add to the gradient's cotangent; and the moments' cotangents."""
    settings, state = step.settings, step.state
    if issubclass(step.optimizer, SGD):
        if not settings["momentum"]:
            return th.zeros_like(seen), {}
        after = moments.get("momentum_buffer", th.zeros_like(seen))
        within = -settings["lr"] * (settings["momentum"] if settings["nesterov"] else 1)
        before = settings["momentum"] * (after + within * cotangent)
        return after, {"momentum_buffer": before}
    if issubclass(step.optimizer, RMSprop):
        after = moments.get("square_avg", th.zeros_like(seen))
        root = positive_root(state["square_avg"])
        within = settings["lr"] * seen / (2 * root * (root + settings["eps"]).square())
        before = settings["alpha"] * (after + within * cotangent)
        return 2 * (1 - settings["alpha"]) * seen * after, {"square_avg": before}
    return _through_adam(step, seen, cotangent, moments)


def _through_adam(
    step: TakenStep, seen: Tensor, cotangent: Tensor, moments: Moments
) -> tuple[Tensor, Moments]:
    """`_through_moments` for Adam and AdamW."""
    (beta, beta_square), count = step.settings["betas"], step_count(step.state)
    first = moments.get("exp_avg", th.zeros_like(seen))
    second = moments.get("exp_avg_sq", th.zeros_like(seen))
    rate = step.settings["lr"] / (1 - beta**count)
    correction = (1 - beta_square**count) ** 0.5
    root = positive_root(step.state["exp_avg_sq"])
    denominator = root / correction + step.settings["eps"]
    of_first = -rate / denominator
    of_second = rate * step.state["exp_avg"] / (2 * root * correction * denominator.square())
    later = (1 - beta) * first + 2 * (1 - beta_square) * seen * second
    return later, {
        "exp_avg": beta * (first + of_first * cotangent),
        "exp_avg_sq": beta_square * (second + of_second * cotangent),
    }


def _joined_states(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The moments of all parameters, and the number of steps, which they share in SB3."""
    first = states[0]
    # SGD without momentum keeps None.
    moments = [name for name in MOMENTS if first.get(name) is not None]
    found = {name: flat([state[name] for state in states]) for name in moments}
    return found | ({"step": first["step"].clone()} if "step" in first else {})
