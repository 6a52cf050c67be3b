"""Σ from features of macros: what is learned on some macros applies to others too."""

from abc import abstractmethod
from typing import Any, Self

from torch import Tensor

from macro_gym import MacroSet
from sb3_masp.similarity.base import Similarity, SimilarityError
from sb3_masp.similarity.features import macro_features, primitive_columns


class DescribedSimilarity(Similarity):
    """Σ as a learned function of the features of the actions' primitives.

    A form is a subclass that defines `carried_to`.

    Args:
        initial: Initial matrix, shape ``(actions, actions)``.
        macro_set: The environment's macros.
        entropy_floor: Least entropy of each row as a share of a uniform row's, in (0, 1): at h, an
            action effectively has at least ``(A−1)^h`` neighbours.

    Raises:
        SimilarityError: ``entropy_floor`` is out of range, or the macro set has another number of
            actions.
    """

    features: Tensor

    def __init__(self, initial: Tensor, macro_set: MacroSet, entropy_floor: float = 0.2) -> None:
        """Encode the macros."""
        super().__init__(initial)
        if macro_set.n_actions != self.n_actions:
            raise SimilarityError(
                f"Σ is over {self.n_actions} actions, but the macro set has {macro_set.n_actions}"
            )
        if not 0 < entropy_floor < 1:
            raise SimilarityError(f"entropy_floor is {entropy_floor}; it must be within (0, 1)")
        self.macro_set, self.entropy_floor = macro_set, entropy_floor
        features = macro_features(macro_set).to(initial)
        self.register_buffer("features", features, persistent=False)

    @classmethod
    def for_actions(
        cls, initial: Tensor, macro_set: MacroSet | None = None, seed: int | None = None
    ) -> Self:
        """Build it for the macros of an environment.

        Raises:
            SimilarityError: The environment has none.
        """
        if macro_set is None:
            raise SimilarityError(
                f"similarity={cls.form!r} compares macros by their primitives, but the environment "
                "has no macro_set; use a MacroALE environment or MacroAction"
            )
        return cls(initial, macro_set)

    @abstractmethod
    def carried_to(self, macro_set: MacroSet) -> Self:
        """Return what was learned, applied to other macros, with primitives matched by name.

        Args:
            macro_set: Other macros, over some or all of the same primitives in any order.

        Raises:
            SimilarityError: It has primitives about which nothing was learned.
        """

    def settings(self) -> dict[str, Any]:
        """The macros and the entropy floor; a file's parameters need no fit."""
        macros = {"primitives": self.macro_set.primitives, "macros": self.macro_set.macros}
        return {"macro_set": macros, "entropy_floor": self.entropy_floor, "fit_steps": 0}

    @classmethod
    def restored(cls, similarity: Tensor, settings: dict[str, Any]) -> Self:
        """Build it from a file's Σ and `settings`."""
        return cls(similarity, **settings | {"macro_set": MacroSet(**settings["macro_set"])})

    def rebuilt(self, initial: Tensor, macro_set: MacroSet | None = None) -> Similarity:
        """Fit the same form with the same settings to another matrix.

        Raises:
            SimilarityError: ``macro_set`` is None.
        """
        if macro_set is None:
            return type(self).for_actions(initial)
        settings = self.settings() | {"macro_set": macro_set}
        del settings["fit_steps"]
        return type(self)(initial, **settings)

    def _columns_of(self, macro_set: MacroSet) -> Tensor:
        """Columns of our features that correspond to those of other macros, in their order.

        Raises:
            SimilarityError: They have primitives that ours lack.
        """
        known = self.macro_set.primitives
        unknown = [name for name in macro_set.primitives if name not in known]
        if unknown:
            raise SimilarityError(
                f"the kernel was learned on {', '.join(known)} and knows nothing of "
                f"{', '.join(unknown)}"
            )
        positions = [known.index(name) for name in macro_set.primitives]
        return primitive_columns(positions, len(known)).to(self.features.device)
