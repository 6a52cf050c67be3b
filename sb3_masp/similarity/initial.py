"""Matrices for Σ to start from."""

from typing import Literal

import torch as th
from torch import Tensor

from macro_gym import MacroSet
from sb3_masp.similarity.base import SimilarityError

Start = Literal["uniform", "overlap", "identity", "random"]


def initial_similarity(
    start: Start, n_actions: int, macro_set: MacroSet | None = None, seed: int | None = None
) -> Tensor:
    """Return a matrix for Σ to start from, rows summing to one, shape ``(actions, actions)``.

    The diagonal is filled too; forms without one drop it.

    Args:
        start: ``"uniform"``: all actions alike. ``"overlap"``: by the primitives that two
            actions share in order (`MacroSet.overlap`). ``"identity"``: nine tenths on the
            action itself. ``"random"``: uniform on the simplex.
        n_actions: Number of actions.
        macro_set: What the actions are; needed for ``"overlap"``.
        seed: Of ``"random"``.

    Raises:
        SimilarityError: The start is unknown, or needs a macro set that is missing.
    """
    uniform = th.full((n_actions, n_actions), 1 / n_actions)
    if start == "uniform":
        return uniform
    if start == "identity":
        return 0.9 * th.eye(n_actions) + 0.1 * uniform
    if start == "random":
        generator = th.Generator().manual_seed(0 if seed is None else seed)
        weights = -th.rand(n_actions, n_actions, generator=generator).log()
        return weights / weights.sum(dim=1, keepdim=True)
    if start == "overlap":
        if macro_set is None:
            raise SimilarityError(
                "similarity_start='overlap' compares macros by their primitives, but the "
                "environment has no macro_set; use a MacroALE environment or MacroAction"
            )
        # Actions that share nothing still get a little, or no gradient could ever reach them.
        weights = th.as_tensor(macro_set.overlap(), dtype=th.float32) + 1e-3
        return weights / weights.sum(dim=1, keepdim=True)
    raise SimilarityError(
        f"similarity_start is {start!r}; it may be 'uniform', 'overlap', 'identity' or 'random'"
    )
