"""Measure how well the planner plays Airstriker, compared with random play.

The planner's play is that of the shipped bank, so this takes only a minute. Every episode ends with
the game, or is truncated after as many steps as the bank's.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from tqdm import tqdm

from benchmarks.report import write_report
from macro_gym.banks import load_play, make
from macro_gym.demonstrations import Demonstration, plan_episode
from macro_gym.demonstrations.planner import DEFAULTS
from macro_gym.demonstrations.retro_sandbox import RetroGame

GAME = "Airstriker-Genesis-v0"
HELD = replace(DEFAULTS, trials=0, rescue_trials=0)
"""Settings without trials: random actions, held as long as the planner's."""


@dataclass(frozen=True)
class Settings:
    """What to measure.

    Args:
        episodes: Episodes of random play.
        output: Where the result goes.
        smoke: A few steps, to check that it runs.
    """

    episodes: int = 20
    output: Path = Path("benchmarks/results/retro_planner.json")
    smoke: bool = False


def summary(play: Iterable[Demonstration]) -> dict[str, Any]:
    """Scores and steps of episodes."""
    kept = list(play)
    return {
        "scores": [demonstration.score for demonstration in kept],
        "steps": [len(demonstration.actions) for demonstration in kept],
    }


def table(arms: dict[str, dict[str, Any]]) -> str:
    """Render the result as the table in docs/retro.md."""
    rows = [
        "| | episodes | score | steps played | score per 100 steps |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, arm in arms.items():
        scores, steps = arm["scores"], arm["steps"]
        rows.append(
            f"| {name} | {len(scores)} | {np.mean(scores):,.0f} ({min(scores):,.0f} to "
            f"{max(scores):,.0f}) | {np.mean(steps):,.0f} | {100 * sum(scores) / sum(steps):.1f} |"
        )
    return "\n".join(rows)


def main(settings: Settings) -> None:
    """Play, and write the result."""
    steps, episodes = (30, 2) if settings.smoke else (make.EPISODE_STEPS[GAME], settings.episodes)
    game = RetroGame(GAME, buttons=make.BUTTONS[GAME])
    arms = {
        "random, a new action each step": replace(HELD, steps=steps, holds=(1,)),
        "random, held as the planner's": replace(HELD, steps=steps),
    }
    random = {
        name: summary(
            plan_episode(game, arm, seed) for seed in tqdm(range(episodes), desc=name, unit="game")
        )
        for name, arm in arms.items()
    }
    what = f"scores of {GAME}, episodes until the game is over or cut, and their steps of 4 frames"
    write_report(
        settings.output,
        {"what": what, "arms": random | {"planner": summary(load_play(GAME))}},
    )


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
