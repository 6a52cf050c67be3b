"""The methods of mining macros, by name."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from macro_gym.demonstrations.demonstration import Demonstration
from macro_gym.extraction.byte_pairs import mine_byte_pairs
from macro_gym.extraction.compression import mine_compressing
from macro_gym.extraction.grammar import mine_grammar
from macro_gym.extraction.ngrams import mine_ngrams
from macro_gym.extraction.settings import ExtractionSettings
from macro_gym.macro_set import MacroSet

Extraction = Callable[[Sequence[Demonstration], ExtractionSettings], MacroSet]
"""A method of mining macros; the same play and settings give the same set."""

METHODS: Mapping[str, Extraction] = MappingProxyType(
    {
        "ngrams": mine_ngrams,
        "byte-pairs": mine_byte_pairs,
        "grammar": mine_grammar,
        "compression": mine_compressing,
    }
)
"""The paper's method first."""
