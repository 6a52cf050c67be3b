"""How Σ changes during training: a table with a row at regular intervals."""

import csv
import io
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from macro_gym.files import replacing
from sb3_masp.similarity.base import SimilarityError


class Movement(NamedTuple):
    """Figures of Σ at one moment of training; unknown ones are NaN.

    Args:
        decisions: Decisions of training so far.
        entropy: Mean entropy of the rows off the diagonal, as a share of a uniform row's.
        off_diagonal_mass: Share of the absolute entries that are off the diagonal.
        effective_rank: Exponential of the entropy of the singular values.
        distance_from_start: ``‖Σ − Σ₀‖ / ‖Σ₀‖``.
        distance_from_overlap: ``‖Σ − O‖ / ‖O‖``, O the handcrafted Σ (``"overlap"``).
        agreement: Spearman's correlation of Σ_ij with ``−mean_s |Q(s, i) − Q(s, j)|``.
    """

    decisions: int
    entropy: float
    off_diagonal_mass: float
    effective_rank: float
    distance_from_start: float
    distance_from_overlap: float = math.nan
    agreement: float = math.nan


MEANINGS = {
    "entropy": ("Entropy of rows", "1: all other actions alike; 0: one neighbour each"),
    "off_diagonal_mass": ("Mass off the diagonal", "0: identity, which penalises nothing"),
    "effective_rank": ("Effective rank", "how many directions Σ has; at most one an action"),
    "distance_from_start": ("Distance from the start", "‖Σ − Σ₀‖ / ‖Σ₀‖"),
    "distance_from_overlap": (
        "Distance from handcrafted overlap",
        "‖Σ − O‖ / ‖O‖; O: the primitives that two actions share in order",
    ),
    "agreement": (
        "Agreement with distances of values",
        "rank correlation of Σᵢⱼ with −mean |Q(s,i) − Q(s,j)| over replayed states",
    ),
}
"""Title and meaning of each figure, for people."""


def write_history(path: str | os.PathLike[str], rows: Iterable[Movement]) -> None:
    """Write the rows as CSV, atomically; NaN is left empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Movement._fields)
    for row in rows:
        writer.writerow("" if math.isnan(value) else value for value in row)
    with replacing(path) as file:
        file.write(text.getvalue().encode())


def read_history(path: str | os.PathLike[str]) -> tuple[Movement, ...]:
    """Read what `write_history` wrote; empty if there is no such file.

    Raises:
        SimilarityError: The file is not such a table.
    """
    if not Path(path).exists():
        return ()
    with Path(path).open(newline="") as file:
        try:
            return tuple(_movement(row) for row in csv.DictReader(file, strict=True))
        except (KeyError, TypeError, ValueError, csv.Error) as error:
            raise SimilarityError(
                f"{path} is no history of a similarity ({error!r}); its columns must be "
                f"{', '.join(Movement._fields)}. Was it edited, or cut short?"
            ) from error


def _movement(row: dict[str, str]) -> Movement:
    """Parse a row of the file."""
    figures = {name: float(row[name] or "nan") for name in Movement._fields[1:]}
    return Movement(int(row["decisions"]), **figures)
