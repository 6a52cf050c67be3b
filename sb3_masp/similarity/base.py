"""Similarity: what every form of Σ offers."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch as th
from torch import Tensor, nn

from macro_gym.errors import MacroGymError


class SimilarityError(MacroGymError, ValueError):
    """A similarity that does not fit its form, its actions or its file."""


class Similarity(nn.Module, ABC):
    """Σ: how much of each action's value the others should explain.

    Calling it gives the matrix, shape ``(actions, actions)``, differentiable with respect to its
    parameters.

    Args:
        initial: The matrix to start from, shape ``(actions, actions)``.

    Raises:
        SimilarityError: ``initial`` is not a finite square matrix of at least two actions.
    """

    form: ClassVar[str]
    has_diagonal: ClassVar[bool]

    def __init__(self, initial: Tensor) -> None:
        """Check the start and keep it, to tell later how far Σ has moved."""
        super().__init__()
        if initial.ndim != 2 or initial.shape[0] != initial.shape[1] or len(initial) < 2:
            raise SimilarityError(
                f"Σ has shape {tuple(initial.shape)}; it must be (actions, actions) for at least "
                "two actions"
            )
        if not bool(initial.isfinite().all()):
            raise SimilarityError("Σ must start from finite numbers")
        self.n_actions = len(initial)

    @abstractmethod
    def forward(self) -> Tensor:
        """Return Σ, shape ``(actions, actions)``."""

    def _keep_start(self) -> None:
        """Remember Σ as it is now; called once, at the end of the construction."""
        self.start: Tensor
        self.register_buffer("start", self().detach().clone())


def off_diagonal(n_actions: int) -> Tensor:
    """True off the diagonal, shape ``(actions, actions)``."""
    return ~th.eye(n_actions, dtype=th.bool)
