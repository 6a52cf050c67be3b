"""Methods of mining macros from play: pure functions from demonstrations to a `MacroSet`."""

from macro_gym.extraction.byte_pairs import mine_byte_pairs
from macro_gym.extraction.compression import compress, mine_compressing
from macro_gym.extraction.coverage import Coverage, play_coverage
from macro_gym.extraction.effects import emulated_effect
from macro_gym.extraction.grammar import mine_grammar
from macro_gym.extraction.methods import METHODS, Extraction
from macro_gym.extraction.ngrams import frequent_ngrams, mine_ngrams
from macro_gym.extraction.settings import ExtractionSettings

__all__ = [
    "METHODS",
    "Coverage",
    "Extraction",
    "ExtractionSettings",
    "compress",
    "emulated_effect",
    "frequent_ngrams",
    "mine_byte_pairs",
    "mine_compressing",
    "mine_grammar",
    "mine_ngrams",
    "play_coverage",
]
