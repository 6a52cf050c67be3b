"""Losses: pure functions on tensors, one equation each."""

from collections.abc import Callable
from typing import Literal

import torch as th
from torch import Tensor
from torch.nn import functional as F

Reduction = Literal["mean", "sum"]

Mixer = Callable[[Tensor], Tensor]
"""Maps each row x of a tensor, shape ``(batch, actions)``, to ``Σx``, by a matrix or not."""


def similarity_penalty(q_values: Tensor, mix: Mixer, reduction: Reduction = "mean") -> Tensor:
    """Squared gap between each value and its neighbours' mix: ``‖Q − ΣQ‖²``.

    Args:
        q_values: Action values, shape ``(batch, actions)``.
        mix: ``Q ↦ ΣQ``: `Similarity.mixer`, or `matrix_mixer` of a matrix.
        reduction: Over actions. ``"mean"`` keeps the scale of η the same for any number of
            actions; ``"sum"`` is the equation as printed. The batch is always averaged.

    Returns:
        The penalty, shape ``()``. Gradients reach Q and, if ``mix`` has a graph, Σ.

    Source: arXiv 2506.13690, section 3.2; the mean over actions is ours.
    """
    return _over_actions((q_values - mix(q_values)).square(), reduction).mean()


def similarity_penalty_tangent(
    q_values: Tensor, q_tangents: Tensor, mix: Mixer, reduction: Reduction = "mean"
) -> Tensor:
    """Derivative of the penalty as Q moves along a tangent: ``2⟨(I − Σ)Q, (I − Σ)Q̇⟩``.

    Args:
        q_values: Q, shape ``(batch, actions)``.
        q_tangents: Q̇, the direction in which Q moves, shape ``(batch, actions)``.
        mix: As for `similarity_penalty`.
        reduction: As for `similarity_penalty`.

    Returns:
        The directional derivative, shape ``()``. Gradients reach Q, Q̇ and, through ``mix``,
        Σ, which is the one that matters.
    """
    products = (q_values - mix(q_values)) * (q_tangents - mix(q_tangents))
    return 2 * _over_actions(products, reduction).mean()


def matrix_mixer(similarity: Tensor) -> Mixer:
    """Return ``x ↦ Σx`` for a matrix.

    Args:
        similarity: Σ, shape ``(actions, actions)``, or Σ(s), one for each row to be mixed,
            ``(batch, actions, actions)``.
    """
    if similarity.ndim == 3:
        return lambda values: (similarity @ values[:, :, None]).squeeze(2)
    return lambda values: values @ similarity.mT


def td_target(
    rewards: Tensor,
    dones: Tensor,
    discounts: Tensor | float,
    next_q_values: Tensor,
    selection_q_values: Tensor | None = None,
) -> Tensor:
    """TD target of a decision: ``R + γ^τ max_a Q⁻(s′, a)``.

    Args:
        rewards: R, the discounted rewards within the decisions, shape ``(batch, 1)``.
        dones: 1 where the episode terminated, shape ``(batch, 1)``.
        discounts: γ^τ, shape ``(batch, 1)``, or γ where every decision lasts one step.
        next_q_values: Q⁻(s′, ·) of the target network, shape ``(batch, actions)``.
        selection_q_values: Values whose argmax is a′, same shape: those of the online
            network for double Q-learning (arXiv 1509.06461); ``next_q_values`` if omitted.

    Returns:
        Targets, shape ``(batch, 1)``.

    Source: Sutton, Precup & Singh (1999), equation 9, for decisions that last τ steps.
    """
    choices = next_q_values if selection_q_values is None else selection_q_values
    values = next_q_values.gather(1, choices.argmax(dim=1, keepdim=True))
    return rewards + (1 - dones) * discounts * values


def td_loss(values: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Huber loss of the TD errors, averaged over the batch.

    Args:
        values: Q(s, a), shape ``(batch, 1)``.
        targets: TD targets, same shape.
        weights: Importance weights of prioritised replay, same shape; ones if omitted.

    Returns:
        The loss, shape ``()``.
    """
    if weights is None:
        return F.smooth_l1_loss(values, targets)
    return (weights * F.smooth_l1_loss(values, targets, reduction="none")).mean()


def quantile_target(
    rewards: Tensor,
    dones: Tensor,
    discounts: Tensor | float,
    next_quantiles: Tensor,
    selection_quantiles: Tensor | None = None,
) -> Tensor:
    """Target quantiles of a decision: ``R + γ^τ Z⁻(s′, a*)``.

    The action a* has the highest expected value, the mean over quantiles.

    Args:
        rewards: R, the discounted rewards within the decisions, shape ``(batch, 1)``.
        dones: 1 where the episode terminated, shape ``(batch, 1)``.
        discounts: γ^τ, shape ``(batch, 1)``, or γ where every decision lasts one step.
        next_quantiles: Z⁻(s′, ·) of the target network, shape ``(batch, quantiles, actions)``.
        selection_quantiles: Quantiles whose means pick a*, same shape: those of the online
            network for double Q-learning (arXiv 1509.06461); ``next_quantiles`` if omitted.

    Returns:
        Samples of the target's distribution, shape ``(batch, quantiles)``.

    Source: arXiv 1710.10044, algorithm 1, for decisions that last τ steps.
    """
    choices = next_quantiles if selection_quantiles is None else selection_quantiles
    best = choices.mean(dim=1, keepdim=True).argmax(dim=2, keepdim=True)
    quantiles = next_quantiles.gather(2, best.expand(-1, next_quantiles.shape[1], 1)).squeeze(2)
    return rewards + (1 - dones) * discounts * quantiles


def quantile_losses(quantiles: Tensor, targets: Tensor) -> Tensor:
    """Quantile Huber loss of each target, summed over quantiles: ``Σ_i ρ_τi(y_j − θ_i)``.

    Args:
        quantiles: θ, estimates at the levels (i + 1/2)/quantiles, shape ``(batch, quantiles)``.
        targets: y, samples of the target's distribution, shape ``(batch, targets)``; no gradient
            passes through the indicator of which side of a quantile they are on.

    Returns:
        The losses, shape ``(batch, targets)``; QR-DQN's loss is their mean.

    Source: arXiv 1710.10044, equations 9 and 10, with κ = 1.
    """
    n_quantiles = quantiles.shape[1]
    levels = th.arange(n_quantiles, dtype=quantiles.dtype, device=quantiles.device)
    levels = ((levels + 0.5) / n_quantiles)[:, None]
    values = quantiles[:, :, None].expand(-1, -1, targets.shape[1])
    samples = targets[:, None, :].expand(-1, n_quantiles, -1)
    slopes = (levels - (samples < values).to(levels.dtype)).abs()
    return (slopes * F.huber_loss(values, samples, reduction="none")).sum(dim=1)


def _over_actions(values: Tensor, reduction: Reduction) -> Tensor:
    """Reduce over actions, the last axis."""
    return values.mean(dim=1) if reduction == "mean" else values.sum(dim=1)
