"""Statistics of the Σ that were transferred between games, from the files beside the table."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean, median
from typing import Literal

import torch as th
from torch import Tensor

from examples.experiments.game_homes import HOMES
from examples.experiments.game_transfer import (
    ETA,
    OUTPUTS,
    Settings,
    cell_of,
    earlier_file,
    home_of,
)
from examples.experiments.rows import Run
from sb3_masp.similarity import load_similarity
from sb3_masp.similarity_report.measures import rank_correlation, relative_distance

HEADINGS = (
    "own Σ, distance from uniform",
    "other's Σ, distance from uniform",
    "own Σ, between seeds",
    "other's Σ, between seeds",
    "own and other's Σ",
)


@dataclass(frozen=True)
class Learned:
    """A learned Σ.

    Args:
        similarity: The matrix, shape ``(actions, actions)``.
        names: Names of its actions.
    """

    similarity: Tensor
    names: tuple[str, ...]

    @property
    def moved(self) -> float:
        """Distance from the uniform Σ, as a share of that one's norm."""
        actions = len(self.names)
        return relative_distance(self.similarity, (1 - th.eye(actions)) / (actions - 1))

    def agreement(self, other: "Learned") -> float:
        """Rank correlation of the entries between different actions that both have."""
        shared = [name for name in self.names if name in other.names]
        of_both = []
        for learned in (self, other):
            actions = [learned.names.index(name) for name in shared]
            rows = learned.similarity[actions][:, actions].double()
            of_both.append(rows[~th.eye(len(shared), dtype=th.bool)].numpy())
        return rank_correlation(*of_both)


Similarities = Mapping[tuple[str, Literal["own", "other's"], int], Learned]
"""By pair of games, by which of them it was learned on, and by the seed of the run it is for."""


def read_similarities(home: str) -> Similarities:
    """Read those of a home's pairs that have been learned."""
    output = OUTPUTS[home]
    made, found = home_of(Settings(home=home), output), {}
    for pair in HOMES[home].pairs:
        cell = cell_of(HOMES[home], pair)
        for seed, (whose, game) in itertools.product(
            range(Settings().seeds), (("own", pair[1]), ("other's", pair[0]))
        ):
            run = Run(cell, f"{whose} Σ, frozen", ETA, seed)
            path = earlier_file(made, output.with_suffix(""), game, run)
            if path.exists():
                similarity, about = load_similarity(path)
                names = about.macros_of_actions.names
                found[cell.problem, whose, seed] = Learned(similarity().detach(), names)
    return found


def agreement_table(similarities: Similarities) -> str:
    """Table of the pairs with several seeds: distances from uniform, and agreements."""
    lines = [f"| pair | {' | '.join(HEADINGS)} |", "|---" * (len(HEADINGS) + 1) + "|"]
    for pair in dict.fromkeys(pair for pair, _, _ in similarities):
        own, others = (
            {seed: found for (of, by, seed), found in similarities.items() if (of, by) == (pair, w)}
            for w in ("own", "other's")
        )
        if len(own) < 2 or own.keys() != others.keys():
            continue
        figures = [
            *(median(found.moved for found in of.values()) for of in (own, others)),
            *(
                fmean(a.agreement(b) for a, b in itertools.combinations(of.values(), 2))
                for of in (own, others)
            ),
            fmean(own[seed].agreement(others[seed]) for seed in own),
        ]
        lines.append(f"| {pair} | {' | '.join(f'{x:.2f}' for x in figures)} |")
    return "\n".join([*lines, ""])
