"""Row-stochastic Σ: a softmax over each row of free logits."""

from typing import ClassVar

from torch import Tensor, nn

from sb3_masp.similarity.base import Similarity, SimilarityError, off_diagonal

SMALLEST = 1e-6


class SoftmaxSimilarity(Similarity):
    """Softmax of logits over the off-diagonal entries; the diagonal is zero. The default.

    Rows sum to one, so that a constant added to all values costs nothing: only differences
    between actions are penalised. The zero diagonal keeps the identity, at which the penalty
    vanishes, out of reach. Cost: A² parameters, A² operations for Σ.

    Args:
        initial: Initial matrix, shape ``(actions, actions)``: non-negative, with a positive sum off
            the diagonal in each row; rows are normalised, and entries below 1e-6 raised to it,
            since a softmax has no zeros.

    Raises:
        SimilarityError: ``initial`` is not of this kind.
    """

    form = "softmax"
    has_diagonal: ClassVar[bool] = False

    def __init__(self, initial: Tensor) -> None:
        """Take the logarithm of the initial matrix."""
        super().__init__(initial)
        start = initial if self.has_diagonal else initial * off_diagonal(initial)
        if bool((start < 0).any()) or bool((start.sum(1) <= 0).any()):
            raise SimilarityError(
                f"the {self.form!r} form needs non-negative rows with a positive sum"
                f"{'' if self.has_diagonal else ' off the diagonal (identity has none)'}; "
                f"the smallest entry is {float(start.min()):g}, the smallest such sum "
                f"{float(start.sum(1).min()):g}"
            )
        self.logits = nn.Parameter((start / start.sum(1, keepdim=True)).clamp(min=SMALLEST).log())
        self.keep_start()

    def forward(self) -> Tensor:
        """Return Σ, shape ``(actions, actions)``."""
        if self.has_diagonal:
            return self.logits.softmax(dim=1)
        return self.logits.masked_fill(~off_diagonal(self.logits), float("-inf")).softmax(dim=1)


class DiagonalSoftmaxSimilarity(SoftmaxSimilarity):
    """Softmax of logits over whole rows, including the diagonal; can fade to the identity.

    Cost: as for `SoftmaxSimilarity`.
    """

    form = "softmax_diagonal"
    has_diagonal = True
    reaches_identity = True
