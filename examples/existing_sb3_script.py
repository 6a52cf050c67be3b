"""Convert an SB3 Atari script to macros: only the learner's class and the environments change.

Before::

    model_class = DQN
    env = VecFrameStack(make_atari_env("BreakoutNoFrameskip-v4", n_envs=4, seed=0), n_stack=4)

SB3's Atari wrappers are not needed: ``MacroALE`` skips, resizes and stacks frames itself, and
returns unclipped rewards, which the learner clips for each primitive step.
"""

import sys
import tempfile
from pathlib import Path

from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

import macro_gym  # noqa: F401
from sb3_masp import MASPDQN

SMOKE = "--smoke" in sys.argv
DECISIONS = 400 if SMOKE else 2_000_000
EPISODES = 1 if SMOKE else 10

model_class = MASPDQN
env = make_vec_env("MacroALE/Breakout-v5", n_envs=4, seed=0, env_kwargs={"k": 128})

# From here on, only the evaluation environment changes.
folder = Path(tempfile.mkdtemp(prefix="breakout-"))
model = model_class(
    "CnnPolicy",
    env,
    learning_rate=1e-4,
    buffer_size=1_000 if SMOKE else 100_000,
    learning_starts=100 if SMOKE else 100_000,
    target_update_interval=1_000,
    train_freq=4,
    exploration_fraction=0.1,
    exploration_final_eps=0.01,
    seed=0,
    verbose=1,
)
evaluation = EvalCallback(
    make_vec_env("MacroALE/Breakout-v5", seed=1, env_kwargs={"k": 128}),
    eval_freq=DECISIONS // 8 // env.num_envs,
    n_eval_episodes=EPISODES,
    deterministic=False,
    best_model_save_path=str(folder),
)
model.learn(DECISIONS, callback=evaluation)
model.save(folder / "model")

model = model_class.load(folder / "model", env=env)
mean, deviation = evaluate_policy(model, env, EPISODES, deterministic=False)
print(f"score {mean:.1f} ± {deviation:.1f}; the model is in {folder}")
