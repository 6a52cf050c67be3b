"""Train MASPDQN on Breakout with 128 macro-actions, in four lines."""

import sys

import gymnasium as gym

import macro_gym  # noqa: F401  # registers MacroALE/<Game>-v5
from sb3_masp import MASPDQN

DECISIONS = 200 if "--smoke" in sys.argv else 1e7

env = gym.make("MacroALE/Breakout-v5", k=128)
model = MASPDQN("CnnPolicy", env, verbose=1).learn(DECISIONS, progress_bar=True)
