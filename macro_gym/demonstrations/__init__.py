"""Play, from wherever it comes, as `Demonstration` values."""

from macro_gym.demonstrations.demonstration import Demonstration

__all__ = ["Demonstration"]
