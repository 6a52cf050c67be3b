"""Σ(s): a similarity that depends on the state."""

import math
from typing import Any, Self

import torch as th
from torch import Tensor, nn
from torch.nn import functional as F

from macro_gym import MacroSet
from sb3_masp.similarity.base import Similarity, SimilarityError, off_diagonal
from sb3_masp.similarity.softmax import SoftmaxSimilarity


class StateSimilarity(SoftmaxSimilarity):
    """``Σ(s) = softmax(L + U·diag(c(s))·Vᵀ)`` off the diagonal, ``c(s) = tanh(W·f(s))``.

    L is shared by all states. At c = 0, Σ(s) is a `SoftmaxSimilarity`, which is what calling it
    returns, what the network is shown and what files store as Σ. To it, a state adds r pairings of
    the actions' keys U and V, each with a strength within −1..1 that depends on the state's
    features f, centred and scaled to unit length; no gradient reaches them. Starts at c = 0. Cost,
    with d features: A² + 2·A·r + r·d parameters, A²·r operations and A² numbers for each *state* of
    a batch.

    Args:
        initial: Initial softmax of L, as for `SoftmaxSimilarity`.
        rank: r, the number of pairings.
        seed: Seed of the keys.
        n_features: d; 0 until a learner sets it (`read`).

    Raises:
        SimilarityError: ``initial`` or ``rank`` is invalid.
    """

    form = "state"
    reads_features = True

    def __init__(
        self, initial: Tensor, rank: int = 8, seed: int | None = None, n_features: int = 0
    ) -> None:
        """Draw the keys so that a full-strength state moves logits by about one."""
        super().__init__(initial)
        if rank < 1:
            raise SimilarityError(f"rank is {rank}; it is how many pairings there are, at least 1")
        generator = th.Generator().manual_seed(0 if seed is None else seed)
        keys = th.randn(2, self.n_actions, rank, generator=generator) * rank**-0.25
        self.row_keys, self.column_keys = (nn.Parameter(each.to(initial)) for each in keys)
        self.strengths = nn.Parameter(initial.new_zeros(rank, n_features))

    @classmethod
    def for_actions(
        cls, initial: Tensor, macro_set: MacroSet | None = None, seed: int | None = None
    ) -> Self:
        """Build it with the default rank."""
        return cls(initial, seed=seed)

    def read(self, n_features: int) -> None:
        """Set the number of features of a state.

        Raises:
            SimilarityError: It was learned with another number.
        """
        known = self.strengths.shape[1]
        if known not in (0, n_features):
            raise SimilarityError(
                f"Σ(s) was learned on {known} features of a state, but the network has "
                f"{n_features}; start from its state-free part: similarity_start=FILE"
            )
        if known == 0:
            self.strengths = nn.Parameter(self.strengths.new_zeros(len(self.strengths), n_features))

    def at(self, features: Tensor | None = None) -> Tensor:
        """Return Σ(s) for each state, shape ``(batch, actions, actions)``; Σ if None are given."""
        if features is None:
            return self.forward()
        scaled = F.layer_norm(features, features.shape[1:]) / math.sqrt(features.shape[1])
        strengths = (scaled.detach() @ self.strengths.mT).tanh()
        moved = (self.row_keys * strengths[:, None]) @ self.column_keys.mT
        diagonal = ~off_diagonal(self.logits)
        return (self.logits + moved).masked_fill(diagonal, float("-inf")).softmax(dim=2)

    def settings(self) -> dict[str, Any]:
        """The rank and the number of features."""
        rank, n_features = self.strengths.shape
        return {"rank": rank, "n_features": n_features}

    def rebuilt(self, initial: Tensor, macro_set: MacroSet | None = None) -> Similarity:
        """Draw as many pairings anew; what depends on the state is not transferred."""
        return type(self)(initial, len(self.strengths))
