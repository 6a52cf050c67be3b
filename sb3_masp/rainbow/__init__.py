"""Rainbow: six improvements of deep Q-learning, each of which can be switched off."""

from sb3_masp.rainbow.masp_rainbow import MASPRainbow
from sb3_masp.rainbow.policies import CnnPolicy, MlpPolicy, MultiInputPolicy
from sb3_masp.rainbow.rainbow import Rainbow

__all__ = ["CnnPolicy", "MASPRainbow", "MlpPolicy", "MultiInputPolicy", "Rainbow"]
