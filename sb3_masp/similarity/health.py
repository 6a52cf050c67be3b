"""What Σ looks like in a few numbers, and whether it still says anything."""

from typing import Literal

import torch as th
from torch import Tensor

Collapse = Literal["identity", "uniform"]

LEAST_MASS = 0.02
"""Share of Σ's mass off its diagonal below which it is the identity."""

LEAST_UNEVENNESS = 0.02
"""Unevenness below which Σ is uniform."""


def similarity_health(similarity: Tensor, start: Tensor) -> dict[str, float]:
    """Numbers to watch while Σ is learned.

    Args:
        similarity: Σ, shape ``(actions, actions)``.
        start: Σ as it was at first, same shape.

    Returns:
        ``entropy``: of the rows' absolute entries off the diagonal, as a share of the largest
        possible, averaged: 1 for uniform rows. ``off_diagonal_mass``: share of the absolute
        entries there: 0 for identity. ``effective_rank``: exponential of the entropy of the
        singular values (Roy & Vetterli 2007), from 1 to the number of actions.
        ``distance_from_start``: Frobenius norm of the difference over that of the start.
    """
    singular_values = th.linalg.svdvals(similarity)
    return {
        "entropy": float(row_entropy(similarity).mean()),
        "off_diagonal_mass": float(off_diagonal_mass(similarity)),
        "effective_rank": float(_entropy(singular_values / singular_values.sum()).exp()),
        "distance_from_start": float((similarity - start).norm() / start.norm()),
    }


def row_entropy(similarity: Tensor) -> Tensor:
    """Entropy of each row off the diagonal over its largest possible value, shape ``(actions,)``.

    With two actions there is one entry off the diagonal in a row, and its entropy counts as 1.
    """
    weights = similarity.abs().clone().fill_diagonal_(0.0)
    rows = weights / weights.sum(dim=1, keepdim=True).clamp(min=1e-12)
    largest = th.log(th.tensor(float(len(similarity) - 1)))
    return _entropy(rows) / largest if largest > 0 else th.ones(len(similarity))


def off_diagonal_mass(similarity: Tensor) -> Tensor:
    """Share of the absolute entries that are off the diagonal, shape ``()``."""
    weights = similarity.abs()
    return 1 - weights.diagonal().sum() / weights.sum()


def unevenness(similarity: Tensor) -> Tensor:
    """Largest gap between an entry off the diagonal and its row's mean there, over that mean.

    The mean is taken as its size; shape ``()``: 0 for uniform rows.
    """
    n_actions = len(similarity)
    means = (similarity.sum(1) - similarity.diagonal()) / (n_actions - 1)
    gaps = (similarity - means[:, None]).clone().fill_diagonal_(0.0)
    return (gaps.abs().amax(dim=1) / means.abs().clamp(min=1e-12)).max()


def collapse(similarity: Tensor) -> Collapse | None:
    """Whether Σ has lost its meaning: penalises nothing (identity) or all alike (uniform)."""
    if off_diagonal_mass(similarity) < LEAST_MASS:
        return "identity"
    return "uniform" if unevenness(similarity) < LEAST_UNEVENNESS else None


def _entropy(probabilities: Tensor) -> Tensor:
    """``−Σ p log p`` over the last axis, with ``0 log 0 = 0``."""
    return -th.xlogy(probabilities, probabilities).sum(dim=-1)
