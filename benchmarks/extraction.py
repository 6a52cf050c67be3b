"""Time the extraction of macros from play of the size of Atari Grand Challenge v2.

Each measurement runs in its own process, which generates the play, records how much memory that
took, and then mines it. All contenders for n-grams take turns within each round; they must find the
same counts. The other methods, and the tokenizers library, are timed once on a part of the play.
"""

import json
import multiprocessing
import resource
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import tyro
from tokenizers import Tokenizer, models, trainers
from tqdm import tqdm

from benchmarks.report import write_report
from macro_gym.demonstrations import Demonstration
from macro_gym.extraction import METHODS, ExtractionSettings

NAMES = tuple("ABCDEFGHIJKLMNOPQR")
"""As many actions as the emulator has."""


@dataclass(frozen=True)
class Settings:
    """Size of the measurement.

    Args:
        steps: Steps of play to count n-grams in.
        episodes: Episodes that the steps are split into.
        part: Steps of play for the methods other than n-grams.
        k: Macros to extract, of lengths 2 to 8.
        rounds: Rounds of the contenders for n-grams.
        output: Where the result goes.
        smoke: One round with little play, to check that it runs.
    """

    steps: int = 17_100_000
    episodes: int = 4284
    part: int = 1_000_000
    k: int = 512
    rounds: int = 3
    output: Path = Path("benchmarks/results/extraction.json")
    smoke: bool = False


def synthetic_play(settings: Settings) -> list[Demonstration]:
    """Generate human-like play: some actions far more often than others, held for a while.

    Six in ten holds last 5 steps on average, the others 30; the n-th action is chosen with a
    probability proportional to 1/n.
    """
    rng = np.random.default_rng(0)
    odds = 1 / np.arange(1, len(NAMES) + 1)
    ends = np.linspace(0, settings.steps, settings.episodes + 1).astype(int)
    play = []
    for size in np.diff(ends).tolist():
        holds = rng.geometric(np.where(rng.random(size) < 0.6, 1 / 5, 1 / 30))
        holds = holds[: np.searchsorted(np.cumsum(holds), size) + 1]
        actions = rng.choice(len(NAMES), len(holds), p=odds / odds.sum()).astype(np.uint8)
        play.append(Demonstration(NAMES, np.repeat(actions, holds)[:size]))
    return play


def mined_by(method: str) -> Callable[[list[Demonstration], int], list[int]]:
    """A contender that finds the counts by a method of the package."""

    def mine(play: list[Demonstration], k: int) -> list[int]:
        return list(METHODS[method](play, ExtractionSettings(k)).counts)

    return mine


def counted_tuples(play: list[Demonstration], k: int) -> list[int]:
    """Find the counts with ``collections.Counter`` over tuples."""
    counter: Counter[tuple[int, ...]] = Counter()
    for demonstration in play:
        actions = demonstration.actions.tolist()
        for length in range(2, 9):
            counter.update(zip(*(actions[start:] for start in range(length)), strict=False))
    return [count for _, count in counter.most_common(k)]


def tokenized(play: list[Demonstration], k: int) -> list[int]:
    """Train the tokenizers library on the same play; it returns no counts."""
    texts = [(demonstration.actions + ord("A")).tobytes().decode() for demonstration in play]
    trainer = trainers.BpeTrainer(
        vocab_size=len(NAMES) + k,
        initial_alphabet=list(NAMES),
        max_token_length=9,
        show_progress=False,
    )
    Tokenizer(models.BPE()).train_from_iterator(texts, trainer)
    return []


CONTENDERS = {"ngrams": mined_by("ngrams"), "Counter over tuples": counted_tuples}
OTHERS = {name: mined_by(name) for name in METHODS if name != "ngrams"} | {"tokenizers": tokenized}


def measured(name: str, settings: Settings) -> dict[str, Any]:
    """Seconds, memory in MB (before mining and at its peak) and counts of one contender."""
    play = synthetic_play(settings)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start = time.perf_counter()
    counts = (CONTENDERS | OTHERS)[name](play, settings.k)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "play_mb": before, "peak_mb": peak, "counts": counts}


def measured_alone(name: str, settings: Settings) -> dict[str, Any]:
    """`measured` in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measured, (name, settings))


def main(settings: Settings) -> None:
    """Measure, print, and write the result."""
    if settings.smoke:
        settings = replace(settings, steps=20_000, episodes=5, part=20_000, k=64, rounds=1)
    turns = [name for _ in range(settings.rounds) for name in CONTENDERS]
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTENDERS}
    for name in tqdm(turns, desc="n-grams", unit="turn"):
        rounds[name].append(measured_alone(name, settings))
    if len({json.dumps(run.pop("counts")) for runs in rounds.values() for run in runs}) != 1:
        raise SystemExit("the contenders found different counts")
    part = replace(settings, steps=settings.part, episodes=max(settings.part // 4000, 1))
    others = {name: measured_alone(name, part) for name in tqdm(OTHERS, desc="other methods")}
    for run in others.values():
        del run["counts"]
    paired = zip(rounds["Counter over tuples"], rounds["ngrams"], strict=True)
    ratio = median(slow["seconds"] / fast["seconds"] for slow, fast in paired)
    for name, runs in rounds.items():
        print(f"{name:22} {median(r['seconds'] for r in runs):7.2f} s", end="")
        print(f" {max(r['peak_mb'] for r in runs):7.0f} MB")
    print(f"{'ratio':22} {ratio:7.1f}")
    for name, run in others.items():
        print(f"{name:22} {settings.part / run['seconds']:12,.0f} steps/s")
    write_report(
        settings.output,
        {
            "what": "seconds to find the most frequent n-grams of length 2..8, and peak memory "
            "(MB) of a process that does it; ratio: median over rounds",
            "steps": settings.steps,
            "episodes": settings.episodes,
            "k": settings.k,
            "ratio": ratio,
            "rounds": rounds,
            "part": settings.part,
            "others": others,
        },
    )


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
