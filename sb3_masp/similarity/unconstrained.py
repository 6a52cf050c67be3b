"""Σ as free entries: the paper's literal form."""

from torch import Tensor, nn

from sb3_masp.similarity.base import Similarity


class UnconstrainedSimilarity(Similarity):
    """Any real matrix. Entries may become negative, and the level of Q is penalised too.

    Cost: A² parameters, A² operations for Σ.

    Args:
        initial: Initial matrix, shape ``(actions, actions)``.

    Source: arXiv 2506.13690, section 3.4, read literally.
    """

    form = "unconstrained"
    reaches_identity = True

    def __init__(self, initial: Tensor) -> None:
        """Copy the initial matrix."""
        super().__init__(initial)
        self.entries = nn.Parameter(initial.clone())
        self.keep_start()

    def forward(self) -> Tensor:
        """Return Σ, shape ``(actions, actions)``."""
        # Times one: callers get a tensor of the graph, never the parameter itself.
        return self.entries * 1
