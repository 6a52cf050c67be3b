"""Σ as a plain matrix: redistributing its mass, and how much of it another matrix explains."""

import math
from collections.abc import Sequence

import torch as th
from torch import Tensor

from sb3_masp.similarity.base import SimilarityError, off_diagonal


def divided(matrix: Tensor, actions: Sequence[int], block: Tensor) -> Tensor:
    """Redistribute the mass that some actions give each other, in a block's proportions.

    Args:
        matrix: Rows that sum to one, shape ``(all, all)``.
        actions: Some of the actions.
        block: Proportions among them, shape ``(some, some)``; a row of zeros leaves that of the
            matrix unchanged.

    Returns:
        The matrix with the same row sums, inside and outside ``actions``.
    """
    result, index = matrix.clone(), th.tensor(actions, dtype=th.int64)
    inside = result[index[:, None], index]
    sums = block.sum(dim=1, keepdim=True)
    shares = block / sums.clamp(min=th.finfo(sums.dtype).tiny)
    anew = inside.sum(dim=1, keepdim=True) * shares
    result[index[:, None], index] = th.where(sums > 0, anew, inside)
    return result


def explained(matrix: Tensor, approximation: Tensor) -> float:
    """Share of a matrix's divergence from uniform that an approximation explains.

    ``1 − Σ_i KL(p_i‖q_i) / Σ_i KL(p_i‖u)`` over rows off the diagonal, u uniform; 1 if the matrix
    is uniform itself.

    Args:
        matrix: Non-negative, shape ``(actions, actions)``, each row positive somewhere off the
            diagonal.
        approximation: Positive off the diagonal, where its rows sum to one.
    """
    mask = off_diagonal(matrix)
    rows = matrix * mask
    rows = rows / rows.sum(dim=1, keepdim=True)
    logs = approximation.detach().masked_fill(~mask, 1.0).log()
    divergence = (th.xlogy(rows, rows) - rows * logs).sum()
    from_uniform = (th.xlogy(rows, rows) + rows * math.log(len(rows) - 1)).sum()
    return 1.0 if from_uniform < 1e-6 else float(1 - divergence / from_uniform)


def beside_diagonal(matrix: Tensor, form: str) -> Tensor:
    """The off-diagonal part, with rows normalised to sum to one.

    Args:
        matrix: Shape ``(actions, actions)``.
        form: The form that needs it, for the error message.

    Raises:
        SimilarityError: An entry there is negative, or a row has no positive one.
    """
    beside = matrix * off_diagonal(matrix)
    sums = beside.sum(dim=1, keepdim=True)
    if bool((beside < 0).any()) or bool((sums <= 0).any()):
        raise SimilarityError(
            f"the {form!r} form needs non-negative rows with a positive sum off the diagonal; "
            f"the smallest entry is {float(beside.min()):g}, the smallest such sum "
            f"{float(sums.min()):g}"
        )
    return beside / sums


def spread(n: int, most: int) -> Tensor:
    """All of ``0..n−1``, or ``most`` of them evenly spread."""
    count = min(n, most)
    return th.arange(count) * n // count


def distance_logits(distances: Tensor, temperature: float) -> Tensor:
    """Logits of similarity, ``−D/(temperature·mean(D))``, the mean taken off the diagonal.

    Args:
        distances: D, shape ``(actions, actions)``, its diagonal zero.
        temperature: In units of the mean distance.

    Returns:
        Logits, same shape; all zero where all distances are.
    """
    n_actions = len(distances)
    mean = distances.sum() / (n_actions * (n_actions - 1))
    return -distances / (temperature * mean).clamp(min=th.finfo(mean.dtype).tiny)
