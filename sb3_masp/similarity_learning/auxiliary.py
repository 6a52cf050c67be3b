"""Σ from the action values of a head that the penalty never touches."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import torch as th
from torch import Tensor, nn

from sb3_masp.losses import td_loss
from sb3_masp.macro_model import require_setting
from sb3_masp.similarity.base import SimilarityError, off_diagonal
from sb3_masp.similarity.health import Collapse
from sb3_masp.similarity.matrices import distance_logits
from sb3_masp.similarity.softmax import SoftmaxSimilarity
from sb3_masp.similarity_learning.base import InnerStep, SimilarityLearning

if TYPE_CHECKING:
    from sb3_masp.masp import MASP


class AuxiliaryHead(SimilarityLearning):
    """Σ from a linear head on the network's features: actions of close values are similar.

    The head learns by TD on the network's own targets, without the penalty and without moving the
    features. Distances of the penalised values would reinforce themselves: what counts as similar
    is made similar. Every ``interval`` updates, the squared distances of the head's values over
    replayed states enter a running average D, and Σ becomes the softmax of
    ``(−D/mean(D) + prior·overlap)/temperature`` off the diagonal.

    Args:
        prior: Weight of `MacroSet.overlap` in the logits; 0.5 is a good value. Above 0, the
            environment must have macros.
        interval: Updates between two updates of Σ.
        states: Number of replayed states for each.
        rate: Weight of the newest distances in the average.
        temperature: Temperature of the softmax, in units of the mean distance.
        learning_rate: Learning rate of the head's Adam.

    Raises:
        LearnerSettingError: A setting is out of range.
    """

    way = "auxiliary"
    parts = ("head", "optimizer")
    keeps_start = False
    remedies: ClassVar[Mapping[Collapse, str]] = {
        "uniform": "Lower the temperature of AuxiliaryHead, or raise its prior"
    }

    head: ActionValues
    optimizer: th.optim.Adam
    prior_logits: Tensor

    def __init__(
        self,
        prior: float = 0.0,
        interval: int = 20,
        states: int = 128,
        rate: float = 0.1,
        temperature: float = 0.1,
        learning_rate: float = 1e-3,
    ) -> None:
        """Check and store the settings."""
        require_setting("prior", prior, 0 <= prior < math.inf, "at least 0, and finite")
        for name, number in (("interval", interval), ("states", states)):
            whole = isinstance(number, int) and number >= 1
            require_setting(name, number, whole, "1, 2, 3, ...")
        require_setting("rate", rate, 0 < rate <= 1, "above 0, and at most 1")
        for name, value in (("temperature", temperature), ("learning_rate", learning_rate)):
            require_setting(name, value, 0 < value < math.inf, "above 0, and finite")
        self.prior, self.interval, self.states = prior, interval, states
        self.rate, self.temperature, self.learning_rate = rate, temperature, learning_rate

    def __repr__(self) -> str:
        """The call that creates it."""
        names = ("prior", "interval", "states", "rate", "temperature", "learning_rate")
        return f"AuxiliaryHead({', '.join(f'{name}={getattr(self, name)}' for name in names)})"

    def set_up(self, learner: MASP) -> None:
        """Build the head and the prior.

        Raises:
            SimilarityError: Σ is not of the ``"softmax"`` form, or there are no macros to
                compare.
        """
        similarity = learner.similarity
        if type(similarity) is not SoftmaxSimilarity:
            raise SimilarityError(
                f"the auxiliary head writes the rows of a 'softmax' similarity, but similarity is "
                f"of the form {similarity.form!r}; leave it out, or say similarity_learning='meta'"
            )
        shape = learner.n_trunk_features, similarity.n_actions
        self.head = ActionValues(*shape).to(learner.device)
        self.optimizer = th.optim.Adam(self.head.parameters(), lr=self.learning_rate)
        self.prior_logits = self._overlap(learner) * (self.prior / self.temperature)

    def step(self, learner: MASP, inner: InnerStep) -> None:
        """Take a step of the head, and update Σ from its values if due."""
        batch = inner.batch
        q_values = self.head(learner.trunk_features(batch.observations))
        loss = td_loss(
            q_values.gather(1, batch.actions.long()),
            inner.targets,
            batch.weights if learner.prioritized_replay else None,
        )
        self.optimizer.zero_grad()
        th.autograd.backward(loss)
        self.optimizer.step()
        learner._run.note("auxiliary/loss", loss)
        if (learner._n_updates + 1) % self.interval == 0:
            self._look(learner)

    @th.no_grad()
    def _look(self, learner: MASP) -> None:
        """Update the average distances over replayed states, and Σ from them."""
        observations = learner._sample(self.states).observations
        q_values = self.head(learner.trunk_features(observations))
        distances = self.head.distances.lerp_(action_distances(q_values), self.rate)
        logits = distance_logits(distances, self.temperature) + self.prior_logits
        learner.similarity.get_parameter("logits").copy_(logits)

    def _overlap(self, learner: MASP) -> Tensor:
        """Handcrafted overlap of the actions, shape ``(actions, actions)``; zero if unused."""
        if not self.prior:
            return th.zeros((), device=learner.device)
        if learner.macro_set is None:
            raise SimilarityError(
                f"prior={self.prior} compares macros by their primitives, but the environment "
                "has no macro_set; use a MacroALE environment or MacroAction"
            )
        overlap = learner.macro_set.overlap()
        return th.as_tensor(overlap, dtype=th.float32, device=learner.device)


class ActionValues(nn.Linear):
    """Action values that are linear in features, with a running average of their distances.

    Args:
        n_features: Number of features of a state.
        n_actions: A, the number of actions.
    """

    distances: Tensor

    def __init__(self, n_features: int, n_actions: int) -> None:
        """Start at zero, so that unknown actions are alike."""
        super().__init__(n_features, n_actions)
        self.register_buffer("distances", th.zeros(n_actions, n_actions))

    def reset_parameters(self) -> None:
        """Set all parameters to zero, without drawing random numbers."""
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)


def action_distances(q_values: Tensor) -> Tensor:
    """Squared distances of the actions' values, ``mean_s (Q(s, i) − Q(s, j))²``.

    Args:
        q_values: Shape ``(batch, actions)``.

    Returns:
        Distances, shape ``(actions, actions)``, symmetric with a zero diagonal.
    """
    # Centring changes no difference, and keeps the products below small in comparison.
    centred = q_values - q_values.mean(dim=1, keepdim=True)
    products = centred.mT @ centred / len(centred)
    squares = products.diagonal()
    distances = (squares[:, None] + squares - 2 * products).clamp(min=0)
    return distances * off_diagonal(distances)
