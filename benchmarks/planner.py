"""Measure the planner's score per second of processor time, against its first version.

Both play the first steps of the same games with the same seeds, one after the other. Every episode
is saved as soon as it is over, so that an interrupted run resumes.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tyro
from tqdm import tqdm

from benchmarks.first_planner import first_planner_score
from benchmarks.report import write_report
from macro_gym.demonstrations.planner import DEFAULTS, PlannerSettings, plan_episode

GAMES = (
    "breakout",
    "pong",
    "space_invaders",
    "ms_pacman",
    "qbert",
    "freeway",
    "seaquest",
    "beam_rider",
    "frostbite",
    "montezuma_revenge",
    "private_eye",
    "video_pinball",
)
"""The games for which the first version made banks."""


@dataclass(frozen=True)
class Settings:
    """What to measure.

    Args:
        games: The games, by ale-py's ids.
        steps: Steps of each episode.
        seeds: Seeds, one episode each; the settings were chosen with seeds 100 and 101.
        output: Where the result goes.
        smoke: Two games, a few steps, to check that it runs.
    """

    games: tuple[str, ...] = GAMES
    steps: int = 600
    seeds: tuple[int, ...] = (0, 1, 2)
    output: Path = Path("benchmarks/results/planner.json")
    smoke: bool = False


def planned(settings: PlannerSettings) -> Callable[[str, int, int], float]:
    """The current planner with ``settings``, as a function of game, steps and seed."""
    return lambda game, steps, seed: plan_episode(game, replace(settings, steps=steps), seed).score


ARMS: dict[str, Callable[[str, int, int], float]] = {
    "random held actions": planned(replace(DEFAULTS, trials=0, rescue_trials=0)),
    "first version": first_planner_score,
    "planner": planned(DEFAULTS),
    "planner, sticky actions": planned(replace(DEFAULTS, repeat_action_probability=0.25)),
    "planner, 4 times the trials": planned(replace(DEFAULTS, trials=16, rescue_trials=160)),
}


def main(settings: Settings) -> None:
    """Play what has not been played yet, and write the result after each episode."""
    games, steps, seeds = settings.games, settings.steps, settings.seeds
    if settings.smoke:
        games, steps, seeds = games[:2], 8, seeds[:1]
    episodes: list[dict[str, Any]] = []
    if settings.output.exists() and not settings.smoke:
        episodes = json.loads(settings.output.read_text())["episodes"]
    known = {(e["game"], e["arm"], e["seed"], e["steps"]) for e in episodes}
    wanted = [(g, a, seed, steps) for seed in seeds for g in games for a in ARMS]
    for game, arm, seed, _ in tqdm([w for w in wanted if w not in known], unit="episode"):
        start = time.process_time()
        score = ARMS[arm](game, steps, seed)
        episodes.append(
            {
                "game": game,
                "arm": arm,
                "seed": seed,
                "steps": steps,
                "score": score,
                "cpu_seconds": round(time.process_time() - start, 2),
            }
        )
        what = "score and processor time of one episode each, cut after so many steps of 4 frames"
        write_report(settings.output, {"what": what, "episodes": episodes})


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
