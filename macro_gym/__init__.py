"""Macro-actions for any discrete Gymnasium environment, mined from play."""

from macro_gym.macro_set import MacroSet, Provenance

__all__ = ["MacroSet", "Provenance"]
