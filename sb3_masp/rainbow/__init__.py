"""Rainbow: six improvements of deep Q-learning, together or without some of them."""

from sb3_masp.rainbow.policies import CnnPolicy, MlpPolicy, MultiInputPolicy
from sb3_masp.rainbow.rainbow import Rainbow

__all__ = ["CnnPolicy", "MlpPolicy", "MultiInputPolicy", "Rainbow"]
