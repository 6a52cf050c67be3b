"""Warnings about memory that grows with the square of the number of actions."""

import warnings

from sb3_masp.memory import readable
from sb3_masp.similarity.base import Similarity

MANY_ACTIONS = 1024
"""Actions above which A² is large: 4 MiB for every copy of Σ, 128 MiB for W_emb."""


def warn_of_matrix(similarity: Similarity) -> None:
    """Warn if a Σ over many actions is held as a matrix."""
    n_actions = similarity.n_actions
    if n_actions <= MANY_ACTIONS or not similarity.holds_matrix:
        return
    # If learned: itself, its gradient, their sum and direction, Adam's two moments, and its start.
    copies = 7 if similarity.is_learned else 2
    others = "'low_rank' or 'group_kernel'" if similarity.is_learned else "'uniform'"
    warnings.warn(
        f"similarity={similarity.form!r} holds {n_actions:,}² numbers {copies} times over, "
        f"{readable(4 * copies * n_actions**2)}, and every update goes through them; what "
        f"similarity={others} takes grows with the number of actions, not with its square "
        "(docs/similarity.md, Thousands of actions)",
        stacklevel=5,
    )


def warn_of_dense_embedding(n_actions: int, dim: int) -> None:
    """Warn if a dense W_emb is trained over many actions."""
    if n_actions <= MANY_ACTIONS:
        return
    numbers = dim * n_actions**2
    # Weights, their gradient, Adam's two moments, and the target network's weights.
    warnings.warn(
        f"embedding='dense' trains {dim}·{n_actions:,}² = {numbers:,} numbers, "
        f"{readable(5 * 4 * numbers)} with their gradient, Adam's two and the target network's; "
        f"embedding='factored' (e_i = u_iᵀ Σ v_i) takes {2 * dim * n_actions:,}, fixed",
        stacklevel=5,
    )
