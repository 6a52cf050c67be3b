"""Train MASPDQN on Breakout with 128 macro-actions in 16 environments, on all cores.

``make_macro_vec_env`` steps them in one process per core, each environment for as long as its own
macro lasts. Updates are counted in decisions (``train_freq=(4, "decision")``, the default), so 16
environments take as many updates per decision as one, and a single forward pass selects the actions
of all of them. Any Gymnasium vector environment can be used instead:
``GymnasiumVecEnv(gym.make_vec("CartPole-v1", num_envs=16))``.
"""

import sys

from stable_baselines3.common.evaluation import evaluate_policy

from sb3_masp import MASPDQN, make_macro_vec_env

SMOKE = "--smoke" in sys.argv
DECISIONS = 400 if SMOKE else 2_000_000
LIMIT = 2_000 if SMOKE else 108_000  # frames in an episode

env = make_macro_vec_env(
    "Breakout", n_envs=4 if SMOKE else 16, k=128, max_num_frames_per_episode=LIMIT
)
model = MASPDQN(
    "CnnPolicy",
    env,
    buffer_size=1_000 if SMOKE else 100_000,
    learning_starts=100 if SMOKE else 20_000,
    target_update_interval=1_000,
    exploration_final_eps=0.01,
    seed=0,
    verbose=1,
)
model.learn(DECISIONS, progress_bar=True)

mean, deviation = evaluate_policy(model, env, 4 if SMOKE else 20, deterministic=False)
print(f"score {mean:.1f} ± {deviation:.1f}")
env.close()
