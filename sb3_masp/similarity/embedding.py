"""e_Σ = W_emb·vec(Σ): the embedding of Σ on which Q-networks are conditioned.

Inputs that are the same in every state act as biases. At first they are about 1/dim each, so that
under Adam, which moves all weights alike, all of them together move values as a single bias does.
"""

from abc import ABC, abstractmethod
from typing import Literal

import torch as th
from torch import Tensor, nn

from sb3_masp.similarity.base import Similarity

Embedding = Literal["factored", "dense"]


class SimilarityEmbedding(nn.Module, ABC):
    """``e_Σ = W_emb·vec(Σ)`` of the Σ that it was last shown.

    Args:
        n_actions: A, the number of actions.
        dim: Length of e_Σ.
    """

    shown: Tensor
    """What it keeps of that Σ; a target network's is as of its last update."""

    @abstractmethod
    def show(self, similarity: Similarity) -> None:
        """Take over the current Σ."""


class FactoredEmbedding(SimilarityEmbedding):
    """W_emb with fixed random rows of rank one: ``e_i = u_iᵀ Σ v_i``.

    It holds 2·dim·A numbers instead of a dense W_emb's dim·A², is not trained, and does not need
    the matrix, since mixing v gives Σv. Of Σ it keeps e_Σ.

    Args:
        n_actions: A, the number of actions.
        dim: Length of e_Σ.
    """

    left: Tensor
    right: Tensor

    def __init__(self, n_actions: int, dim: int) -> None:
        """Draw u and v from normal distributions."""
        super().__init__()
        self.register_buffer("left", th.randn(dim, n_actions) / dim)
        self.register_buffer("right", th.randn(dim, n_actions))
        self.register_buffer("shown", th.zeros(dim))

    @th.no_grad()
    def show(self, similarity: Similarity) -> None:
        """Compute and keep e_Σ."""
        self.shown.copy_((self.left * similarity.mix(self.right)).sum(dim=1))

    def forward(self) -> Tensor:
        """Return e_Σ, shape ``(dim,)``."""
        return self.shown


class DenseEmbedding(SimilarityEmbedding):
    """The paper's W_emb, trained with the network: dim·A² parameters. Of Σ it keeps the matrix.

    Args:
        n_actions: A, the number of actions.
        dim: Length of e_Σ.
    """

    def __init__(self, n_actions: int, dim: int) -> None:
        """Draw W_emb from a normal distribution."""
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
