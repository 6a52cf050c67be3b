"""What Σ is compared with while it is learned: other matrices, and distances of values."""

import numpy as np
import torch as th
from numpy.typing import NDArray
from torch import Tensor


def relative_distance(similarity: Tensor, other: Tensor) -> float:
    """``‖Σ − O‖ / ‖O‖``, Frobenius norms of matrices of shape ``(actions, actions)``."""
    return float((similarity - other).detach().norm() / other.detach().norm())


def value_distances(q_values: Tensor, actions: Tensor | None = None) -> Tensor:
    """``mean_s |Q(s, i) − Q(s, j)|`` for some actions i and all j, shape ``(rows, actions)``.

    Args:
        q_values: Action values, shape ``(states, actions)``.
        actions: The actions i, shape ``(rows,)``; all if None.
    """
    of_rows = q_values if actions is None else q_values[:, actions]
    return th.cdist(of_rows.mT, q_values.mT, p=1) / len(q_values)


def value_agreement(rows: Tensor, q_values: Tensor, actions: Tensor | None = None) -> float:
    """Whether actions that Σ considers similar have similar values, within −1..1.

    Spearman's rank correlation, over all pairs of different actions, of ``Σ_ij`` with
    ``−mean_s |Q(s, i) − Q(s, j)|``; NaN if either is the same for all pairs.

    Args:
        rows: Rows of Σ, all or some, shape ``(rows, actions)``.
        q_values: Action values, shape ``(states, actions)``.
        actions: Actions of the rows, shape ``(rows,)``; all, in order, if None.
    """
    own = np.arange(len(rows)) if actions is None else actions.cpu().numpy()
    pairs = np.arange(rows.shape[1]) != own[:, None]
    entries = rows.double().cpu().numpy()[pairs]
    distances = value_distances(q_values.double(), actions).cpu().numpy()[pairs]
    return rank_correlation(entries, -distances)


def rank_correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Spearman's ρ of two samples of the same shape; NaN if one is constant."""
    ranks = np.stack((average_ranks(first), average_ranks(second)))
    ranks -= ranks.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(ranks, axis=1)
    return float(ranks[0] @ ranks[1] / norms.prod()) if norms.all() else float("nan")


def average_ranks(values: NDArray[np.float64], digits: int = 6) -> NDArray[np.float64]:
    """Ranks from 0; equal values share their mean rank.

    Args:
        values: Shape ``(n,)``.
        digits: Decimals, relative to the largest absolute value, that count: entries of a uniform Σ
            differ only by rounding, which must not be ranked.

    Example:
        >>> average_ranks(np.array([0.5, 0.1, 0.5, 0.9]))
        array([1.5, 0. , 1.5, 3. ])
    """
    scale = np.abs(values).max(initial=0.0) or 1.0
    _, groups, sizes = np.unique(
        np.round(values / scale, digits), return_inverse=True, return_counts=True
    )
    ranks: NDArray[np.float64] = (np.cumsum(sizes) - (sizes + 1) / 2)[groups]
    return ranks
