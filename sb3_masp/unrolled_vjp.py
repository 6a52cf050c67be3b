"""Back through several steps of an optimizer, which reach each other through its moments too."""

from collections.abc import Mapping
from typing import NamedTuple

import torch as th
from torch import Tensor
from torch.optim import SGD, RMSprop

from sb3_masp.optimizer_vjp import TakenStep, coupled_decay, positive_root, step_count, step_vjp

Moments = Mapping[str, Tensor]
"""Cotangents of an optimizer's moments, by their names in its state; missing ones are zero."""

MOMENTS = ("momentum_buffer", "square_avg", "exp_avg", "exp_avg_sq", "step")
"""What optimizers keep for a parameter that derivatives of their steps need."""


class Cotangents(NamedTuple):
    """Of what went into a step.

    Args:
        gradient: Of the gradient that the optimizer saw.
        before: Of the parameter before the step.
        moments: Of the moments before the step.
    """

    gradient: Tensor
    before: Tensor
    moments: Moments


def kept(step: TakenStep) -> TakenStep:
    """A copy of a step that the steps after it do not change."""
    state = {name: th.clone(step.state[name]) for name in MOMENTS if _is_there(step, name)}
    settings = {name: value for name, value in step.settings.items() if name != "params"}
    gradient = None if step.gradient is None else step.gradient.clone()
    return step._replace(settings=settings, gradient=gradient, state=state)


def unrolled_vjp(step: TakenStep, cotangent: Tensor, moments: Moments) -> Cotangents:
    """Back through one of several steps of a parameter.

    Args:
        step: The step.
        cotangent: c, the gradient of some loss with respect to the parameter after the step.
        moments: Its gradient with respect to the moments after the step, by way of later steps.

    Returns:
        Cotangents of what went in; with no ``moments``, that of the gradient is `step_vjp`'s.
    """
    if step.gradient is None:
        return Cotangents(th.zeros_like(cotangent), cotangent, moments)
    decay, settings = coupled_decay(step), step.settings
    seen = step.gradient + decay * step.before if decay else step.gradient
    later, before = _through_moments(step, seen, cotangent, moments)
    gradient = step_vjp(step, cotangent) + later
    kept_of_value = 1 if decay else 1 - settings["lr"] * settings["weight_decay"]
    return Cotangents(gradient, kept_of_value * cotangent + decay * gradient, before)


def _through_moments(
    step: TakenStep, seen: Tensor, cotangent: Tensor, moments: Moments
) -> tuple[Tensor, Moments]:
    """What later steps' moments add to the gradient's cotangent; and the moments' before it."""
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


def _is_there(step: TakenStep, name: str) -> bool:
    """Whether the optimizer keeps it; SGD without momentum keeps None."""
    return step.state.get(name) is not None
