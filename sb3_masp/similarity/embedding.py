"""e_Σ = W_emb·vec(Σ): a few numbers that tell the Q-network which Σ is in force."""

from typing import Literal

import torch as th
from torch import Tensor, nn

Embedding = Literal["factored", "dense"]


class FactoredEmbedding(nn.Module):
    """W_emb with rows of rank one, fixed at random: ``e_i = u_iᵀ Σ v_i``.

    It holds 2·dim·A numbers where a dense W_emb holds dim·A², and is not trained.

    Args:
        n_actions: A.
        dim: Length of e_Σ.
    """

    left: Tensor
    right: Tensor

    def __init__(self, n_actions: int, dim: int) -> None:
        """Draw u and v from a standard normal."""
        super().__init__()
        self.register_buffer("left", th.randn(dim, n_actions))
        self.register_buffer("right", th.randn(dim, n_actions))

    def forward(self, similarity: Tensor) -> Tensor:
        """Return e_Σ, shape ``(dim,)``."""
        return ((self.left @ similarity) * self.right).sum(dim=1)


class DenseEmbedding(nn.Module):
    """The paper's W_emb, trained with the network: dim·A² parameters.

    Args:
        n_actions: A.
        dim: Length of e_Σ.
    """

    def __init__(self, n_actions: int, dim: int) -> None:
        """Draw W_emb from a standard normal, which keeps e_Σ near unit size."""
        super().__init__()
        self.weight = nn.Parameter(th.randn(dim, n_actions * n_actions))

    def forward(self, similarity: Tensor) -> Tensor:
        """Return e_Σ, shape ``(dim,)``; gradients reach W_emb."""
        return self.weight @ similarity.flatten()


EMBEDDINGS: dict[str, type[FactoredEmbedding | DenseEmbedding]] = {
    "factored": FactoredEmbedding,
    "dense": DenseEmbedding,
}
