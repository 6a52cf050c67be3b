"""Measure how learning changes if each outer batch is also the next inner one.

MASPDQN with an outer step after every update, on two of the problems of ``benchmarks.learning``,
with settings that were tuned there for neither arm. Each run is one row, written as soon as it
ends, so that an interrupted benchmark resumes.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch as th
import tyro
from tqdm import tqdm

from benchmarks.learning import learn
from benchmarks.learning_page import interval
from benchmarks.problems import problem
from benchmarks.report import write_report

ARMS: dict[str, dict[str, Any]] = {
    "own batches": {"meta_interval": 1},
    "batches shared": {"meta_interval": 1, "similarity_learning": "meta_shared"},
}
LEARNER = "MASPDQN"

SECTION = """\
## Sharing batches

How learning changes when each outer batch is also the next inner one
(`similarity_learning="meta_shared"`, `meta_interval=1`): MASPDQN on problems of
[Learning](learning.md), with their settings and returns as defined there. Intervals are 95%
t-intervals of the mean over seeds; in the last column, of the mean difference between runs with the
same seed.

| problem | seeds | own batches | batches shared | difference |
|---|---|---|---|---|
{rows}
"""


@dataclass(frozen=True)
class Settings:
    """Settings of the benchmark.

    Args:
        problems: Problems to train on.
        seeds: Number of seeds, from 0 on.
        output: Where the results go, and from where an interrupted benchmark resumes.
        smoke: One seed of a few steps, to check that it runs.
    """

    problems: tuple[str, ...] = ("cart pole", "small Breakout")
    seeds: int = 10
    output: Path = Path("benchmarks/results/shared_batches.json")
    smoke: bool = False


def shared_section(result: dict[str, Any]) -> str:
    """Render the section from the results."""
    returns: dict[str, dict[str, dict[int, float]]] = {}
    for row in result["rows"]:
        of_problem = returns.setdefault(row["problem"], {arm: {} for arm in ARMS})
        of_problem[row["arm"]][row["seed"]] = row["return"]
    lines = []
    for name, arms in returns.items():
        seeds = sorted(set.intersection(*map(set, arms.values())))
        own, shared = (np.array([arms[arm][seed] for seed in seeds]) for arm in ARMS)
        cells = [_cell(values) for values in (own, shared, shared - own)]
        lines.append(f"| {name} | {len(seeds)} | {' | '.join(cells)} |")
    return SECTION.format(rows="\n".join(lines))


def _cell(values: np.ndarray) -> str:
    """A mean with its interval."""
    low, high = interval(values)
    return f"{values.mean():.2f} [{low:.2f}, {high:.2f}]"


def main(settings: Settings) -> None:
    """Run what has not been run yet."""
    th.set_num_threads(1)
    if settings.smoke:
        settings = replace(settings, seeds=1)
    rows = json.loads(settings.output.read_text())["rows"] if settings.output.exists() else []
    known = {(row["problem"], row["arm"], row["seed"], row["steps"]) for row in rows}
    todo = [(n, a, s) for n in settings.problems for s in range(settings.seeds) for a in ARMS]
    for name, arm, seed in tqdm(todo, unit="run"):
        steps = 3_000 if settings.smoke else problem(name).budget(LEARNER)
        if (name, arm, seed, steps) in known:
            continue
        row = learn(name, LEARNER, seed, steps, **ARMS[arm]) | {"arm": arm}
        tqdm.write(f"{name}, {arm}, seed {seed}: {row['return']:.2f} in {row['seconds']} s")
        rows.append(row)
        write_report(settings.output, {"rows": rows})


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
