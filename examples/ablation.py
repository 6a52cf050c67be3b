"""Leave out each of Rainbow's six parts in turn, as its paper does, on a problem of CPU size.

It is a sweep: an interrupted ablation goes on where it was, and the table and the plot are those of
`masp sweep`. A small problem says little about games: it shows how to do it, which is one argument
a part.
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
        env: An environment with vectors for observations.
        steps: Steps that each run plays; its score is of the episodes in the last 30% of them.
        seeds: Runs of each arm.
        v_max: The highest return that distributions can hold; with γ = 0.99 and a reward of 1 a
            step, 100. The lowest is 0.
        workers: Runs side by side; as many as there are cores by default.
        output: Folder for the runs and what they come to.
        smoke: So small that it only shows that it runs.
    """

    env: str = "CartPole-v1"
    steps: int = 20_000
    seeds: int = 3
    v_max: float = 100.0
    workers: int | None = None
    output: Path = Path("runs/ablation")
    smoke: bool = False


def main(settings: Settings) -> None:
    """Run what has not been run, and print the table."""
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
