"""Oracles: Σ and Σ(s) computed from true values, which are unknown in practice."""

import torch as th
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import Tensor
from torch.nn import functional as F

from examples.experiments.learners import StepwiseMASPDQN
from examples.experiments.table import Values
from sb3_masp import MASPDQN
from sb3_masp.similarity import FixedSimilarity
from sb3_masp.similarity.matrices import distance_logits
from sb3_masp.similarity_learning.auxiliary import action_distances

TEMPERATURE = 0.1
"""Temperature of the softmax, in units of the mean distance."""


def oracle_similarity(q_values: Values, temperature: float = TEMPERATURE) -> FixedSimilarity:
    """Σ from Q*: the softmax of the negative distances between actions, off the diagonal.

    Args:
        q_values: Q*, shape ``(states, actions)``; states have equal weights.
        temperature: Temperature in units of the mean distance.
    """
    return FixedSimilarity(_weights(th.as_tensor(q_values), temperature))


class StateOracle(FixedSimilarity):
    """Σ(s) from Q*: the softmax of the negative distances between actions in each state.

    Features are one-hot states, as `ReadsStates` provides them.

    Args:
        q_values: Q*, shape ``(states, actions)``.
        temperature: Temperature in units of each state's mean distance.
    """

    reads_features = True

    def __init__(self, q_values: Values, temperature: float = TEMPERATURE) -> None:
        """Compute the matrix of each state; Σ without states is their mean."""
        states = th.as_tensor(q_values).split(1)
        matrices = th.stack([_weights(state, temperature) for state in states])
        super().__init__(matrices.mean(dim=0))
        self.register_buffer("matrices", matrices)

    def at(self, features: Tensor | None = None) -> Tensor:
        """Return each state's Σ, shape ``(batch, actions, actions)``; without features, Σ."""
        return self() if features is None else self.matrices[features.argmax(dim=1)]


def _weights(q_values: Tensor, temperature: float) -> Tensor:
    """Softmax of distances over the given states together, shape ``(actions, actions)``."""
    logits = distance_logits(action_distances(q_values), temperature)
    return logits.fill_diagonal_(float("-inf")).softmax(dim=1).float()


class ReadsStates(MASPDQN):
    """MASPDQN whose Σ(s) receives one-hot states instead of features."""

    @property
    def n_trunk_features(self) -> int:
        """Number of states."""
        return int(self.observation_space.n)  # type: ignore[attr-defined]

    def trunk_features(self, observations: PyTorchObs) -> Tensor:
        """States as one-hot rows, shape ``(batch, states)``."""
        states = observations.long().flatten()  # type: ignore[union-attr]
        return F.one_hot(states, self.n_trunk_features).float()


class StepwiseReadsStates(ReadsStates, StepwiseMASPDQN):
    """`ReadsStates` with settings in primitive steps instead of decisions."""


READING_STATES = {"decision": ReadsStates, "step": StepwiseReadsStates}
"""Learner classes by the unit in which updates are counted."""
