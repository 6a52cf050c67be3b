"""Credit across time: weights of pairs of states, meta-learned (arXiv 2102.04999)."""

from sb3_masp.pairwise import problems
from sb3_masp.pairwise.pairwise_a2c import PairwiseA2C
from sb3_masp.pairwise.rollout import DictTrajectoryBuffer, TrajectoryBuffer
from sb3_masp.pairwise.trajectory import Trajectory
from sb3_masp.pairwise.weight_files import WeightsFileError, load_weights, save_weights
from sb3_masp.pairwise.weights import (
    ClockWeights,
    CreditWeights,
    EmbeddingWeights,
    FixedTableWeights,
    GeometricWeights,
    SequenceWeights,
    StateFeatures,
    StateLambdaWeights,
    TableWeights,
)

__all__ = [
    "ClockWeights",
    "CreditWeights",
    "DictTrajectoryBuffer",
    "EmbeddingWeights",
    "FixedTableWeights",
    "GeometricWeights",
    "PairwiseA2C",
    "SequenceWeights",
    "StateFeatures",
    "StateLambdaWeights",
    "TableWeights",
    "Trajectory",
    "TrajectoryBuffer",
    "WeightsFileError",
    "load_weights",
    "problems",
    "save_weights",
]
