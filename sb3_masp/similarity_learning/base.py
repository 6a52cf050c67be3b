"""SimilarityLearning: the interface of all ways of learning Σ during a run."""

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
    """The network's inner step, as far as a step of Σ may need it.

    Args:
        batch: The inner batch.
        targets: Expected TD targets of Q(s, a), detached, shape ``(batch, 1)``.
        features: Features that a state-dependent Σ was given, shape ``(batch, features)``; None for
            others.
        before: Parameters before the step, in the network's order; empty if the way does not need
            them.
        gradient_norm: Norm of the gradient before clipping, shape ``()``; None without clipping.
        outputs: Outputs of the network's linear maps before the step, for `network_tangent`; empty
            if the way does not need parameters.
        td_errors: TD errors of the batch, as in `TDLoss`, shape ``(batch,)``.
    """

    batch: MacroReplaySamples
    targets: Tensor
    features: Tensor | None
    before: list[Tensor]
    gradient_norm: Tensor | None
    outputs: list[Tensor]
    td_errors: Tensor


class Evaluation(NamedTuple):
    """A batch as evaluated by the networks.

    Args:
        td: Its TD loss.
        outputs: Outputs of the network's linear maps, for `network_tangent`; empty unless they
            were to be recorded.
    """

    td: TDLoss
    outputs: list[Tensor]


class SimilarityLearning(ABC):
    """A way of learning Σ along with a learner.

    A way is a subclass that sets its name in ``way``; the learners then know it by that name. An
    object only holds settings until a learner copies it and calls `set_up`.
    """

    way: ClassVar[str]
    """Name of the way."""

    parts: ClassVar[tuple[str, ...]] = ()
    """Attributes with a ``state_dict``, which are saved with the model."""

    keeps_start: ClassVar[bool] = True
    """Whether its result depends on the initial Σ."""

    needs_parameters: ClassVar[bool] = False
    """Whether `step` needs the network's parameters before the inner step."""

    needs_indices: ClassVar[bool] = False
    """Whether it needs batches that say which decisions they contain."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Register the way by its name.

        Raises:
            SimilarityError: Another class has this name.
        """
        super().__init_subclass__(**kwargs)
        register(SIMILARITY_LEARNING, cls, "way")

    remedies: ClassVar[Mapping[Collapse, str]] = {}
    """What to change if Σ collapses, as a sentence without its full stop."""

    @abstractmethod
    def set_up(self, learner: MASP) -> None:
        """Build what it needs for a learner whose networks and Σ exist."""

    def require_support(self, learner: MASP) -> None:  # noqa: B027  # most support all learners
        """Reject a learner in which it cannot learn Σ; only called if it may have to."""

    def inner_batch(self, learner: MASP, size: int) -> MacroReplaySamples:
        """Return the batch of the coming inner step."""
        return learner._sample(size)

    def evaluate(self, learner: MASP, inner: MacroReplaySamples, note: bool) -> Evaluation:
        """Evaluate a batch with the current network, and record its linear maps if ``note``."""
        with LinearMaps() if note else nullcontext() as maps:
            td = learner._td_loss(inner)
        return Evaluation(td, [] if maps is None else maps.outputs)

    def is_due(self, learner: MASP) -> bool:
        """Whether `step` is to follow the current update."""
        return True

    @abstractmethod
    def step(self, learner: MASP, inner: InnerStep) -> None:
        """Update Σ, or prepare to, after a step of the network; and log figures."""

    def figures(self) -> dict[str, float]:
        """Figures over many steps, by their names in the log; called whenever it is written."""
        return {}


SIMILARITY_LEARNING: dict[str, type[SimilarityLearning]] = {}
"""Ways by name."""


def make_similarity_learning(way: str | SimilarityLearning) -> SimilarityLearning:
    """Return a way by its name, or a copy of a given one.

    Raises:
        SimilarityError: The name is unknown.
    """
    if isinstance(way, SimilarityLearning):
        return copy.deepcopy(way)
    if way not in SIMILARITY_LEARNING:
        raise SimilarityError(
            f"similarity_learning is {way!r}; it may be {', '.join(SIMILARITY_LEARNING)}"
        )
    return SIMILARITY_LEARNING[way]()
