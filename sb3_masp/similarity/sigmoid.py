"""Σ that is symmetric before normalisation: similarity as a mutual relation."""

from torch import Tensor, nn

from sb3_masp.similarity.base import Similarity, SimilarityError, off_diagonal

CLOSEST = 1e-4


class SigmoidSimilarity(Similarity):
    """Row-normalised ``sigmoid((L + Lᵀ)/2)`` off the diagonal, which is zero.

    Cost: A² parameters, A² operations for Σ.

    Args:
        initial: Initial matrix, shape ``(actions, actions)``, non-negative; it is made symmetric
            and scaled so that its largest entry is one half, then smaller entries than 1e-4 are
            raised to it.

    Raises:
        SimilarityError: ``initial`` is negative somewhere or zero off the diagonal.
    """

    form = "sigmoid"

    def __init__(self, initial: Tensor) -> None:
        """Take the logit of the initial matrix."""
        super().__init__(initial)
        start = (initial + initial.T) * off_diagonal(initial)
        if bool((start < 0).any()) or float(start.max()) <= 0:
            raise SimilarityError(
                "the 'sigmoid' form needs non-negative entries, some of them positive off the "
                f"diagonal; the smallest is {float(start.min()):g}, the largest "
                f"{float(start.max()):g}"
            )
        self.logits = nn.Parameter((start / (2 * start.max())).clamp(min=CLOSEST).logit())
        self.keep_start()

    def forward(self) -> Tensor:
        """Return Σ, shape ``(actions, actions)``; rows sum to one."""
        weights = ((self.logits + self.logits.mT) / 2).sigmoid() * off_diagonal(self.logits)
        return weights / weights.sum(dim=1, keepdim=True)
