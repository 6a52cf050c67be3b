"""Statistics of Σ while it is learned, from the learner's log at evenly spaced steps."""

import math
import warnings
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch as th
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter
from torch import Tensor

from examples.experiments.table import Values
from sb3_masp import MASPDQN
from sb3_masp.callbacks import FrameBudget
from sb3_masp.similarity_report.measures import value_agreement

LOGGED = {
    "entropy": "similarity/entropy",
    "mass": "similarity/off_diagonal_mass",
    "distance": "similarity/distance_from_start",
    "gradient": "meta/gradient_norm",
    "cosine": "meta/cosine",
}
"""Columns that are taken from the log, and their names there."""

MEANINGS = {
    "entropy": "entropy of rows (uniform: 1)",
    "mass": "share of Σ off its diagonal",
    "gap": "‖I − Σ‖ / √A",
    "distance": "‖Σ − Σ₀‖ / ‖Σ₀‖",
    "agreement": "rank correlation with −distances of Q*",
    "gradient": "norm of meta-gradients",
    "cosine": "mean cosine between meta-gradients",
}
"""Meaning of each column, for readers."""


class SimilarityStatistics(BaseCallback, KVWriter):
    """Records logged statistics of Σ and its agreement with true values, at evenly spaced steps.

    It does not affect the run. The mean cosine between meta-gradients is only known once there are
    enough of them, which may not be the case at every look.

    Args:
        budget: The callback that counts steps; it must come first in the list.
        looks: Number of looks, at which statistics are recorded.
        q_values: Q*, shape ``(states, actions)``.
    """

    def __init__(self, budget: FrameBudget, looks: int, q_values: Values) -> None:
        """Start without rows."""
        super().__init__()
        self._budget, self._looks, self._q_values = budget, looks, th.as_tensor(q_values)
        self._logged: Mapping[str, Any] = {}
        self.rows: list[dict[str, float]] = []

    def write(
        self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0
    ) -> None:
        """Store what the learner logs."""
        self._logged = dict(key_values)

    def columns(self) -> dict[str, float]:
        """Every statistic of every look, as columns ``entropy 1``, ``entropy 2``, ..."""
        return {
            f"{name} {look}": row[name]
            for name in MEANINGS
            for look, row in enumerate(self.rows, start=1)
        }

    def _on_training_start(self) -> None:
        """Subscribe to the learner's log."""
        self.logger.output_formats.append(self)

    def _on_step(self) -> bool:
        """Record statistics if the decision reaches a look, or passes several."""
        due = min(self._budget.frames * self._looks // self._budget.budget, self._looks)
        if due > len(self.rows):
            self.rows += [self._look()] * (due - len(self.rows))
        return True

    def _look(self) -> dict[str, float]:
        """Statistics of the current Σ."""
        model = cast(MASPDQN, self.model)
        with warnings.catch_warnings(), th.no_grad():
            warnings.simplefilter("ignore")  # the log warns of what is recorded here
            model.dump_logs()
            similarity: Tensor = model.similarity()
        logged = {column: self._logged.get(name, math.nan) for column, name in LOGGED.items()}
        gap = (th.eye(len(similarity)) - similarity).norm() / math.sqrt(len(similarity))
        agreement = value_agreement(similarity, self._q_values)
        return logged | {"gap": float(gap), "agreement": agreement}


def curves(row: Mapping[str, float], name: str) -> Values:
    """A statistic at all looks, from the columns of a row, shape ``(looks,)``."""
    columns = [column for column in row if column.rpartition(" ")[0] == name]
    ordered = sorted(columns, key=lambda column: int(column.rpartition(" ")[2]))
    return np.array([row[column] for column in ordered], float)
