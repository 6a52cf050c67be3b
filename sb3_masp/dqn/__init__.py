"""Deep Q-learning with the similarity penalty."""

from sb3_masp.dqn.dqn import MASPDQN
from sb3_masp.dqn.policies import CnnPolicy, MlpPolicy, MultiInputPolicy

__all__ = ["MASPDQN", "CnnPolicy", "MlpPolicy", "MultiInputPolicy"]
