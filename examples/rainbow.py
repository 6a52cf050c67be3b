"""Train Rainbow on Breakout with 128 macro-actions and the settings of its paper."""

import sys

import gymnasium as gym
from stable_baselines3.common.evaluation import evaluate_policy

import macro_gym  # noqa: F401  # registers MacroALE/<Game>-v5
from sb3_masp import Rainbow

SMOKE = "--smoke" in sys.argv
DECISIONS = 200 if SMOKE else 1e7
LIMIT = 2_000 if SMOKE else 108_000  # frames in an episode

env = gym.make("MacroALE/Breakout-v5", k=128, max_num_frames_per_episode=LIMIT)
model = Rainbow(
    "CnnPolicy",
    env,
    buffer_size=1_000 if SMOKE else 1_000_000,
    learning_starts=100 if SMOKE else 20_000,
    seed=0,
    verbose=1,
).learn(DECISIONS, progress_bar=True)

# The noise of the network is for exploration; deterministic actions leave it out.
mean, deviation = evaluate_policy(model, model.get_env(), 1 if SMOKE else 20, deterministic=True)
print(f"score {mean:.1f} ± {deviation:.1f}")
