"""Play, from wherever it comes, as `Demonstration` values."""

from macro_gym.demonstrations.demonstration import Demonstration
from macro_gym.demonstrations.planner import PlannerSettings, plan_episode

__all__ = ["Demonstration", "PlannerSettings", "plan_episode"]
