"""Views of a macro set for people: as text, as a picture and as an animation."""

from macro_gym.report.animation import animate
from macro_gym.report.pictures import plot
from macro_gym.report.strips import strip, symbol
from macro_gym.report.text import describe, list_banks

__all__ = ["animate", "describe", "list_banks", "plot", "strip", "symbol"]
