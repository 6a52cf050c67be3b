"""IndexedPlay: demonstrations of one action set, ready for counting."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from macro_gym.demonstrations.demonstration import Demonstration
from macro_gym.errors import DemonstrationError, InvalidMacroError, RemapError
from macro_gym.extraction.settings import ExtractionSettings
from macro_gym.macro_set import Provenance

Actions = NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class IndexedPlay:
    """Demonstrations as indices into the same primitives.

    Args:
        primitives: Names of the actions.
        sequences: Indices into ``primitives``, one array of shape ``(steps,)`` per demonstration,
            of the smallest unsigned type.
        weights: How often each demonstration counts.
        demonstrations: The demonstrations behind the sequences.
        settings: The settings of the extraction.
    """

    primitives: tuple[str, ...]
    sequences: tuple[Actions, ...]
    weights: tuple[int, ...]
    demonstrations: Sequence[Demonstration]
    settings: ExtractionSettings

    @classmethod
    def of(
        cls, demonstrations: Sequence[Demonstration], settings: ExtractionSettings
    ) -> "IndexedPlay":
        """Index ``demonstrations`` by name, if they can be counted together.

        Raises:
            DemonstrationError: No demonstration is given, frameskips differ or are not the one
                required, or there is not one weight for each demonstration.
            RemapError: A demonstration uses an action that ``settings.primitives`` lacks.
        """
        _require_comparable(demonstrations, settings)
        names = demonstrations[0].primitives if settings.primitives is None else settings.primitives
        return cls(
            tuple(names),
            tuple(_indexed(demonstration, tuple(names)) for demonstration in demonstrations),
            settings.weights or (1,) * len(demonstrations),
            demonstrations,
            settings,
        )

    @property
    def steps(self) -> int:
        """Steps of play, each counted once whatever its weight."""
        return sum(map(len, self.sequences))

    def batches(self, steps: int) -> Iterator[tuple[list[Actions], int]]:
        """The sequences, in order, in lists of one weight and about ``steps`` steps."""
        batch: list[Actions] = []
        held = 0
        for index, (sequence, weight) in enumerate(zip(self.sequences, self.weights, strict=True)):
            batch.append(sequence)
            held += len(sequence)
            if held >= steps or self.weights[index + 1 : index + 2] != (weight,):
                yield batch, weight
                batch, held = [], 0

    def require_enough(self, found: int) -> None:
        """Raise if fewer macros were found than requested.

        Raises:
            InvalidMacroError: ``found`` is below ``settings.k``.
        """
        settings = self.settings
        if settings.k > found:
            often = f" at least {settings.min_count} times" if settings.min_count > 1 else ""
            raise InvalidMacroError(
                f"k is {settings.k}, but the {self.steps} steps of play given hold{often} only "
                f"{found} distinct sequences of length {settings.lengths}. "
                "Give more play, or a larger max_length."
            )

    def provenance(self, method: str) -> Provenance:
        """Provenance of macros mined from this play with ``method``."""
        play = self.demonstrations
        return Provenance(
            source="; ".join(sorted({demonstration.source for demonstration in play} - {""})),
            method=method + self.settings.restrictions,
            game=", ".join(sorted({demonstration.game for demonstration in play} - {""})),
            frameskip=play[0].frameskip,
            steps=self.steps,
            scores=tuple(
                demonstration.score for demonstration in play if demonstration.rewards is not None
            ),
            version=version("macro-gym"),
        )


def separated(sequences: Sequence[Actions]) -> NDArray[np.int32]:
    """The sequences concatenated, each followed by -1, shape ``(steps + sequences,)``."""
    stream: NDArray[np.int32] = np.full(sum(map(len, sequences)) + len(sequences), -1, np.int32)
    start = 0
    for sequence in sequences:
        stream[start : start + len(sequence)] = sequence
        start += len(sequence) + 1
    return stream


def _indexed(demonstration: Demonstration, names: tuple[str, ...]) -> Actions:
    """The demonstration's actions as indices into ``names``."""
    index = {name: position for position, name in enumerate(names)}
    actions = np.asarray(demonstration.actions)
    known = np.array([name in index for name in demonstration.primitives])
    dtype = np.min_scalar_type(len(names))
    table = np.array([index.get(name, 0) for name in demonstration.primitives], dtype=dtype)
    used = np.flatnonzero(np.bincount(actions, minlength=len(known)))
    lost = [demonstration.primitives[action] for action in used if not known[action]]
    if lost:
        raise RemapError(
            f"a demonstration ({demonstration.source or 'of unknown source'}) uses "
            f"{', '.join(lost)}, but the primitives are {', '.join(names)}. "
            "Name the action set to index with primitives=..."
        )
    return table[actions]


def _require_comparable(play: Sequence[Demonstration], settings: ExtractionSettings) -> None:
    """Raise if there is no play, if step durations differ or if the weights do not match."""
    if not play:
        raise DemonstrationError("there are no demonstrations to mine")
    frameskips = sorted({demonstration.frameskip for demonstration in play})
    if len(frameskips) > 1:
        raise DemonstrationError(
            f"the demonstrations' frameskips differ: {', '.join(map(str, frameskips))}. The same "
            "sequence then lasts different times; mine each frameskip by itself"
        )
    if settings.frameskip is not None and frameskips != [settings.frameskip]:
        raise DemonstrationError(
            f"the demonstrations' frameskip is {frameskips[0] or '0 (unknown)'}, but "
            f"{settings.frameskip} was asked for. A macro lasts as long as in the play that it was "
            "mined from only at the same frameskip"
        )
    if settings.weights and len(settings.weights) != len(play):
        raise DemonstrationError(
            f"{len(settings.weights)} weights for {len(play)} demonstrations; give one for each"
        )
