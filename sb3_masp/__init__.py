"""Stable-Baselines3 learners that share credit among similar actions, and across time."""

from sb3_masp.buffers import MacroReplayBuffer
from sb3_masp.device_replay import DeviceReplayBuffer
from sb3_masp.dqn import MASPDQN
from sb3_masp.make_vec import make_macro_vec_env
from sb3_masp.pairwise import PairwiseA2C
from sb3_masp.qrdqn import MASPQRDQN
from sb3_masp.rainbow import MASPRainbow, Rainbow
from sb3_masp.similarity import (
    DiagonalSoftmaxSimilarity,
    FixedSimilarity,
    GroupKernelSimilarity,
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
from sb3_masp.vec_env import GymnasiumVecEnv

__all__ = [
    "MASPDQN",
    "MASPQRDQN",
    "AuxiliaryHead",
    "DeviceReplayBuffer",
    "DiagonalSoftmaxSimilarity",
    "FixedSimilarity",
    "GroupKernelSimilarity",
    "GymnasiumVecEnv",
    "KernelSimilarity",
    "LowRankSimilarity",
    "MASPRainbow",
    "MacroReplayBuffer",
    "MetaLearning",
    "PairwiseA2C",
    "Rainbow",
    "SigmoidSimilarity",
    "Similarity",
    "SimilarityLearning",
    "SoftmaxSimilarity",
    "StateSimilarity",
    "UnconstrainedSimilarity",
    "load_similarity",
    "make_macro_vec_env",
    "save_similarity",
]
