"""Measure the cost of each form of Σ as the number of actions grows.

All forms take turns within each round, so that a slowdown of the machine affects all of them; the
result is the minimum over rounds, which other work on the machine affects least.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch as th
import tyro
from tqdm import tqdm

from benchmarks.report import write_report
from macro_gym import MacroSet
from sb3_masp.losses import matrix_mixer, similarity_penalty
from sb3_masp.similarity import SIMILARITIES, Similarity, initial_similarity

DONE = ("build", "matrix", "gradient", "mix")


@dataclass(frozen=True)
class Settings:
    """Size of the measurement.

    Args:
        rounds: Rounds; each form takes one turn in each.
        primitives: Number of primitives.
        macros: Numbers of macros to measure at.
        batch_size: Rows of values passed to `mix`.
        threads: Threads of torch.
        output: Where the result goes.
        smoke: One round at small sizes, to check that it runs.
    """

    rounds: int = 7
    primitives: int = 4
    macros: tuple[int, ...] = (32, 128, 512, 2048)
    batch_size: int = 32
    threads: int = 1
    output: Path = Path("benchmarks/results/similarity_forms.json")
    smoke: bool = False


def random_macros(primitives: int, n: int) -> MacroSet:
    """Macros of two to nine primitives, the same at every call."""
    names = tuple(f"P{index}" for index in range(primitives))
    held = MacroSet(names, tuple((0,) * length for length in range(2, 10)))
    return held.with_noise(n - len(held.macros), np.random.default_rng(0))


def turn(
    form: str, initial: th.Tensor, macro_set: MacroSet, values: th.Tensor
) -> tuple[Similarity, dict[str, float]]:
    """Build a Σ and time its operations, in seconds."""
    similarity, build = timed(lambda: SIMILARITIES[form].for_actions(initial, macro_set, 0))
    with th.no_grad():
        similarity()
        _, matrix = timed(similarity)
        _, mix = timed(lambda: similarity.mix(values))
    # If Σ is not learned, there is only the gradient with respect to the values.
    values = values.clone().requires_grad_(not similarity.is_learned)
    _, gradient = timed(lambda: similarity_penalty(values, matrix_mixer(similarity())).backward())
    return similarity, dict(zip(DONE, (build, matrix, gradient, mix), strict=True))


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    """Return the result of a function, and the seconds it took."""
    start = time.perf_counter()
    result = function()
    return result, time.perf_counter() - start


def main(settings: Settings) -> None:
    """Measure, print the times, and write the result."""
    if settings.smoke:
        settings = replace(settings, rounds=1, macros=(11, 23), batch_size=3)
    th.set_num_threads(settings.threads)
    rows = []
    for macros in settings.macros:
        macro_set = random_macros(settings.primitives, macros)
        initial = initial_similarity("overlap", macro_set.n_actions, macro_set)
        values = th.randn(settings.batch_size, macro_set.n_actions)
        found: dict[str, list[dict[str, float]]] = {form: [] for form in SIMILARITIES}
        learned = {}
        for _ in tqdm(range(settings.rounds), desc=f"{macros} macros", unit="round"):
            for form in SIMILARITIES:
                similarity, seconds = turn(form, initial, macro_set, values)
                found[form].append(seconds)
                learned[form] = sum(p.numel() for p in similarity.parameters() if p.requires_grad)
        for form, turns in found.items():
            least = {done: min(each[done] for each in turns) for done in DONE}
            rows.append(
                {"form": form, "actions": macro_set.n_actions, "learned": learned[form]} | least
            )
            times = "  ".join(f"{done} {least[done] * 1e3:9.3f} ms" for done in DONE)
            print(f"{form:16} A={macro_set.n_actions:5}  {times}")
    write_report(
        settings.output,
        {
            "what": "least seconds over rounds: build Σ from overlap, form the matrix, form it "
            "with the penalty and its gradient, and mix a batch of values",
            "batch_size": settings.batch_size,
            "primitives": settings.primitives,
            "rounds": settings.rounds,
            "threads": settings.threads,
            "forms": rows,
        },
    )


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
