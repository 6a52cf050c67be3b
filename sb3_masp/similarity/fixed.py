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


class UniformSimilarity(ControlSimilarity):
    """All other actions alike: plain shrinkage of advantages, ``Q − ΣQ = A/(A−1)·(Q − mean Q)``.

    Cost: as `FixedSimilarity`; `mix` takes A operations a row.
    """

    form = "uniform"
    matrix = "uniform"

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


class IdentitySimilarity(FixedSimilarity):
    """Every action similar to itself alone, at which the penalty is zero.

    Cost: as `FixedSimilarity`; `mix` is free.
    """

    form = "identity"
    takes_start = False

    @classmethod
    def for_actions(
        cls, initial: Tensor, macro_set: MacroSet | None = None, seed: int | None = None
    ) -> Self:
        """Build identity; ``initial`` tells its size alone."""
        return cls(th.eye(len(initial)))

    def mixer(self, features: Tensor | None = None) -> Mixer:
        """Return what leaves values as they are."""
        return lambda values: values
