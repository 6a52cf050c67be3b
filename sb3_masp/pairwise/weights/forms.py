"""What the names of weights stand for."""

from typing import Any, Literal, get_args

from gymnasium import spaces

from macro_gym.errors import LearnerSettingError
from sb3_masp.pairwise.weights.base import CreditWeights
from sb3_masp.pairwise.weights.decay import GeometricWeights, StateLambdaWeights
from sb3_masp.pairwise.weights.embedding import EmbeddingWeights
from sb3_masp.pairwise.weights.features import StateFeatures
from sb3_masp.pairwise.weights.sequence import SequenceWeights
from sb3_masp.pairwise.weights.table import TableWeights

WeightsName = Literal["table", "embedding", "geometric", "state_lambda", "sequence"]

STARTS = 0.01, 0.99
"""λ(s) begins within these: one that is 0 or 1 could not be moved."""

WEIGHTS: tuple[WeightsName, ...] = get_args(WeightsName)


def make_weights(
    name: WeightsName,
    observation_space: spaces.Space[Any],
    features: StateFeatures,
    gamma: float,
    gae_lambda: float,
) -> CreditWeights:
    """Weights as they begin.

    Args:
        name: One of `WEIGHTS`.
        observation_space: Of the environment; Discrete for a table.
        features: What reads a state, if anything does.
        gamma: γ, of one step.
        gae_lambda: λ, where weights begin or stay at one.

    Raises:
        LearnerSettingError: There is no such form, or not for these observations.
    """
    if name == "table":
        if not isinstance(observation_space, spaces.Discrete):
            raise LearnerSettingError(
                f"weights='table' is for numbered states (Discrete), but observations are of "
                f"{observation_space}; use weights='embedding'"
            )
        return TableWeights(int(observation_space.n))
    if name == "embedding":
        return EmbeddingWeights(features)
    if name == "geometric":
        return GeometricWeights(gamma * gae_lambda)
    if name == "state_lambda":
        return StateLambdaWeights(features, gamma, min(max(gae_lambda, STARTS[0]), STARTS[1]))
    if name == "sequence":
        return SequenceWeights(features)
    raise LearnerSettingError(f"weights is {name!r}; it must be one of {', '.join(WEIGHTS)}")
