"""Quantile regression with the similarity penalty."""

from sb3_masp.qrdqn.policies import CnnPolicy, MlpPolicy, MultiInputPolicy
from sb3_masp.qrdqn.qrdqn import MASPQRDQN

__all__ = ["MASPQRDQN", "CnnPolicy", "MlpPolicy", "MultiInputPolicy"]
