"""Σ as a product of two thin matrices, which learning never multiplies out."""

from abc import abstractmethod
from typing import ClassVar, NamedTuple

from torch import Tensor

from sb3_masp.losses import Mixer
from sb3_masp.similarity.base import Similarity


class Factors(NamedTuple):
    """M and E; rows of both sum to one.

    Args:
        members: M, which groups an action belongs to, shape ``(actions, groups)``.
        groups: E, which actions a group holds, shape ``(groups, actions)``.
    """

    members: Tensor
    groups: Tensor


class FactoredSimilarity(Similarity):
    """``Σ = M E``, or its off-diagonal part with rows normalised to sum to one.

    A form is a subclass that defines `factors`. Values are mixed as ``M(Ex)``: 2·A·r operations per
    row, and no A² numbers anywhere; the matrix is computed only on request.
    """

    holds_matrix = False

    has_diagonal: ClassVar[bool] = True
    """Whether the diagonal of ``M E`` is part of Σ."""

    start_members: Tensor
    start_groups: Tensor

    @abstractmethod
    def factors(self) -> Factors:
        """Return M and E, differentiable with respect to the parameters."""

    def forward(self) -> Tensor:
        """Return Σ, shape ``(actions, actions)``; rows sum to one."""
        return self.rows(self.all_actions)

    def rows(self, actions: Tensor) -> Tensor:
        """Return some rows of Σ, shape ``(rows, actions)``."""
        return self._rows(self.factors(), actions)

    def start_rows(self, actions: Tensor) -> Tensor:
        """Return some rows of the initial Σ, shape ``(rows, actions)``."""
        return self._rows(Factors(self.start_members, self.start_groups), actions)

    def mixer(self, features: Tensor | None = None) -> Mixer:
        """Return ``x ↦ M(Ex)``, without the diagonal's part if Σ has no diagonal."""
        members, groups = self.factors()
        if self.has_diagonal:
            return lambda values: values @ groups.mT @ members.mT
        own = (members * groups.mT).sum(dim=1)
        return lambda values: (values @ groups.mT @ members.mT - own * values) / (1 - own)

    def keep_start(self) -> None:
        """Remember the current M and E as the start."""
        members, groups = self.factors()
        self.register_buffer("start_members", members.detach().clone())
        self.register_buffer("start_groups", groups.detach().clone())

    def _rows(self, factors: Factors, actions: Tensor) -> Tensor:
        """Some rows of the Σ that M and E give."""
        rows = factors.members[actions] @ factors.groups
        if self.has_diagonal:
            return rows
        beside = rows * (self.all_actions != actions[:, None])
        return beside / beside.sum(dim=1, keepdim=True)
