"""Ablate each of Rainbow's six components in turn, as in its paper, on a CPU-sized problem.

The ablation is a sweep: it resumes after an interruption, and its table and plot are those of
`masp sweep`. A small problem says little about games; the script shows how to disable each
component, which takes one argument.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tyro

from sb3_masp.sweeps import execute, make_sweep

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
        env: An environment with vector observations.
        steps: Steps of each run; its score is the mean over the episodes in the last 30% of them.
        seeds: Runs per arm.
        v_max: The highest return that distributions represent: 100 for γ = 0.99 and a reward of 1
            per step. The lowest is 0.
        workers: Parallel runs; by default one per core.
        output: Folder for the runs and their results.
        smoke: Run a tiny size, only to check that the script works.
    """

    env: str = "CartPole-v1"
    steps: int = 20_000
    seeds: int = 3
    v_max: float = 100.0
    workers: int | None = None
    output: Path = Path("runs/ablation")
    smoke: bool = False


def main(settings: Settings) -> None:
    """Run what is missing, and print the table."""
    if settings.smoke:
        settings = replace(settings, steps=200, seeds=1)
    fixed = {
        "algorithm": "rainbow",
        "frames": settings.steps,
        "learning_rate": 5e-4,
        "buffer_size": settings.steps,
        "learning_starts": min(500, settings.steps // 2),
        "train_freq": 2,
        "target_update_interval": 200,
        "v_min": 0.0,
        "v_max": settings.v_max,
    }
    arms = {f"without {part}": change for part, change in WITHOUT.items()}
    declaration = {"seeds": settings.seeds, "games": [settings.env], "fixed": fixed, "arms": arms}
    output = settings.output / f"{settings.env}-{settings.steps}"
    execute(make_sweep(declaration, output), workers=settings.workers)


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
