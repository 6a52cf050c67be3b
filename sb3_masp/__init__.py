"""Stable-Baselines3 learners that share credit among similar actions."""

from sb3_masp.buffers import MacroReplayBuffer
from sb3_masp.device_replay import DeviceReplayBuffer
from sb3_masp.dqn import MASPDQN
from sb3_masp.qrdqn import MASPQRDQN
from sb3_masp.rainbow import MASPRainbow, Rainbow
from sb3_masp.similarity import (
    DiagonalSoftmaxSimilarity,
    FixedSimilarity,
    KernelSimilarity,
    LowRankSimilarity,
    SigmoidSimilarity,
    Similarity,
    SoftmaxSimilarity,
    StateSimilarity,
    UnconstrainedSimilarity,
    load_similarity,
    save_similarity,
)
from sb3_masp.similarity_learning import AuxiliaryHead, MetaLearning, SimilarityLearning

__all__ = [
    "MASPDQN",
    "MASPQRDQN",
    "AuxiliaryHead",
    "DeviceReplayBuffer",
    "DiagonalSoftmaxSimilarity",
    "FixedSimilarity",
    "KernelSimilarity",
    "LowRankSimilarity",
    "MASPRainbow",
    "MacroReplayBuffer",
    "MetaLearning",
    "Rainbow",
    "SigmoidSimilarity",
    "Similarity",
    "SimilarityLearning",
    "SoftmaxSimilarity",
    "StateSimilarity",
    "UnconstrainedSimilarity",
    "load_similarity",
    "save_similarity",
]
