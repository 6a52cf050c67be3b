"""Pairwise weights, one form per file, and their names."""

from sb3_masp.pairwise.weights.base import CreditWeights, weighted_sum
from sb3_masp.pairwise.weights.decay import GeometricWeights, StateLambdaWeights
from sb3_masp.pairwise.weights.embedding import EmbeddingWeights
from sb3_masp.pairwise.weights.features import StateFeatures
from sb3_masp.pairwise.weights.forms import WEIGHTS, WeightsName, initial_weights, make_weights
from sb3_masp.pairwise.weights.sequence import SequenceWeights
from sb3_masp.pairwise.weights.table import ClockWeights, FixedTableWeights, TableWeights

__all__ = [
    "WEIGHTS",
    "ClockWeights",
    "CreditWeights",
    "EmbeddingWeights",
    "FixedTableWeights",
    "GeometricWeights",
    "SequenceWeights",
    "StateFeatures",
    "StateLambdaWeights",
    "TableWeights",
    "WeightsName",
    "initial_weights",
    "make_weights",
    "weighted_sum",
]
