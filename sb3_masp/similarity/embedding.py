"""e_Σ = W_emb·vec(Σ): a few numbers that tell the Q-network which Σ is in force.

Numbers that are the same in every state act as biases. At first they are about 1/dim each, so that
under Adam, which moves all weights alike, they move values together as one bias does.
"""

from abc import ABC, abstractmethod
from typing import Literal

import torch as th
from torch import Tensor, nn

from sb3_masp.similarity.base import Similarity

Embedding = Literal["factored", "dense"]


class SimilarityEmbedding(nn.Module, ABC):
    """``e_Σ = W_emb·vec(Σ)`` of the Σ that it was shown last.

    Args:
        n_actions: A.
        dim: Length of e_Σ.
    """

    shown: Tensor
    """What it keeps of that Σ; a target network's is of its own time."""

    @abstractmethod
    def show(self, similarity: Similarity) -> None:
        """Look at Σ as it is now."""


class FactoredEmbedding(SimilarityEmbedding):
    """W_emb with rows of rank one, fixed at random: ``e_i = u_iᵀ Σ v_i``.

    It holds 2·dim·A numbers where a dense W_emb holds dim·A², is not trained, and needs no matrix,
    since Σv is what Σ mixes v to. Of Σ it keeps e_Σ.

    Args:
        n_actions: A.
        dim: Length of e_Σ.
    """

    left: Tensor
    right: Tensor

    def __init__(self, n_actions: int, dim: int) -> None:
        """Draw u and v from normals."""
        super().__init__()
        self.register_buffer("left", th.randn(dim, n_actions) / dim)
        self.register_buffer("right", th.randn(dim, n_actions))
        self.register_buffer("shown", th.zeros(dim))

    @th.no_grad()
    def show(self, similarity: Similarity) -> None:
        """Keep e_Σ."""
        self.shown.copy_((self.left * similarity.mix(self.right)).sum(dim=1))

    def forward(self) -> Tensor:
        """Return e_Σ, shape ``(dim,)``."""
        return self.shown


class DenseEmbedding(SimilarityEmbedding):
    """The paper's W_emb, trained with the network: dim·A² parameters. Of Σ it keeps the matrix.

    Args:
        n_actions: A.
        dim: Length of e_Σ.
    """

    def __init__(self, n_actions: int, dim: int) -> None:
        """Draw W_emb from a normal."""
        super().__init__()
        self.weight = nn.Parameter(th.randn(dim, n_actions * n_actions) / dim)
        self.register_buffer("shown", th.zeros(n_actions, n_actions))

    @th.no_grad()
    def show(self, similarity: Similarity) -> None:
        """Keep Σ."""
        self.shown.copy_(similarity())

    def forward(self) -> Tensor:
        """Return e_Σ, shape ``(dim,)``; gradients reach W_emb."""
        return self.weight @ self.shown.flatten()


EMBEDDINGS: dict[str, type[FactoredEmbedding | DenseEmbedding]] = {
    "factored": FactoredEmbedding,
    "dense": DenseEmbedding,
}
