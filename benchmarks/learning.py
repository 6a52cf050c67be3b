"""Train every learner on problems whose best return is known, with five seeds.

Each run is one row of the results, written as soon as it ends, so that an interrupted benchmark
resumes. Settings were chosen on seeds from 100 on; the reported ones are 0 to 4.
"""

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch as th
import tyro
from stable_baselines3.common.env_util import make_vec_env
from tqdm import tqdm

from benchmarks.problems import CONTROL, PROBLEMS, problem
from benchmarks.report import write_report
from sb3_masp import MASPDQN, MASPQRDQN, MASPRainbow, Rainbow
from sb3_masp.callbacks import FrameBudget
from sb3_masp.evaluation import evaluate
from sb3_masp.macro_learner import MacroLearner

OUTPUT = Path(__file__).parent / "results" / "learning.json"

LEARNERS: dict[str, type[MacroLearner]] = {
    "MASPDQN": MASPDQN,
    "MASPQRDQN": MASPQRDQN,
    "Rainbow": Rainbow,
    "MASPRainbow": MASPRainbow,
}


@dataclass(frozen=True)
class Settings:
    """Settings of the benchmark.

    Args:
        problems: Problems to train on.
        learners: Learners to train.
        seeds: Number of seeds.
        first_seed: The first seed; 0 for the reported ones.
        output: Where the results go, and from where an interrupted benchmark resumes.
        smoke: One seed of a few steps, to check that it runs.
    """

    problems: tuple[str, ...] = (*PROBLEMS, CONTROL)
    learners: tuple[str, ...] = tuple(LEARNERS)
    seeds: int = 5
    first_seed: int = 0
    output: Path = OUTPUT
    smoke: bool = False


def arguments(name: str, learner: str) -> dict[str, Any]:
    """Arguments of a learner on a problem."""
    asked = problem(name)
    given = dict(asked.settings)
    if "MASP" in learner:
        given |= asked.masp
    if "QRDQN" in learner:
        given["policy_kwargs"] = given["policy_kwargs"] | {"n_quantiles": 10}
    exploration = {"exploration_fraction": 0.2, "exploration_final_eps": 0.02}
    return given | (asked.rainbow if "Rainbow" in learner else exploration)


def learn(name: str, learner: str, seed: int, steps: int, **more: Any) -> dict[str, Any]:
    """Train once, with ``more`` arguments, and score the final policy without exploration."""
    begun = time.perf_counter()
    asked = problem(name)
    env = make_vec_env(asked.make, seed=seed)
    given = arguments(name, learner) | more
    model = LEARNERS[learner]("MlpPolicy", env, seed=seed, **given)
    model.learn(steps, callback=FrameBudget(steps))
    score = evaluate(model, make_vec_env(asked.make), 30, epsilon=0.0, seed=1_000 + seed)
    return {
        "problem": name,
        "learner": learner,
        "seed": seed,
        "return": score.mean,
        "steps": steps,
        "decisions": model.num_timesteps,
        "updates": model._n_updates,
        "seconds": round(time.perf_counter() - begun, 1),
        "arguments": repr(given),
    }


def main(settings: Settings) -> None:
    """Run what has not been run yet."""
    th.set_num_threads(1)
    if settings.smoke:
        settings = replace(settings, seeds=1)
    rows = json.loads(settings.output.read_text())["rows"] if settings.output.exists() else []
    seeds = range(settings.first_seed, settings.first_seed + settings.seeds)
    todo = [(n, x, s) for n in settings.problems for s in seeds for x in settings.learners]
    for name, learner, seed in tqdm(todo, unit="run"):
        steps = 600 if settings.smoke else problem(name).budget(learner)
        known = {"steps": steps, "arguments": repr(arguments(name, learner))}
        same = [r for r in rows if (r["problem"], r["learner"], r["seed"]) == (name, learner, seed)]
        if any(row | known == row for row in same):
            continue
        row = learn(name, learner, seed, steps)
        tqdm.write(f"{name}, {learner}, seed {seed}: {row['return']:.2f} in {row['seconds']} s")
        rows = [*(r for r in rows if r not in same), row]
        write_report(settings.output, {"rows": rows})


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
