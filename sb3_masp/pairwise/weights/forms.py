"""Pairwise weights by name."""

import copy
from collections.abc import Callable
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
"""Bounds of the initial λ(s): one that is 0 or 1 could not move."""

WEIGHTS: tuple[WeightsName, ...] = get_args(WeightsName)


def initial_weights(
    form: WeightsName | CreditWeights | None,
    observation_space: spaces.Space[Any],
    features: Callable[[], StateFeatures],
    gamma: float,
    gae_lambda: float,
) -> CreditWeights:
    """A learner's initial weights: copies of those given, or new ones from `make_weights`.

    Args:
        form: Weights or their name; None chooses table or embedding by the observation space.
        observation_space: As for `make_weights`.
        features: Builds state features; not called if weights are given.
        gamma: As for `make_weights`.
        gae_lambda: As for `make_weights`.

    Raises:
        LearnerSettingError: The weights cannot read these observations.
    """
    if isinstance(form, CreditWeights):
        form.require_states(observation_space)
        return copy.deepcopy(form)
    if form is None:
        form = "table" if isinstance(observation_space, spaces.Discrete) else "embedding"
    return make_weights(form, observation_space, features(), gamma, gae_lambda)


def make_weights(
    name: WeightsName,
    observation_space: spaces.Space[Any],
    features: StateFeatures,
    gamma: float,
    gae_lambda: float,
) -> CreditWeights:
    """Build weights by name.

    Args:
        name: One of `WEIGHTS`.
        observation_space: Space of the observations; Discrete for a table.
        features: State features, for forms that read them.
        gamma: γ, per primitive step.
        gae_lambda: λ of ``"geometric"``, and initial λ of ``"state_lambda"``.

    Raises:
        LearnerSettingError: There is no such form, or it cannot read these observations.
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
