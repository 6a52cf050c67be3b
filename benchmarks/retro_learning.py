"""Train on Airstriker as ``masp train`` does, with five seeds, and compare with random play.

Each run is kept in ``--folder`` and resumed if the benchmark was interrupted; once it has been
scored, it is a row of the results. Settings were chosen on seeds from 100 on; the reported ones are
0 to 4. The table in docs/retro.md is written at the end.
"""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from tqdm import tqdm

from benchmarks.learning_page import interval
from benchmarks.report import write_report
from macro_gym.files import replacing
from sb3_masp import MASPDQN, run
from sb3_masp.evaluation import Evaluation, evaluate

OUTPUT = Path(__file__).parent / "results" / "retro_learning.json"
PAGE = Path(__file__).parents[1] / "docs" / "retro.md"
MARKS = ("<!-- learning -->\n", "\n<!-- end -->")
"""Marks around the table in the page."""

COMMAND = (
    "MacroRetro/Airstriker-Genesis-v0 --macros examples/airstriker.json --frames 280000 "
    "--options screen_size 42 stack_size 2 --threads 1 --buffer-size 50000 --learning-starts 500 "
    "--train-freq 1 --target-update-interval 500 --learning-rate 0.0003 --double-q True "
    "--exploration-fraction 0.3 --exploration-final-eps 0.02"
)
"""Arguments of ``masp train``, except for the seed."""
EPSILON = 0.02
"""Share of random decisions of the trained policies."""


@dataclass(frozen=True)
class Settings:
    """Settings of the benchmark.

    Args:
        seeds: Number of seeds.
        first_seed: The first seed; 0 for the reported ones.
        episodes: Episodes over which each policy is scored.
        folder: Folder of the runs.
        output: Where the results go, and from where an interrupted benchmark resumes.
        smoke: One seed of a few steps, to check that it runs.
    """

    seeds: int = 5
    first_seed: int = 0
    episodes: int = 20
    folder: Path = Path("build/retro_learning")
    output: Path = OUTPUT
    smoke: bool = False


def config(seed: int, settings: Settings) -> run.TrainConfig:
    """Configuration of the run of a seed."""
    asked = tyro.cli(run.TrainConfig, args=COMMAND.split())
    if settings.smoke:
        asked = replace(asked, frames=2_000)
    return replace(asked, seed=seed, run=settings.folder / f"seed{seed}")


def train(asked: run.TrainConfig) -> None:
    """Train or resume training, and record the processor seconds if it was not interrupted."""
    if (asked.folder / "model.zip").exists():
        return
    if (asked.folder / run.CHECKPOINT).exists():
        run.resume(asked.folder)
        return
    shutil.rmtree(asked.folder, ignore_errors=True)
    begun = sum(os.times()[:4])
    model = run.train(asked)
    model.get_env().close()  # the emulator's process has to end to be counted
    (asked.folder / "seconds.json").write_text(json.dumps(sum(os.times()[:4]) - begun))


def learn(seed: int, settings: Settings) -> dict[str, Any]:
    """Train once, and score the policy and random play."""
    asked = config(seed, settings)
    train(asked)
    seconds = asked.folder / "seconds.json"
    env = run.make_env(asked)
    model = MASPDQN.load(asked.folder / "model.zip", env=env)
    policies = {"trained": EPSILON, "random": 1.0}
    scores = {
        name: evaluate(model, env, settings.episodes, epsilon, 1_000 + seed, progress_bar=True)
        for name, epsilon in policies.items()
    }
    env.close()
    scores["random_primitives"] = _random_primitives(asked, settings.episodes, 1_000 + seed)
    return {
        "seed": seed,
        **{name: score.mean for name, score in scores.items()},
        "scores": {name: score.scores for name, score in scores.items()},
        "frames": asked.frames,
        "decisions": model.num_timesteps,
        "updates": model._n_updates,
        "processor_seconds": json.loads(seconds.read_text()) if seconds.exists() else None,
        "macro_set": model.macro_set.hash,
    }


def table(result: dict[str, Any]) -> str:
    """Render the results as the table in docs/retro.md."""
    rows = result["rows"]
    reached = {
        name: np.array([row[key] for row in rows])
        for name, key in (
            ("MASPDQN", "trained"),
            ("random", "random"),
            ("random, without macros", "random_primitives"),
        )
    }
    lines = ["| | mean score | 95% interval over seeds | each seed |", "|---|---|---|---|"]
    for name, means in reached.items():
        lines.append(f"| {name} | {_cells(means, '.0f')} |")
    ratios = reached["MASPDQN"] / reached["random"]
    lines.append(f"| MASPDQN over random | {_cells(ratios, '.2f')} |")
    return "\n".join([*lines, "", _budget(rows)])


def write_table() -> None:
    """Write the table of the results into the page."""
    before, rest = PAGE.read_text().split(MARKS[0])
    _, after = rest.split(MARKS[1], 1)
    content = MARKS[0].join((before, table(json.loads(OUTPUT.read_text())) + MARKS[1] + after))
    with replacing(PAGE) as file:
        file.write(content.encode())


def _budget(rows: Sequence[dict[str, Any]]) -> str:
    """Describe the cost of a run in a sentence."""
    decisions, updates = (np.mean([row[key] for row in rows]) for key in ("decisions", "updates"))
    known = [row["processor_seconds"] for row in rows if row["processor_seconds"] is not None]
    return (
        f"A run took {np.mean(known) / 60:.1f} processor minutes: {rows[0]['frames']:,} frames, "
        f"{decisions:,.0f} decisions, {updates:,.0f} updates."
    )


def main(settings: Settings) -> None:
    """Run what has not been run yet."""
    if settings.smoke:
        settings = replace(settings, seeds=1, episodes=2)
    known = json.loads(settings.output.read_text()) if settings.output.exists() else {}
    rows = known.get("rows", []) if known.get("training") == COMMAND else []
    for seed in tqdm(range(settings.first_seed, settings.first_seed + settings.seeds), unit="run"):
        if any(row["seed"] == seed for row in rows):
            continue
        rows = [*rows, learn(seed, settings)]
        write_report(settings.output, {"training": COMMAND, "rows": rows})
        last = rows[-1]
        tqdm.write(f"seed {seed}: {last['trained']:.0f}, random {last['random']:.0f}")
    if settings.output == OUTPUT:
        write_table()


def _random_primitives(asked: run.TrainConfig, episodes: int, seed: int) -> Evaluation:
    """Scores of random play without macros."""
    env = run.make_env(replace(asked, k=0))
    player = MASPDQN("CnnPolicy", env, buffer_size=1)
    scores = evaluate(player, env, episodes, 1.0, seed, progress_bar=True)
    env.close()
    return scores


def _cells(values: np.ndarray, form: str) -> str:
    """Mean, interval if there is one, and every value, as cells of a table."""
    ends = interval(values) if len(values) > 1 else ()
    each = ", ".join(format(value, form) for value in values)
    return f"{values.mean():{form}} | {' to '.join(format(end, form) for end in ends)} | {each}"


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
