"""SimilarityLearning: what every way to find Σ during a run offers."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from torch import Tensor

from sb3_masp.forward_mode import LinearMaps
from sb3_masp.samples import MacroReplaySamples
from sb3_masp.similarity.base import SimilarityError, register
from sb3_masp.similarity.health import Collapse

if TYPE_CHECKING:
    from sb3_masp.macro_learner import TDLoss
    from sb3_masp.masp import MASP


class InnerStep(NamedTuple):
    """What a step of Σ may need of the network's step before it.

    Args:
        batch: The inner batch.
        targets: What the TD loss drew Q(s, a) towards, expected values without a graph, shape
            ``(batch, 1)``.
        features: What a Σ that reads the state was given, shape ``(batch, features)``; None for
            others.
        before: The parameters before the step, in the order of the network's; empty where the way
            does not need them.
        gradient_norm: Norm of the gradient before clipping, shape ``()``; None without clipping.
        outputs: What the network's linear maps gave before the step, for `network_tangent`; empty
            where the way does not need parameters.
        td_errors: The batch's, as `TDLoss` has them, shape ``(batch,)``.
    """

    batch: MacroReplaySamples
    targets: Tensor
    features: Tensor | None
    before: list[Tensor]
    gradient_norm: Tensor | None
    outputs: list[Tensor]
    td_errors: Tensor


class Evaluation(NamedTuple):
    """What the networks made of a batch.

    Args:
        td: Its TD loss.
        outputs: What the linear maps of the network gave, for `network_tangent`; empty unless they
            were to be noted.
    """

    td: TDLoss
    outputs: list[Tensor]


class SimilarityLearning(ABC):
    """How Σ is found while a learner learns.

    A way is one subclass that names itself in ``way``; from then on the learners know it by that
    name. An object holds settings until a learner copies it and calls `set_up`.
    """

    way: ClassVar[str]
    """Its name."""

    parts: ClassVar[tuple[str, ...]] = ()
    """Attributes with a ``state_dict``, which are saved with the model."""

    keeps_start: ClassVar[bool] = True
    """Whether what it comes to depends on where Σ starts."""

    needs_parameters: ClassVar[bool] = False
    """Whether `step` needs the network's parameters before the inner step."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Make the way known by its name.

        Raises:
            SimilarityError: Another class has this name.
        """
        super().__init_subclass__(**kwargs)
        register(SIMILARITY_LEARNING, cls, "way")

    remedies: ClassVar[Mapping[Collapse, str]] = {}
    """What to change of it when Σ collapses, as a sentence without its full stop."""

    @abstractmethod
    def set_up(self, learner: MASP) -> None:
        """Build what it needs for a learner, whose networks and Σ are there."""

    def inner_batch(self, learner: MASP, size: int) -> MacroReplaySamples:
        """The decisions that the coming inner step learns from."""
        return learner._sample(size)

    def evaluate(self, learner: MASP, inner: MacroReplaySamples, note: bool) -> Evaluation:
        """Evaluate a batch as the network is now, and note what its linear maps give or not."""
        with LinearMaps() if note else nullcontext() as maps:
            td = learner._td_loss(inner)
        return Evaluation(td, [] if maps is None else maps.outputs)

    def is_due(self, learner: MASP) -> bool:
        """Whether the update under way is followed by a `step`."""
        return True

    @abstractmethod
    def step(self, learner: MASP, inner: InnerStep) -> None:
        """Change Σ, or prepare to, after a step of the network, and log what it did."""

    def figures(self) -> dict[str, float]:
        """What it has to tell over many steps, by the log's names; asked for at every log."""
        return {}


SIMILARITY_LEARNING: dict[str, type[SimilarityLearning]] = {}
"""The ways by name."""


def make_similarity_learning(way: str | SimilarityLearning) -> SimilarityLearning:
    """Return a way by its name, or a copy of a given one.

    Raises:
        SimilarityError: There is none of that name.
    """
    if isinstance(way, SimilarityLearning):
        return copy.deepcopy(way)
    if way not in SIMILARITY_LEARNING:
        raise SimilarityError(
            f"similarity_learning is {way!r}; it may be {', '.join(SIMILARITY_LEARNING)}"
        )
    return SIMILARITY_LEARNING[way]()
