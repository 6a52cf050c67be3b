"""Ways to mine macros from play, each a pure function from demonstrations to a `MacroSet`."""

from macro_gym.extraction.ngrams import frequent_ngrams

__all__ = ["frequent_ngrams"]
