"""Similarity: what every form of Σ offers."""

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

    Calling it gives the matrix, shape ``(actions, actions)``, differentiable with respect to its
    parameters. A form is one subclass that names itself in ``form`` and defines `forward`; from
    then on it is known by that name to the learners and to `load_similarity`.

    Args:
        initial: The matrix to start from, shape ``(actions, actions)``.

    Raises:
        SimilarityError: ``initial`` is not a finite square matrix of at least two actions.
    """

    form: ClassVar[str]
    """Its name."""

    all_actions: Tensor
    start_matrix: Tensor

    reaches_identity: ClassVar[bool] = False
    """Whether it can come near identity, at which the penalty vanishes."""

    reads_features: ClassVar[bool] = False
    """Whether it is another matrix in each state; then it also defines `read` and `at`."""

    holds_matrix: ClassVar[bool] = True
    """Whether learning with it takes A² numbers; if not, it defines `mixer` and `rows` without."""

    takes_start: ClassVar[bool] = True
    """Whether it starts where it is told to; controls know their own matrix."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Make the form known by its name.

        Raises:
            SimilarityError: Another class has this name.
        """
        super().__init_subclass__(**kwargs)
        register(SIMILARITIES, cls, "form")

    def __init__(self, initial: Tensor) -> None:
        """Check the start and keep it, to tell later how far Σ has moved."""
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
            initial: The matrix to start from, shape ``(actions, actions)``.
            macro_set: What the actions are, if the environment has macros.
            seed: Of what the form draws.
        """
        return cls(initial)

    @abstractmethod
    def forward(self) -> Tensor:
        """Return Σ, shape ``(actions, actions)``."""

    def read(self, n_features: int) -> None:
        """Learn how many features of a state `at` will get; for forms that read them."""

    def at(self, features: Tensor | None = None) -> Tensor:
        """Return Σ where the agent is; the same everywhere, unless a form says otherwise.

        Args:
            features: What the network's last layers are given in some states, without a graph,
                shape ``(batch, features)``; None if the form does not read them.

        Returns:
            Σ, shape ``(actions, actions)``, or one for each state, ``(batch, actions, actions)``.
        """
        similarity: Tensor = self()
        return similarity

    def mixer(self, features: Tensor | None = None) -> Mixer:
        """Return ``x ↦ Σx`` where the agent is, which is all that learning needs of Σ.

        What it takes of the parameters it takes here, once, with a graph if gradients are enabled
        here. Forms that can do it without the matrix do.

        Args:
            features: As for `at`.
        """
        return matrix_mixer(self.at(features))

    def mix(self, values: Tensor) -> Tensor:
        """Return ``Σx`` for each row x of ``values``, shape ``(batch, actions)``."""
        return self.mixer()(values)

    @property
    def is_learned(self) -> bool:
        """Whether there is anything to learn."""
        return any(parameter.requires_grad for parameter in self.parameters())

    def settings(self) -> dict[str, Any]:
        """What a file keeps beside parameters and buffers to build it again: plain JSON."""
        return {}

    @classmethod
    def restored(cls, similarity: Tensor, settings: dict[str, Any]) -> Self:
        """Build it from a file's Σ and `settings`; parameters and buffers are loaded after."""
        return cls(similarity, **settings)

    def rebuilt(self, initial: Tensor, macro_set: MacroSet | None = None) -> "Similarity":
        """Build the same form with the same settings on a matrix over other actions.

        Args:
            initial: The matrix to start from, shape ``(actions, actions)``.
            macro_set: What the other actions are.
        """
        settings = self.settings()
        if settings:
            return type(self).restored(initial, settings)
        return type(self).for_actions(initial, macro_set)

    def keep_start(self) -> None:
        """Remember Σ as it is now: at the end of the construction, and where a run starts."""
        self.register_buffer("start_matrix", self().detach().clone())

    @property
    def start(self) -> Tensor:
        """Σ as it was at first, shape ``(actions, actions)``."""
        return self.start_rows(self.all_actions)

    def rows(self, actions: Tensor) -> Tensor:
        """Return some rows of Σ, shape ``(rows, actions)``.

        Args:
            actions: Those whose rows are wanted, shape ``(rows,)``.
        """
        similarity: Tensor = self()
        return similarity[actions]

    def start_rows(self, actions: Tensor) -> Tensor:
        """Return some rows of Σ as it was at first, as `rows` does those of now."""
        return self.start_matrix[actions]


SIMILARITIES: dict[str, type[Similarity]] = {}
"""The forms by name."""


def register(known: dict[str, type[Any]], cls: type[Any], attribute: str) -> None:
    """Make a class known by the name that it gives itself in an attribute, if it does.

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
    known[name] = cls  # A notebook may define its class again.


def off_diagonal(matrix: Tensor) -> Tensor:
    """True off the diagonal of a matrix, same shape and device."""
    return ~th.eye(len(matrix), dtype=th.bool, device=matrix.device)
