"""Contents of a report on Σ."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, cast

import numpy as np
import torch as th
from numpy.typing import NDArray

from macro_gym import MacroSet
from sb3_masp.similarity import Similarity, SimilarityAbout, SimilarityError
from sb3_masp.similarity.health import ALL_ROWS, rows_to_look_at, similarity_health
from sb3_masp.similarity.initial import LEAST_OVERLAP
from sb3_masp.similarity.matrices import spread
from sb3_masp.similarity.transfer import sequences
from sb3_masp.similarity_report.history import MEANINGS, Movement
from sb3_masp.similarity_report.measures import relative_distance

DRAWN = 512
"""Actions that a picture shows if there are too many for it."""


@dataclass(frozen=True, slots=True)
class SimilarityReport:
    """A Σ and everything reported on it.

    Args:
        similarity: Σ, shape ``(actions, actions)``.
        names: Names of the actions.
        steps: Names of each action's primitives, first to last.
        about: Metadata of Σ.
        form: Name of the form.
        now: Figures of Σ.
        history: Its figures during training, first to last; empty if none were recorded.
        part_of: Number of all actions, if only some are included; else 0.

    Raises:
        SimilarityError: The number of names or steps is not that of Σ's rows.
    """

    similarity: NDArray[np.float64]
    names: tuple[str, ...]
    steps: tuple[tuple[str, ...], ...]
    about: SimilarityAbout
    form: str
    now: Movement
    history: tuple[Movement, ...] = ()
    part_of: int = 0

    def __post_init__(self) -> None:
        """Reject names of other actions."""
        actions = len(self.similarity)
        if not actions == len(self.names) == len(self.steps):
            raise SimilarityError(
                f"Σ is of {actions} actions, but there are {len(self.names)} names and "
                f"{len(self.steps)} sequences of steps. Are they of another macro set?"
            )

    @property
    def n_actions(self) -> int:
        """Number of actions that Σ is over."""
        return self.part_of or len(self.names)

    def for_pictures(self) -> Self:
        """The report itself or, of thousands of actions, as many evenly spread as can be drawn."""
        shown = drawable(len(self.names))
        if len(shown) == len(self.names):
            return self
        return replace(
            self,
            similarity=self.similarity[np.ix_(shown, shown)],
            names=tuple(self.names[action] for action in shown),
            steps=tuple(self.steps[action] for action in shown),
            part_of=self.n_actions,
        )

    @property
    def title(self) -> str:
        """Title in one line."""
        game = f" of {self.about.game}" if self.about.game else ""
        some = f"{len(self.names)} of " if self.n_actions != len(self.names) else ""
        return f"Similarity of {some}{self.n_actions} actions{game}"

    @property
    def facts(self) -> dict[str, str]:
        """Known facts, by name."""
        about = self.about
        facts = {
            "form": self.form,
            "learner": about.learner,
            "origin": about.origin,
            "environment": about.env,
            "decisions of training": f"{about.decisions:,}" if about.decisions else "",
            "frames of training": f"{about.frames:,}" if about.frames else "",
            "macro set": about.macro_set[:12],
        }
        figures = self.now._asdict()
        shown = {title: figures[name] for name, (title, _) in MEANINGS.items()}
        facts |= {
            title.lower(): f"{value:.3g}" for title, value in shown.items() if not np.isnan(value)
        }
        return {name: value for name, value in facts.items() if value}


def make_report(
    similarity: Similarity, about: SimilarityAbout, history: Sequence[Movement] = ()
) -> SimilarityReport:
    """Gather a report on Σ.

    Args:
        similarity: Σ.
        about: Metadata of Σ.
        history: Its figures during training, first to last; rows later than Σ are left out if it is
            known when that is.
    """
    matrix = similarity().detach().cpu()
    macro_set = about.macros_of_actions
    names = about.actions or tuple(map(str, range(len(matrix))))
    rows = tuple(row for row in history if not about.decisions or row.decisions <= about.decisions)
    now = movement(similarity, macro_set, about.decisions)
    if rows and rows[-1].decisions == about.decisions:
        now = now._replace(agreement=rows[-1].agreement)
    return SimilarityReport(
        matrix.double().numpy(),
        names,
        tuple(map(steps_of, names)) if macro_set is None else sequences(macro_set),
        about,
        similarity.form,
        now,
        rows,
    )


@th.no_grad()
def movement(similarity: Similarity, macro_set: MacroSet | None, decisions: int) -> Movement:
    """Figures of Σ, except its agreement with values; of some rows if there are thousands.

    Args:
        similarity: Σ.
        macro_set: The environment's macros, if it has any.
        decisions: Decisions of training so far.
    """
    actions = rows_to_look_at(similarity.n_actions).to(similarity.all_actions.device)
    rows, start = similarity.rows(actions), similarity.start_rows(actions)
    health = {"effective_rank": math.nan} | similarity_health(rows, start, actions)
    figures: dict[str, Any] = {name: health[name] for name in Movement._fields if name in health}
    if macro_set is not None:
        overlap = overlap_rows(macro_set, actions).to(rows)
        figures["distance_from_overlap"] = relative_distance(rows, overlap)
    return Movement(decisions, **figures)


def overlap_rows(macro_set: MacroSet, actions: th.Tensor) -> th.Tensor:
    """Rows of the handcrafted Σ, `OverlapSimilarity`, shape ``(rows, actions)``."""
    weights = th.as_tensor(macro_set.overlap(actions.tolist()), dtype=th.float32) + LEAST_OVERLAP
    weights[th.arange(len(actions)), actions.cpu()] = 0.0
    return weights / weights.sum(dim=1, keepdim=True)


def drawable(n_actions: int) -> NDArray[np.int64]:
    """Actions that pictures show: all, or `DRAWN` of thousands, evenly spread."""
    shown = spread(n_actions, n_actions if n_actions <= ALL_ROWS else DRAWN)
    return cast(NDArray[np.int64], shown.numpy())


def steps_of(name: str) -> tuple[str, ...]:
    """Return the primitives of an action from its name, as `MacroSet.names` writes it.

    For files that do not contain the macros.

    Example:
        >>> steps_of("LEFT×3"), steps_of("RIGHT,NOOP"), steps_of("DOWN+B"), steps_of("7")
        (('LEFT', 'LEFT', 'LEFT'), ('RIGHT', 'NOOP'), ('DOWN+B',), ('7',))
    """
    held = re.fullmatch(r"(.+)×(\d{1,3})", name)
    return (held[1],) * int(held[2]) if held else tuple(name.split(","))
