"""Ablate the parts of the method on small problems with known answers: what does each contribute?

There is a table each on where Σ starts, η, β, transfer, noise among the macros, statistics of Σ
while it is learned, and where macros come from. Each compares variants of the learner of
`small_problems.py`, with its budget and score. Variants choose η on seeds from 100 on; seeds 0, 1,
2, ... are reported.

Each run is saved as soon as it ends, so the same command resumes after an interruption; tables
share the runs that they have in common. Without --smoke or --full it only reports what is missing
and how long it takes.
"""

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

sys.path.insert(0, str(Path(__file__).parents[2]))

from examples.experiments.problems import PROBLEMS, macros, play
from examples.experiments.rows import Cell, Run
from examples.experiments.settings import GridSettings, conduct
from examples.experiments.similarity_statistics import SimilarityStatistics
from examples.experiments.small_problems import Budget, common_settings, shortened, train
from examples.experiments.table import optimal_q_values, with_macros
from examples.experiments.trial import Trial
from examples.experiments.variants import (
    ABLATIONS,
    EARLIER_SEEDS,
    OTHERS,
    VARIANTS,
    Ablation,
    Source,
)
from macro_gym import MacroSet
from macro_gym.extraction import ExtractionSettings, frequent_ngrams, mine_byte_pairs
from sb3_masp import Similarity
from sb3_masp.callbacks import FrameBudget
from sb3_masp.similarity import SimilarityAbout, transferred_similarity

OUTPUT = Path(__file__).parent / "results" / "ablations.csv"


@dataclass(frozen=True)
class Settings(GridSettings):
    """Settings of the experiment.

    Args:
        tables: Tables to run.
        problems: Problems to run; transfer is only between the two starts in the rooms.
        k: Numbers of macros.
    """

    arms: Annotated[tuple[str, ...], tyro.conf.Suppress] = ()
    seeds: int = 10
    tuning_seeds: int = 3
    tables: tuple[Literal[*ABLATIONS], ...] = tuple(ABLATIONS)
    problems: tuple[Literal[*PROBLEMS], ...] = tuple(PROBLEMS)
    k: tuple[int, ...] = (64,)
    budget: Annotated[Budget, tyro.conf.Suppress] = field(default_factory=Budget)


def macros_from(source: Source, cell: Cell, seed: int) -> MacroSet:
    """The macros of a cell; those that are not random come from ``source``.

    Raises:
        ValueError: A source other than play is to be mixed with random macros.
    """
    if source == "play":
        return macros(cell.problem, cell.k, cell.share, seed)
    if cell.share != 1:
        raise ValueError(f"share is {cell.share}; macros of {source} are never mixed with noise")
    problem, rng = PROBLEMS[cell.problem](), np.random.default_rng(seed)
    if source == "planner":
        planned = play(problem, rng, 10_000, errors=0.01)
        return frequent_ngrams(planned, cell.k, primitives=problem.primitives)
    settings = ExtractionSettings(cell.k, primitives=problem.primitives)
    return mine_byte_pairs(list(play(problem, rng, 10_000)), settings)


def learn(budget: Budget, run: Run, is_watched: bool = False) -> dict[str, float]:
    """Carry out one run.

    Args:
        budget: Budget of every run.
        run: The run; its arm is the name of a variant.
        is_watched: Whether to record statistics of Σ too.

    Returns:
        The row of `small_problems.train`, with seconds that include the earlier run that Σ comes
        from, and the columns of `SimilarityStatistics` if ``is_watched``.
    """
    begun, variant = time.perf_counter(), VARIANTS[run.arm]
    macro_set = macros_from(variant.source, run.cell, run.seed)
    own = variant.learner_arguments(run.strength)
    if variant.carried:
        own["similarity"] = carried_over(budget, run, macro_set)
    frames, watch = FrameBudget(budget.steps), []
    if is_watched:
        table = with_macros(PROBLEMS[run.cell.problem]().table, macro_set)
        watch = [SimilarityStatistics(frames, budget.looks, optimal_q_values(table))]
    _, row = train(budget, run, macro_set, own, frames, watch)
    columns = watch[0].columns() if watch else {}
    return row | {"seconds": time.perf_counter() - begun} | columns


def learn_briefly(budget: Budget, run: Run, steps: int) -> dict[str, float]:
    """Carry out a run of a few steps that learns from the first one on."""
    return learn(shortened(budget, steps), run)


def carried_over(budget: Budget, run: Run, macro_set: MacroSet) -> Similarity:
    """Learn the Σ of an earlier run on the same or the other problem, for the run's actions.

    It is meta-learned from uniform at the run's η, with another seed.
    """
    problem = run.cell.problem
    if VARIANTS[run.arm].carried == "other's":
        problem = OTHERS[problem]
    cell = replace(run.cell, problem=problem)
    own = VARIANTS["uniform, learned"].learner_arguments(run.strength)
    known = macros(problem, cell.k, cell.share, run.seed)
    earlier = replace(run, cell=cell, seed=run.seed + EARLIER_SEEDS)
    model, _ = train(budget, earlier, known, own, FrameBudget(budget.steps))
    about = SimilarityAbout.of(known)
    return transferred_similarity(model.similarity, macro_set, "uniform", about)[0]


def grid(ablation: Ablation, settings: Settings, share: float) -> list[Cell]:
    """The cells in which variants with this share of mined macros are compared."""
    problems = [problem for problem in ablation.problems if problem in settings.problems]
    return [Cell(problem, k, share, "decision") for k in settings.k for problem in problems]


def watched_output(output: Path) -> Path:
    """Path of the table with the columns of `SimilarityStatistics`."""
    return output.with_stem(f"{output.stem}_statistics")


def conduct_table(name: str, settings: Settings, known: Mapping[str, Any], output: Path) -> None:
    """Report what is missing in a table and, if requested, run it."""
    ablation = ABLATIONS[name]
    for share in ablation.shares:
        print(f"{name}, {share:.0%} of the macros mined: ", end="", flush=True)
        conduct(
            replace(settings, arms=tuple(ablation.variants(share))),
            watched_output(output) if ablation.is_watched else output,
            common_settings(settings.budget),
            grid(ablation, settings, share),
            partial(learn, settings.budget, is_watched=ablation.is_watched),
            known=known,
            trial=Trial(partial(learn_briefly, settings.budget), settings.budget.steps),
        )


def main(settings: Settings) -> None:
    """Report what is missing and, if requested, run it."""
    output, known = settings.table(OUTPUT), VARIANTS
    if settings.smoke:
        known = {name: replace(v, strengths=v.strengths[-1:]) for name, v in VARIANTS.items()}
        settings = replace(
            settings,
            problems=("rooms, near",),
            k=(16,),
            seeds=1,
            tuning_seeds=1,
            workers=settings.workers or 1,
            budget=replace(
                settings.budget,
                steps=200,
                looks=2,
                learner=settings.budget.learner | {"learning_starts": 20},
            ),
        )
    for name in settings.tables:
        conduct_table(name, settings, known, output)


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
