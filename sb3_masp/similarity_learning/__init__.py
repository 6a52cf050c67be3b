"""Ways of learning Σ during a run, one per file."""

from sb3_masp.similarity_learning.auxiliary import AuxiliaryHead
from sb3_masp.similarity_learning.base import (
    SIMILARITY_LEARNING,
    Evaluation,
    InnerStep,
    SimilarityLearning,
    make_similarity_learning,
)
from sb3_masp.similarity_learning.meta import MetaLearning
from sb3_masp.similarity_learning.shared import SharedMetaLearning

__all__ = [
    "SIMILARITY_LEARNING",
    "AuxiliaryHead",
    "Evaluation",
    "InnerStep",
    "MetaLearning",
    "SharedMetaLearning",
    "SimilarityLearning",
    "make_similarity_learning",
]
