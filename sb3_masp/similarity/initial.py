"""Initial matrices for Σ."""

from typing import Literal, get_args

import torch as th
from torch import Tensor

from macro_gym import MacroSet
from sb3_masp.similarity.base import Similarity, SimilarityError
from sb3_masp.similarity.files import load_similarity

StartName = Literal["uniform", "overlap", "identity", "permuted", "random"]
Start = StartName | str
"""A name, or the path of a file that `save_similarity` wrote."""

LEAST_OVERLAP = 1e-3
"""Added to all overlaps, so that gradients can reach actions that share nothing."""


def initial_similarity(
    start: Start, n_actions: int, macro_set: MacroSet | None = None, seed: int | None = None
) -> Tensor:
    """Return an initial matrix for Σ, shape ``(actions, actions)``.

    Rows sum to one, except for files whose Σ has other rows. Named starts have a diagonal, which
    forms without one drop.

    Args:
        start: ``"uniform"``: all actions alike. ``"overlap"``: by the primitives that two
            actions share in order (`MacroSet.overlap`). ``"identity"``: nine tenths on the
            action itself. ``"permuted"``: overlap with the actions shuffled. ``"random"``: uniform
            on the simplex. Anything else: a file that `save_similarity` wrote, of the same
            actions.
        n_actions: Number of actions.
        macro_set: The environment's macros; needed for ``"overlap"`` and ``"permuted"``.
        seed: Seed of ``"random"`` and ``"permuted"``.

    Raises:
        SimilarityError: The start is unknown, or needs a macro set that is missing; or the file
            has other actions.
    """
    uniform = th.full((n_actions, n_actions), 1 / n_actions)
    generator = th.Generator().manual_seed(0 if seed is None else seed)
    match start:
        case "uniform":
            return uniform
        case "identity":
            return 0.9 * th.eye(n_actions) + 0.1 * uniform
        case "random":
            weights = -th.rand(n_actions, n_actions, generator=generator).log()
            return weights / weights.sum(dim=1, keepdim=True)
        case "overlap":
            return _overlap(start, macro_set)
        case "permuted":
            order = th.randperm(n_actions, generator=generator)
            return _overlap(start, macro_set)[order][:, order]
    return _of_file(start, n_actions, macro_set)


def _overlap(start: Start, macro_set: MacroSet | None) -> Tensor:
    """Overlap of the actions, rows summing to one."""
    if macro_set is None:
        raise SimilarityError(
            f"similarity_start={start!r} compares macros by their primitives, but the "
            "environment has no macro_set; use a MacroALE environment or MacroAction"
        )
    weights = th.as_tensor(macro_set.overlap(), dtype=th.float32) + LEAST_OVERLAP
    return weights / weights.sum(dim=1, keepdim=True)


def similarity_of_file(path: str, n_actions: int, macro_set: MacroSet | None = None) -> Similarity:
    """Return the similarity of a file, which must have the same actions.

    Raises:
        SimilarityError: It has others.
        FileNotFoundError: There is no such file.
    """
    similarity, about = load_similarity(path)
    fits = about.macro_set == ("" if macro_set is None else macro_set.hash)
    if macro_set is not None and not about.macro_set:
        fits = about.actions in ((), macro_set.names)
    if not fits or similarity.n_actions != n_actions:
        raise SimilarityError(
            f"{path} holds a similarity of other actions: {similarity.n_actions} of "
            f"{about.game or 'an unnamed game'}, macro set {about.macro_set[:12] or 'unknown'}; "
            f"the environment has {n_actions}, macro set "
            f"{'none' if macro_set is None else macro_set.hash[:12]}. To carry it over: "
            "sb3_masp.similarity.transferred_similarity, or masp train --similarity FILE"
        )
    return similarity


def _of_file(path: str, n_actions: int, macro_set: MacroSet | None) -> Tensor:
    """Matrix of a file's Σ, which must have the same actions."""
    try:
        matrix: Tensor = similarity_of_file(path, n_actions, macro_set)()
    except FileNotFoundError as error:
        raise SimilarityError(
            f"similarity_start is {path!r}; it may be {', '.join(map(repr, get_args(StartName)))} "
            "or a file that save_similarity wrote, and there is no such file"
        ) from error
    return matrix.detach()
