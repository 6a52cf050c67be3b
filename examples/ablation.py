"""Leave out each of Rainbow's six parts in turn, as its paper does, on a problem of CPU size.

Every run's score is written when it is done, and an interrupted ablation goes on from there. A
small problem says little about games: it shows how to do it, which is one argument a part.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch as th
import tyro
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from tqdm import tqdm

from macro_gym.files import replacing
from sb3_masp import Rainbow

WITHOUT: dict[str, dict[str, Any]] = {
    "nothing": {},
    "double": {"double_q": False},
    "dueling": {"dueling": False},
    "noisy": {"noisy": False},
    "distributional": {"distributional": False},
    "n-step": {"n_steps": 1},
    "prioritised": {"prioritized_replay": False},
}


@dataclass(frozen=True)
class Settings:
    """Size of the ablation.

    Args:
        env: An environment with vectors for observations.
        decisions: Decisions that each run plays.
        seeds: Runs of each arm.
        episodes: Episodes over which each run is scored.
        v_max: The highest return that distributions can hold; with γ = 0.99 and a reward of 1 a
            step, 100. The lowest is 0.
        output: Folder for the scores.
        smoke: So small that it only shows that it runs.
    """

    env: str = "CartPole-v1"
    decisions: int = 20_000
    seeds: int = 3
    episodes: int = 20
    v_max: float = 100.0
    output: Path = Path("runs/ablation")
    smoke: bool = False


def score(settings: Settings, part: str, seed: int) -> float:
    """Mean return of an agent that learned without ``part``."""
    model = Rainbow(
        "MlpPolicy",
        make_vec_env(settings.env, seed=seed),
        learning_rate=5e-4,
        buffer_size=settings.decisions,
        learning_starts=min(500, settings.decisions // 2),
        train_freq=2,
        target_update_interval=200,
        v_min=0.0,
        v_max=settings.v_max,
        seed=seed,
        **WITHOUT[part],
    ).learn(settings.decisions)
    test = make_vec_env(settings.env, seed=seed + 10_000)
    return float(evaluate_policy(model, test, settings.episodes)[0])


def known_score(settings: Settings, part: str, seed: int) -> float:
    """The score from its file, which is written if it is not there."""
    file = settings.output / f"{settings.env}-{settings.decisions}-without-{part}-{seed}.json"
    if not file.exists():
        result = {"score": score(settings, part, seed)}
        with replacing(file) as opened:
            opened.write(json.dumps(result).encode())
    return float(json.loads(file.read_text())["score"])


def main(settings: Settings) -> None:
    """Run what has not been run, and print the table."""
    if settings.smoke:
        small = {"decisions": 200, "seeds": 1, "episodes": 1}
        settings = Settings(**{**vars(settings), **small})
    th.set_num_threads(1)
    settings.output.mkdir(parents=True, exist_ok=True)
    runs = [(part, seed) for part in WITHOUT for seed in range(settings.seeds)]
    scores: dict[str, list[float]] = {part: [] for part in WITHOUT}
    for part, seed in tqdm(runs, desc="runs", unit="run"):
        scores[part].append(known_score(settings, part, seed))
    print(f"{'without':16} return over {settings.seeds} seeds")
    for part, of_seeds in scores.items():
        spread = stdev(of_seeds) if len(of_seeds) > 1 else 0.0
        print(f"{part:16} {mean(of_seeds):7.1f} ± {spread:.1f}")


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
