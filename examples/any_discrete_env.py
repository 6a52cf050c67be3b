"""Train MASPDQN on CartPole with macros mined from the play of a hand-written policy."""

import sys

import gymnasium as gym
import numpy as np
from stable_baselines3.common.evaluation import evaluate_policy

from macro_gym import MacroAction
from macro_gym.demonstrations import Demonstration
from macro_gym.extraction import frequent_ngrams
from sb3_masp import MASPDQN

SMOKE = "--smoke" in sys.argv
NAMES = ("LEFT", "RIGHT")


def play(env: gym.Env, seed: int) -> Demonstration:
    """Play an episode by pushing the cart towards the side that the pole is falling to."""
    actions, rewards, over = [], [], False
    (_, _, angle, turn), _ = env.reset(seed=seed)
    while not over:
        actions.append(int(angle + 0.5 * turn > 0))
        (_, _, angle, turn), reward, terminated, truncated, _ = env.step(actions[-1])
        rewards.append(reward)
        over = terminated or truncated
    return Demonstration(
        NAMES, np.array(actions, np.uint8), np.array(rewards, np.float32), source="hand-written"
    )


env = gym.make("CartPole-v1")
macros = frequent_ngrams([play(env, seed) for seed in range(10)], k=6, max_length=4)
print("macros:", ", ".join(macros.names[len(NAMES) :]))

model = MASPDQN(
    "MlpPolicy",
    MacroAction(env, macros),
    learning_rate=1e-3,
    learning_starts=500,
    train_freq=2,
    target_update_interval=200,
    exploration_fraction=0.3,
    double_q=True,
    seed=0,
).learn(1_000 if SMOKE else 30_000, progress_bar=True)
mean, deviation = evaluate_policy(model, model.get_env(), 3 if SMOKE else 20)
print(f"holds the pole for {mean:.0f} ± {deviation:.0f} steps")
