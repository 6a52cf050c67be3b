"""Σ of low rank: actions are similar if they belong to the same groups."""

from typing import Any, Self

import torch as th
from torch import Tensor, nn

from macro_gym import MacroSet
from sb3_masp.similarity.base import Similarity, SimilarityError
from sb3_masp.similarity.factored import FactoredSimilarity, Factors

SMALLEST = 1e-6


class LowRankSimilarity(FactoredSimilarity):
    """``Σ = M E``: M says which groups an action belongs to, E which actions a group holds.

    Rows of both are softmaxes, so rows of Σ sum to one. The diagonal is not zero, but its sum is
    at most the rank, so the identity is out of reach if the rank is much below A. Cost, at rank r:
    2·A·r parameters, and nothing in learning grows with A²; the fit to a start that is not uniform
    takes A²·r operations per step, once.

    Args:
        initial: Initial matrix, shape ``(actions, actions)``, non-negative with positive row sums;
            rows are normalised, and M and E are fitted by expectation maximisation, which finds the
            uniform matrix exactly and others as far as the rank allows.
        rank: Number of groups; at most the number of actions is used.
        seed: Seed of the groups that the fit starts from.
        fit_steps: Steps of the fit, each A²·r operations.

    Raises:
        SimilarityError: ``initial`` or ``rank`` is invalid.

    Source of the fit: Hofmann 1999, Probabilistic Latent Semantic Analysis, equations 3-5.
    """

    form = "low_rank"

    def __init__(
        self, initial: Tensor, rank: int = 16, seed: int | None = None, fit_steps: int = 50
    ) -> None:
        """Fit the groups to the start."""
        super().__init__(initial)
        if rank < 1:
            raise SimilarityError(f"rank is {rank}; it is how many groups there are, at least 1")
        sums = initial.sum(dim=1, keepdim=True)
        if initial.min() < 0 or sums.min() <= 0:
            raise SimilarityError(
                "the 'low_rank' form needs non-negative rows with a positive sum; the smallest "
                f"entry is {float(initial.min()):g}, the smallest sum {float(sums.min()):g}"
            )
        self.rank = min(rank, self.n_actions)
        members, groups = self._fitted(initial, seed, fit_steps)
        self.member_logits = nn.Parameter(members.clamp(min=SMALLEST).log())
        self.group_logits = nn.Parameter(groups.clamp(min=SMALLEST).log())
        self.keep_start()

    @classmethod
    def for_actions(
        cls, initial: Tensor, macro_set: MacroSet | None = None, seed: int | None = None
    ) -> Self:
        """Build it with the default rank."""
        return cls(initial, seed=seed)

    def factors(self) -> Factors:
        """Return M and E, rows of both softmaxes."""
        return Factors(self.member_logits.softmax(dim=1), self.group_logits.softmax(dim=1))

    def _fitted(self, initial: Tensor, seed: int | None, steps: int) -> Factors:
        """M and E fitted to a matrix; for a uniform one without its A² numbers."""
        if initial.min() == initial.max():
            members = drawn_members(initial, self.rank, seed)
            return Factors(members, th.full_like(members.mT, 1 / self.n_actions))
        sums = initial.sum(dim=1, keepdim=True)
        return Factors(*fit_groups(initial / sums, self.rank, seed, steps))

    def settings(self) -> dict[str, Any]:
        """The rank; a file's parameters need no fit."""
        return {"rank": self.rank, "fit_steps": 0}

    def rebuilt(self, initial: Tensor, macro_set: MacroSet | None = None) -> Similarity:
        """Fit the same number of groups to another matrix."""
        return type(self)(initial, self.rank)


def fit_groups(
    similarity: Tensor, rank: int, seed: int | None, steps: int
) -> tuple[Tensor, Tensor]:
    """Fit ``M E`` to Σ by the sum of the rows' Kullback-Leibler divergences.

    No step increases the divergence. M starts at random, since groups that start alike stay alike.

    Args:
        similarity: Σ, shape ``(actions, actions)``, rows summing to one.
        rank: Number of groups.
        seed: Seed of the initial M.
        steps: Number of steps.

    Returns:
        M, shape ``(actions, rank)``, and E, shape ``(rank, actions)``; rows sum to one.
    """
    members = drawn_members(similarity, rank, seed)
    groups = _normalised(members.mT @ similarity)
    for _ in range(steps):
        ratio = similarity / (members @ groups).clamp(min=1e-30)
        members, groups = (
            _normalised(members * (ratio @ groups.mT)),
            _normalised(groups * (members.mT @ ratio)),
        )
    return members, groups


def drawn_members(like: Tensor, rank: int, seed: int | None) -> Tensor:
    """A random M for a matrix like this one, shape ``(actions, rank)``."""
    generator = th.Generator().manual_seed(0 if seed is None else seed)
    return th.randn(len(like), rank, generator=generator).to(like).softmax(dim=1)


def _normalised(rows: Tensor) -> Tensor:
    """Rows normalised to sum to one; a row of zeros becomes uniform."""
    rows = rows + th.finfo(rows.dtype).tiny
    return rows / rows.sum(dim=1, keepdim=True)
