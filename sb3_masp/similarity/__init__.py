"""Σ, one form a file; what it starts from, how it fares, and how it is stored."""

from sb3_masp.similarity.base import Similarity, SimilarityError
from sb3_masp.similarity.files import SimilarityAbout, load_similarity, save_similarity
from sb3_masp.similarity.forms import SIMILARITIES
from sb3_masp.similarity.initial import initial_similarity
from sb3_masp.similarity.sigmoid import SigmoidSimilarity
from sb3_masp.similarity.softmax import DiagonalSoftmaxSimilarity, SoftmaxSimilarity
from sb3_masp.similarity.unconstrained import UnconstrainedSimilarity

__all__ = [
    "SIMILARITIES",
    "DiagonalSoftmaxSimilarity",
    "SigmoidSimilarity",
    "Similarity",
    "SimilarityAbout",
    "SimilarityError",
    "SoftmaxSimilarity",
    "UnconstrainedSimilarity",
    "initial_similarity",
    "load_similarity",
    "save_similarity",
]
