"""Fixed Σ: the controls that a learned one is compared with, and any given matrix."""

from typing import ClassVar, Self

import torch as th
from numpy.typing import ArrayLike
from torch import Tensor, nn

from macro_gym import MacroSet
from sb3_masp.losses import Mixer
from sb3_masp.similarity.base import Similarity, off_diagonal
from sb3_masp.similarity.initial import Start, initial_similarity


class FixedSimilarity(Similarity):
    """Any given matrix, which stays fixed.

    Cost: no parameter to learn; A² numbers and nothing to compute for Σ.

    Args:
        initial: The matrix, shape ``(actions, actions)``: a tensor, or anything array-like, which
            is converted to torch's default dtype.
    """

    form = "fixed"
    reaches_identity = True

    def __init__(self, initial: Tensor | ArrayLike) -> None:
        """Copy the matrix."""
        if not isinstance(initial, Tensor):
            initial = th.tensor(initial, dtype=th.get_default_dtype())
        super().__init__(initial)
        self.entries = nn.Parameter(initial.clone(), requires_grad=False)
        self.keep_start()

    def forward(self) -> Tensor:
        """Return Σ, shape ``(actions, actions)``."""
        return self.entries.clone()

    def rebuilt(self, initial: Tensor, macro_set: MacroSet | None = None) -> Similarity:
        """Hold the given matrix, even if this form has one of its own."""
        return FixedSimilarity(initial)


class ControlSimilarity(FixedSimilarity):
    """A fixed matrix of `initial_similarity`, by the form's name, without its diagonal."""

    takes_start = False
    reaches_identity = False
    matrix: ClassVar[Start]

    @classmethod
    def for_actions(
        cls, initial: Tensor, macro_set: MacroSet | None = None, seed: int | None = None
    ) -> Self:
        """Build the control's matrix; ``initial`` only gives its size."""
        matrix = initial_similarity(cls.matrix, len(initial), macro_set, seed)
        weights = matrix * off_diagonal(matrix)
        return cls(weights / weights.sum(dim=1, keepdim=True))


class KnownSimilarity(Similarity):
    """A control that stores no matrix, however many actions there are."""

    holds_matrix = False
    takes_start = False

    def __init__(self, initial: Tensor) -> None:
        """Take the number of actions; the entries of ``initial`` are ignored."""
        super().__init__(initial)
        self.unit = nn.Parameter(initial.new_ones(()), requires_grad=False)

    def forward(self) -> Tensor:
        """Return Σ, shape ``(actions, actions)``."""
        return self.rows(self.all_actions)

    def start_rows(self, actions: Tensor) -> Tensor:
        """Return some rows of Σ, which does not change."""
        return self.rows(actions)

    def keep_start(self) -> None:
        """Keep nothing, since Σ does not change."""

    def rebuilt(self, initial: Tensor, macro_set: MacroSet | None = None) -> Similarity:
        """Hold the given matrix, even if this form has one of its own."""
        return FixedSimilarity(initial)


class UniformSimilarity(KnownSimilarity):
    """All other actions alike: plain shrinkage of advantages, ``Q − ΣQ = A/(A−1)·(Q − mean Q)``.

    Cost: A operations per row of values; nothing is stored.
    """

    form = "uniform"

    def rows(self, actions: Tensor) -> Tensor:
        """Return rows that are uniform off the diagonal."""
        return (self.all_actions != actions[:, None]) * self.unit / (self.n_actions - 1)

    def mixer(self, features: Tensor | None = None) -> Mixer:
        """Return a mixer that gives each action the mean of the other values."""
        return lambda values: (values.sum(dim=1, keepdim=True) - values) / (self.n_actions - 1)


class OverlapSimilarity(ControlSimilarity):
    """Handcrafted: by the primitives that two actions share in order (`MacroSet.overlap`).

    Cost: as `FixedSimilarity`.
    """

    form = "overlap"
    matrix = "overlap"


class PermutedSimilarity(ControlSimilarity):
    """`OverlapSimilarity` with the actions shuffled: the same numbers for the wrong actions.

    If it does as well as the true overlap, that is due to the penalty as such, not to which actions
    are similar.
    Cost: as `FixedSimilarity`.
    """

    form = "permuted"
    matrix = "permuted"


class IdentitySimilarity(KnownSimilarity):
    """Every action is similar only to itself, so that the penalty is zero.

    Cost: none.
    """

    form = "identity"
    reaches_identity = True

    def rows(self, actions: Tensor) -> Tensor:
        """Return rows of the identity."""
        return (self.all_actions == actions[:, None]) * self.unit

    def mixer(self, features: Tensor | None = None) -> Mixer:
        """Return a mixer that leaves values unchanged."""
        return lambda values: values
