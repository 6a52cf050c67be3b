"""Fixed Σ: the controls that a learned one is compared with, and any matrix of one's own."""

from typing import ClassVar, Self

import torch as th
from numpy.typing import ArrayLike
from torch import Tensor, nn

from macro_gym import MacroSet
from sb3_masp.losses import Mixer
from sb3_masp.similarity.base import Similarity, off_diagonal
from sb3_masp.similarity.initial import Start, initial_similarity


class FixedSimilarity(Similarity):
    """Any matrix, which stays as it is.

    Cost: no parameter to learn; A² numbers and nothing to compute for Σ.

    Args:
        initial: The matrix, shape ``(actions, actions)``: a tensor, or anything of numbers that
            is made one of torch's default type.
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
        """Hold another matrix, whatever this form's own would be."""
        return FixedSimilarity(initial)


class ControlSimilarity(FixedSimilarity):
    """A fixed matrix that `initial_similarity` knows by the form's name, without the diagonal."""

    takes_start = False
    reaches_identity = False
    matrix: ClassVar[Start]

    @classmethod
    def for_actions(
        cls, initial: Tensor, macro_set: MacroSet | None = None, seed: int | None = None
    ) -> Self:
        """Build the control's matrix; ``initial`` tells its size alone."""
        matrix = initial_similarity(cls.matrix, len(initial), macro_set, seed)
        weights = matrix * off_diagonal(matrix)
        return cls(weights / weights.sum(dim=1, keepdim=True))


class KnownSimilarity(Similarity):
    """A control that nothing needs to be kept of, however many actions there are."""

    holds_matrix = False
    takes_start = False

    def __init__(self, initial: Tensor) -> None:
        """Take the number of actions; ``initial`` tells nothing else."""
        super().__init__(initial)
        self.unit = nn.Parameter(initial.new_ones(()), requires_grad=False)

    def forward(self) -> Tensor:
        """Return Σ, shape ``(actions, actions)``."""
        return self.rows(self.all_actions)

    def start_rows(self, actions: Tensor) -> Tensor:
        """Return some rows of Σ, which is as it was."""
        return self.rows(actions)

    def keep_start(self) -> None:
        """Keep nothing: Σ stays as it is."""

    def rebuilt(self, initial: Tensor, macro_set: MacroSet | None = None) -> Similarity:
        """Hold another matrix, whatever this form's own would be."""
        return FixedSimilarity(initial)


class UniformSimilarity(KnownSimilarity):
    """All other actions alike: plain shrinkage of advantages, ``Q − ΣQ = A/(A−1)·(Q − mean Q)``.

    Cost: A operations a row of values; nothing is kept.
    """

    form = "uniform"

    def rows(self, actions: Tensor) -> Tensor:
        """Return rows that are the same everywhere off the diagonal."""
        return (self.all_actions != actions[:, None]) * self.unit / (self.n_actions - 1)

    def mixer(self, features: Tensor | None = None) -> Mixer:
        """Return what gives each action the mean of the other values."""
        return lambda values: (values.sum(dim=1, keepdim=True) - values) / (self.n_actions - 1)


class OverlapSimilarity(ControlSimilarity):
    """Handcrafted: by the primitives that two actions share in order (`MacroSet.overlap`).

    Cost: as `FixedSimilarity`.
    """

    form = "overlap"
    matrix = "overlap"


class PermutedSimilarity(ControlSimilarity):
    """`OverlapSimilarity` with the actions shuffled: the same numbers, of the wrong actions.

    What it does as well as the true one is owed to penalising, not to which actions are similar.
    Cost: as `FixedSimilarity`.
    """

    form = "permuted"
    matrix = "permuted"


class IdentitySimilarity(KnownSimilarity):
    """Every action similar to itself alone, at which the penalty is zero.

    Cost: none.
    """

    form = "identity"
    reaches_identity = True

    def rows(self, actions: Tensor) -> Tensor:
        """Return rows of the identity."""
        return (self.all_actions == actions[:, None]) * self.unit

    def mixer(self, features: Tensor | None = None) -> Mixer:
        """Return what leaves values as they are."""
        return lambda values: values
