"""Summary figures of Σ, and whether it has collapsed."""

from typing import Literal

import torch as th
from torch import Tensor

from sb3_masp.similarity.matrices import spread

Collapse = Literal["identity", "uniform"]

LEAST_MASS = 0.02
"""Share of Σ's mass off its diagonal below which it counts as the identity."""

LEAST_UNEVENNESS = 0.02
"""Unevenness below which Σ counts as uniform."""


ALL_ROWS = 1024
"""Most actions for which all rows are examined."""

SOME_ROWS = 256
"""Rows, evenly spread, that are examined if there are more actions."""


def rows_to_look_at(n_actions: int) -> Tensor:
    """Actions whose rows of Σ to examine: all, or some of thousands, shape ``(rows,)``."""
    return spread(n_actions, n_actions if n_actions <= ALL_ROWS else SOME_ROWS)


def similarity_health(
    rows: Tensor, start: Tensor, actions: Tensor | None = None
) -> dict[str, float]:
    """Figures to watch while Σ is learned.

    Args:
        rows: Σ, shape ``(actions, actions)``, or some of its rows, ``(rows, actions)``.
        start: The same rows of the initial Σ.
        actions: Actions of the rows, shape ``(rows,)``; all, in order, if None.

    Returns:
        ``entropy``: mean entropy of the rows' absolute entries off the diagonal, as a share of the
        largest possible: 1 for uniform rows. ``off_diagonal_mass``: share of the absolute entries
        off the diagonal: 0 for the identity. ``effective_rank``: exponential of the entropy of the
        singular values (Roy & Vetterli 2007), from 1 to the number of actions; only of all rows, at
        a cost that grows with the cube of their number. ``distance_from_start``: Frobenius norm of
        the difference over that of the start.
    """
    health = {
        "entropy": float(row_entropy(rows, actions).mean()),
        "off_diagonal_mass": float(off_diagonal_mass(rows, actions)),
    }
    if len(rows) == rows.shape[1]:
        values = th.linalg.svdvals(rows)
        health["effective_rank"] = float(_entropy(values / values.sum()).exp())
    return health | {"distance_from_start": float((rows - start).norm() / start.norm())}


def row_entropy(rows: Tensor, actions: Tensor | None = None) -> Tensor:
    """Entropy of each row off the diagonal over its largest possible value, shape ``(rows,)``.

    With two actions, a row has one entry off the diagonal, whose entropy counts as 1. Arguments as
    for `similarity_health`.
    """
    weights = rows.abs().masked_fill(_diagonal(rows, actions), 0.0)
    shares = weights / weights.sum(dim=1, keepdim=True).clamp(min=1e-12)
    largest = th.log(th.tensor(float(rows.shape[1] - 1)))
    return _entropy(shares) / largest if largest > 0 else th.ones(len(rows))


def off_diagonal_mass(rows: Tensor, actions: Tensor | None = None) -> Tensor:
    """Share of the absolute entries that are off the diagonal, shape ``()``.

    Arguments as for `similarity_health`.
    """
    weights = rows.abs()
    return 1 - weights[_diagonal(rows, actions)].sum() / weights.sum()


def unevenness(rows: Tensor, actions: Tensor | None = None) -> Tensor:
    """Largest deviation of an off-diagonal entry from its row's mean there, over that mean.

    The mean counts by its absolute value; shape ``()``: 0 for uniform rows. Arguments as for
    `similarity_health`.
    """
    diagonal = _diagonal(rows, actions)
    means = (rows.sum(1) - rows[diagonal]) / (rows.shape[1] - 1)
    gaps = (rows - means[:, None]).masked_fill(diagonal, 0.0)
    return (gaps.abs().amax(dim=1) / means.abs().clamp(min=1e-12)).max()


def collapse(rows: Tensor, actions: Tensor | None = None) -> Collapse | None:
    """Whether Σ has collapsed: it penalises nothing (identity) or all actions alike (uniform).

    Arguments as for `similarity_health`.
    """
    if off_diagonal_mass(rows, actions) < LEAST_MASS:
        return "identity"
    return "uniform" if unevenness(rows, actions) < LEAST_UNEVENNESS else None


def _diagonal(rows: Tensor, actions: Tensor | None) -> Tensor:
    """Mask of each row's own action, same shape as the rows."""
    n_rows, n_actions = rows.shape
    actions = th.arange(n_rows) if actions is None else actions
    return th.arange(n_actions, device=rows.device) == actions.to(rows.device)[:, None]


def _entropy(probabilities: Tensor) -> Tensor:
    """``−Σ p log p`` over the last axis, with ``0 log 0 = 0``."""
    return -th.xlogy(probabilities, probabilities).sum(dim=-1)
