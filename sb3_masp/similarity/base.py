"""Similarity: the interface of all forms of Σ."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import torch as th
from torch import Tensor, nn

from macro_gym import MacroSet
from macro_gym.errors import MacroGymError
from sb3_masp.losses import Mixer, matrix_mixer


class SimilarityError(MacroGymError, ValueError):
    """A similarity that does not fit its form, its actions or its file."""


class Similarity(nn.Module, ABC):
    """Σ: how much of each action's value the others should explain.

    Calling it returns the matrix, shape ``(actions, actions)``, differentiable with respect to its
    parameters. A form is a subclass that sets its name in ``form`` and defines `forward`; the
    learners and `load_similarity` then know it by that name.

    Args:
        initial: Initial matrix, shape ``(actions, actions)``.

    Raises:
        SimilarityError: ``initial`` is not a finite square matrix of at least two actions.
    """

    form: ClassVar[str]
    """Name of the form."""

    all_actions: Tensor
    start_matrix: Tensor

    reaches_identity: ClassVar[bool] = False
    """Whether it can come near the identity, at which the penalty vanishes."""

    reads_features: ClassVar[bool] = False
    """Whether it depends on the state; then it also defines `read` and `at`."""

    holds_matrix: ClassVar[bool] = True
    """Whether learning takes A² numbers; if not, it defines `mixer` and `rows` without a matrix."""

    takes_start: ClassVar[bool] = True
    """Whether it uses the initial matrix; controls have their own."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Register the form by its name.

        Raises:
            SimilarityError: Another class has this name.
        """
        super().__init_subclass__(**kwargs)
        register(SIMILARITIES, cls, "form")

    def __init__(self, initial: Tensor) -> None:
        """Check the initial matrix and store the number of actions."""
        super().__init__()
        if initial.ndim != 2 or initial.shape[0] != initial.shape[1] or len(initial) < 2:
            raise SimilarityError(
                f"Σ has shape {tuple(initial.shape)}; it must be (actions, actions) for at least "
                "two actions"
            )
        if not bool(initial.sum().isfinite()):
            raise SimilarityError("Σ must start from finite numbers")
        self.n_actions = len(initial)
        self.register_buffer("all_actions", th.arange(self.n_actions), persistent=False)

    @classmethod
    def for_actions(
        cls, initial: Tensor, macro_set: MacroSet | None = None, seed: int | None = None
    ) -> Self:
        """Build the form for the actions of an environment.

        Args:
            initial: Initial matrix, shape ``(actions, actions)``.
            macro_set: The environment's macros, if it has any.
            seed: Seed of what the form draws.
        """
        return cls(initial)

    @abstractmethod
    def forward(self) -> Tensor:
        """Return Σ, shape ``(actions, actions)``."""

    def read(self, n_features: int) -> None:
        """Set the number of state features that `at` will get; for forms that read them."""

    def at(self, features: Tensor | None = None) -> Tensor:
        """Return Σ in the given states; the same in all, unless a form says otherwise.

        Args:
            features: Inputs of the network's last layers in some states, detached, shape
                ``(batch, features)``; None if the form does not read them.

        Returns:
            Σ, shape ``(actions, actions)``, or one for each state, ``(batch, actions, actions)``.
        """
        similarity: Tensor = self()
        return similarity

    def mixer(self, features: Tensor | None = None) -> Mixer:
        """Return ``x ↦ Σx`` in the given states, which is all that learning needs of Σ.

        Parameters are read once, in this call, with a graph if gradients are enabled in it. Forms
        that do not need the matrix override this.

        Args:
            features: As for `at`.
        """
        return matrix_mixer(self.at(features))

    def mix(self, values: Tensor) -> Tensor:
        """Return ``Σx`` for each row x of ``values``, shape ``(batch, actions)``."""
        return self.mixer()(values)

    @property
    def is_learned(self) -> bool:
        """Whether any parameter is learned."""
        return any(parameter.requires_grad for parameter in self.parameters())

    def settings(self) -> dict[str, Any]:
        """Plain JSON that a file needs besides parameters and buffers to rebuild the form."""
        return {}

    @classmethod
    def restored(cls, similarity: Tensor, settings: dict[str, Any]) -> Self:
        """Build it from a file's Σ and `settings`; parameters and buffers are loaded afterwards."""
        return cls(similarity, **settings)

    def rebuilt(self, initial: Tensor, macro_set: MacroSet | None = None) -> "Similarity":
        """Build the same form with the same settings for other actions.

        Args:
            initial: Initial matrix, shape ``(actions, actions)``.
            macro_set: Macro set of the other actions.
        """
        settings = self.settings()
        if settings:
            return type(self).restored(initial, settings)
        return type(self).for_actions(initial, macro_set)

    def keep_start(self) -> None:
        """Remember the current Σ as the start: after construction, and where a run starts."""
        self.register_buffer("start_matrix", self().detach().clone())

    @property
    def start(self) -> Tensor:
        """The initial Σ, shape ``(actions, actions)``."""
        return self.start_rows(self.all_actions)

    def rows(self, actions: Tensor) -> Tensor:
        """Return some rows of Σ, shape ``(rows, actions)``.

        Args:
            actions: Actions whose rows to return, shape ``(rows,)``.
        """
        similarity: Tensor = self()
        return similarity[actions]

    def start_rows(self, actions: Tensor) -> Tensor:
        """Return some rows of the initial Σ, as `rows` does for the current one."""
        return self.start_matrix[actions]


SIMILARITIES: dict[str, type[Similarity]] = {}
"""The forms by name."""


def register(known: dict[str, type[Any]], cls: type[Any], attribute: str) -> None:
    """Register a class by the name in an attribute of its own, if it has one.

    Raises:
        SimilarityError: Another class has this name.
    """
    if attribute not in cls.__dict__:
        return
    name = cls.__dict__[attribute]
    taken = known.setdefault(name, cls)
    if (taken.__module__, taken.__qualname__) != (cls.__module__, cls.__qualname__):
        raise SimilarityError(
            f"{cls.__qualname__} calls its {attribute} {name!r}, which is the name of "
            f"{taken.__module__}.{taken.__qualname__}; choose another"
        )
    known[name] = cls  # A notebook may redefine its class.


def off_diagonal(matrix: Tensor) -> Tensor:
    """True off the diagonal of a matrix, same shape and device."""
    return ~th.eye(len(matrix), dtype=th.bool, device=matrix.device)
