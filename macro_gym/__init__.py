"""Macro-actions, mined from recorded play, for any discrete Gymnasium environment."""

from macro_gym.macro_action import MacroAction
from macro_gym.macro_set import MacroSet, Provenance
from macro_gym.registration import register_envs

__all__ = ["MacroAction", "MacroSet", "Provenance", "register_envs"]

register_envs()
