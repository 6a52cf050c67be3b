"""Forms of Σ, one per file; what they start from, their diagnostics, and how they are stored."""

from sb3_masp.similarity.base import SIMILARITIES, Similarity, SimilarityError
from sb3_masp.similarity.factored import FactoredSimilarity, Factors
from sb3_masp.similarity.files import SimilarityAbout, load_similarity, save_similarity
from sb3_masp.similarity.fixed import (
    FixedSimilarity,
    IdentitySimilarity,
    OverlapSimilarity,
    PermutedSimilarity,
    UniformSimilarity,
)
from sb3_masp.similarity.forms import make_similarity
from sb3_masp.similarity.group_kernel import GroupKernelSimilarity
from sb3_masp.similarity.initial import initial_similarity
from sb3_masp.similarity.kernel import KernelSimilarity
from sb3_masp.similarity.low_rank import LowRankSimilarity
from sb3_masp.similarity.outcomes import outcome_similarity
from sb3_masp.similarity.sigmoid import SigmoidSimilarity
from sb3_masp.similarity.softmax import DiagonalSoftmaxSimilarity, SoftmaxSimilarity
from sb3_masp.similarity.state import StateSimilarity
from sb3_masp.similarity.transfer import Transfer, transferred_similarity
from sb3_masp.similarity.unconstrained import UnconstrainedSimilarity

__all__ = [
    "SIMILARITIES",
    "DiagonalSoftmaxSimilarity",
    "FactoredSimilarity",
    "Factors",
    "FixedSimilarity",
    "GroupKernelSimilarity",
    "IdentitySimilarity",
    "KernelSimilarity",
    "LowRankSimilarity",
    "OverlapSimilarity",
    "PermutedSimilarity",
    "SigmoidSimilarity",
    "Similarity",
    "SimilarityAbout",
    "SimilarityError",
    "SoftmaxSimilarity",
    "StateSimilarity",
    "Transfer",
    "UnconstrainedSimilarity",
    "UniformSimilarity",
    "initial_similarity",
    "load_similarity",
    "make_similarity",
    "outcome_similarity",
    "save_similarity",
    "transferred_similarity",
]
