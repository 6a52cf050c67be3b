"""MacroSet: the actions of a macro environment, in memory and as a file."""

import hashlib
import json
import operator
import os
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from macro_gym.errors import (
    ActionSpaceError,
    ArgumentTypeError,
    InvalidMacroError,
    MacroSetFileError,
    MissingFileError,
    RemapError,
)
from macro_gym.files import replacing

SHOWN = 20
"""Maximum number of names listed in an error."""

SCHEMA = 1

ROWS_AT_ONCE = 32
"""Actions whose overlap is computed together, so that intermediate results fit into a cache."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Origin of a set's macros.

    Args:
        source: The play they were mined from, in words.
        method: How they were mined, in enough words to repeat it.
        game: The game played, as in ``ALE/<game>-v5``; empty if none.
        frameskip: Frames per primitive in that play; 0 if unknown or if there is no emulator.
        steps: Number of primitives in that play.
        scores: Score of each stretch of play.
        version: Version of macro-gym that mined them.
    """

    source: str = ""
    method: str = ""
    game: str = ""
    frameskip: int = 0
    steps: int = 0
    scores: tuple[float, ...] = ()
    version: str = ""

    def __post_init__(self) -> None:
        """Accept any sequence of numbers as scores."""
        object.__setattr__(self, "scores", tuple(float(score) for score in self.scores))


@dataclass(frozen=True, slots=True)
class MacroSet:
    """Discrete actions: the primitives first, then ``macros`` in order.

    Args:
        primitives: Names of the wrapped environment's actions, in order.
        macros: Each macro as indices into ``primitives``, most frequent macro first.
        counts: Number of occurrences of each macro; zeros if omitted.
        provenance: Where the macros come from.

    Raises:
        InvalidMacroError: Names are missing or repeated; a macro is empty, repeated or refers to an
            action that does not exist; counts do not match the macros.

    Example:
        >>> macros = MacroSet(("NOOP", "LEFT", "RIGHT"), ((1, 1, 1, 1), (2, 0)))
        >>> macros.names
        ('NOOP', 'LEFT', 'RIGHT', 'LEFT×4', 'RIGHT,NOOP')
        >>> macros.expand(3)
        (1, 1, 1, 1)
    """

    primitives: tuple[str, ...]
    macros: tuple[tuple[int, ...], ...] = ()
    counts: tuple[int, ...] = ()
    provenance: Provenance = Provenance()

    def __post_init__(self) -> None:
        """Normalise the sequences and validate the set."""
        _require_names(self.primitives)
        macros = tuple(
            _checked_macro(index, macro, len(self.primitives))
            for index, macro in enumerate(self.macros)
        )
        _require_distinct(macros)
        object.__setattr__(self, "primitives", tuple(self.primitives))
        object.__setattr__(self, "macros", macros)
        object.__setattr__(self, "counts", _checked_counts(self.counts, len(macros)))

    @property
    def n_actions(self) -> int:
        """Number of actions: primitives and macros."""
        return len(self.primitives) + len(self.macros)

    @property
    def max_length(self) -> int:
        """Primitives in the longest action."""
        return max((len(macro) for macro in self.macros), default=1)

    @property
    def names(self) -> tuple[str, ...]:
        """A readable name of every action: ``"LEFT"``, ``"LEFT×4"``, ``"RIGHT,NOOP"``."""
        return self.primitives + tuple(self._name(macro) for macro in self.macros)

    @property
    def hash(self) -> str:
        """SHA-256 of what the action indices mean: the names and the macros, nothing else."""
        return _digest({"primitives": self.primitives, "macros": self.macros})

    def expand(self, action: SupportsIndex) -> tuple[int, ...]:
        """Return the primitives that ``action`` runs, first to last.

        Raises:
            ActionSpaceError: There is no such action.
            ArgumentTypeError: It is not an integer, nor an array of one.
        """
        index = _as_int(action)
        if not 0 <= index < self.n_actions:
            raise ActionSpaceError(
                f"action is {index}, but the set has actions 0..{self.n_actions - 1}: "
                f"{len(self.primitives)} primitives and {len(self.macros)} macros"
            )
        if index < len(self.primitives):
            return (index,)
        return self.macros[index - len(self.primitives)]

    def top(self, k: int) -> "MacroSet":
        """Return the set with only its first ``k`` macros.

        Raises:
            InvalidMacroError: The set has fewer than ``k`` macros, or ``k`` is negative.
            ArgumentTypeError: ``k`` is not an integer.
        """
        if isinstance(k, bool) or not isinstance(k, (int, np.integer)):
            raise ArgumentTypeError(f"k is {k!r}; it is how many macros to keep, an integer")
        if not 0 <= k <= len(self.macros):
            advice = ". Mine more play, or longer macros, for more." if k > 0 else ""
            raise InvalidMacroError(
                f"k is {k}, but this set has {len(self.macros)} macros"
                f"{self._of_game()}; k may be 0..{len(self.macros)}{advice}"
            )
        return replace(self, macros=self.macros[:k], counts=self.counts[:k])

    def remap(self, names: Sequence[str]) -> "MacroSet":
        """Return the same macros as indices into another action set, matched by name.

        Args:
            names: The other action set's names, in its order.

        Raises:
            RemapError: A macro needs a primitive that ``names`` lacks.
        """
        index = {name: position for position, name in enumerate(names)}
        used = sorted({primitive for macro in self.macros for primitive in macro})
        lost = [
            self.primitives[primitive]
            for primitive in used
            if self.primitives[primitive] not in index
        ]
        if lost:
            hit = sum(any(self.primitives[p] in lost for p in macro) for macro in self.macros)
            raise RemapError(
                f"{hit} of {len(self.macros)} macros{self._of_game()} need {', '.join(lost)}, "
                f"but the other action set has only {_some(names)}. Is the set for another game, "
                "or was it mined with more actions? Then build the environment with them too: "
                "full_action_space=True on Atari, other buttons on consoles."
            )
        macros = tuple(
            tuple(index[self.primitives[primitive]] for primitive in macro) for macro in self.macros
        )
        return replace(self, primitives=tuple(names), macros=macros)

    def with_noise(self, n: int, rng: np.random.Generator) -> "MacroSet":
        """Append ``n`` random macros whose lengths are distributed like those of the set.

        The robustness test of arXiv 2506.13690: irrelevant macros among the mined ones. A length
        whose sequences are all in the set is exhausted; its draws go to the other lengths, in
        proportion.

        Args:
            n: Number of macros to add; their counts are zero.
            rng: Source of randomness.

        Raises:
            InvalidMacroError: ``n`` is negative, the set has no macro to copy a length from, or
                there are fewer than ``n`` unused sequences of those lengths.
        """
        if n < 0:
            raise InvalidMacroError(f"n is {n}: negative; it is how many macros to add")
        lengths = [len(macro) for macro in self.macros]
        if n and not lengths:
            raise InvalidMacroError("with_noise copies the lengths of macros, but the set has none")
        known = set(self.macros)
        free = {
            length: len(self.primitives) ** length - lengths.count(length)
            for length in set(lengths)
        }
        if sum(free.values()) < n:
            raise InvalidMacroError(
                f"only {sum(free.values())} of {n} random macros can be had that are not in the "
                f"set yet: {len(self.primitives)} primitives in lengths "
                f"{min(lengths)}..{max(lengths)} leave too few sequences"
            )
        noise: list[tuple[int, ...]] = []
        for _ in range(n):
            size = int(rng.choice([length for length in lengths if free[length]]))
            macro = self._unknown(size, known, rng)
            free[size] -= 1
            known.add(macro)
            noise.append(macro)
        return replace(self, macros=self.macros + tuple(noise), counts=self.counts + (0,) * n)

    def overlap(self, actions: Sequence[int] | None = None) -> NDArray[np.float64]:
        """Handcrafted similarity of actions by the primitives they share in order.

        Twice the length of the longest common subsequence over the sum of both lengths: 1 for an
        action with itself, 0 for actions that share no primitive.

        Args:
            actions: Actions whose rows to compute; all if None.

        Returns:
            Similarities, shape ``(actions, actions)``, symmetric, within 0..1; or the chosen rows.
        """
        width = self.max_length
        tokens = np.full((self.n_actions, width), -1)
        lengths = np.empty(self.n_actions)
        for action in range(self.n_actions):
            sequence = self.expand(action)
            tokens[action, : len(sequence)] = sequence
            lengths[action] = len(sequence)
        rows = np.arange(self.n_actions) if actions is None else np.asarray(actions)
        shared = np.empty((len(rows), self.n_actions))
        for begin in range(0, len(rows), ROWS_AT_ONCE):
            some = rows[begin : begin + ROWS_AT_ONCE]
            both = lengths[some, None] + lengths
            shared[begin : begin + len(some)] = 2 * _common_lengths(tokens[some], tokens) / both
        return shared

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the set as JSON, atomically."""
        content = self._content()
        entries = content | {"sha256": _digest(content)}
        lines = (f"{json.dumps(key)}: {json.dumps(value)}" for key, value in entries.items())
        with replacing(path) as file:
            file.write(("{\n" + ",\n".join(lines) + "\n}\n").encode())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "MacroSet":
        """Read a set written by `save`.

        Raises:
            MacroSetFileError: The file is truncated, edited, not a macro set, or of another
                schema version.
            MissingFileError: There is no such file.
        """
        content = _parsed(Path(path))
        digest = content.pop("sha256", None)
        if digest != _digest(content):
            raise MacroSetFileError(
                f"{path}: the content does not have the hash that the file states "
                f"({digest}); it was edited or damaged. Macro sets are written by MacroSet.save."
            )
        return cls(
            tuple(content["primitives"]),
            tuple(tuple(macro) for macro in content["macros"]),
            tuple(content["counts"]),
            Provenance(**content["provenance"]),
        )

    def _content(self) -> dict[str, Any]:
        """The file's content, without its hash."""
        return {
            "schema": SCHEMA,
            "primitives": self.primitives,
            "macros": self.macros,
            "counts": self.counts,
            "provenance": asdict(self.provenance),
        }

    def _name(self, macro: tuple[int, ...]) -> str:
        """``LEFT×4`` for a held primitive, else the names in order."""
        if len(macro) > 1 and len(set(macro)) == 1:
            return f"{self.primitives[macro[0]]}×{len(macro)}"
        return ",".join(self.primitives[primitive] for primitive in macro)

    def _unknown(
        self, length: int, known: Collection[tuple[int, ...]], rng: np.random.Generator
    ) -> tuple[int, ...]:
        """A random sequence that is not in ``known``; there must be one."""
        while True:
            macro = tuple(rng.integers(len(self.primitives), size=length).tolist())
            if macro not in known:
                return macro

    def _of_game(self) -> str:
        """The game, for error messages: `` of Breakout`` or nothing."""
        return f" of {self.provenance.game}" if self.provenance.game else ""


def _as_int(action: SupportsIndex) -> int:
    """``action`` as an int, never rounded."""
    only = action.item() if isinstance(action, np.ndarray) and action.size == 1 else action
    try:
        return operator.index(only)
    except TypeError as error:
        raise ArgumentTypeError(f"action is {action!r}; it must be an integer") from error


def _require_names(primitives: Sequence[str]) -> None:
    """Raise if action names are missing, repeated or not strings."""
    if isinstance(primitives, str) or not all(isinstance(name, str) for name in primitives):
        raise InvalidMacroError(f"primitives must be a sequence of names, not {primitives!r}")
    if not primitives:
        raise InvalidMacroError("primitives is empty: an environment has at least one action")
    repeated = sorted(name for name, times in Counter(primitives).items() if times > 1)
    if repeated:
        raise InvalidMacroError(f"primitives repeats {', '.join(repeated)}; names must be unique")


def _checked_macro(index: int, macro: Sequence[int], n_primitives: int) -> tuple[int, ...]:
    """``macro`` as a tuple of ints, all valid primitives."""
    if len(macro) == 0:
        raise InvalidMacroError(f"macros[{index}] is empty; a macro runs at least one primitive")
    for position, primitive in enumerate(macro):
        if isinstance(primitive, bool) or not isinstance(primitive, (int, np.integer)):
            raise InvalidMacroError(
                f"macros[{index}][{position}] is {primitive!r}, not an index of a primitive"
            )
        if not 0 <= primitive < n_primitives:
            raise InvalidMacroError(
                f"macros[{index}][{position}] is {primitive}, but the actions are "
                f"0..{n_primitives - 1}. Were the demonstrations recorded with the full action "
                "set? Then use full_action_space=True, or remap the set by name."
            )
    return tuple(int(primitive) for primitive in macro)


def _require_distinct(macros: Sequence[tuple[int, ...]]) -> None:
    """Raise if two macros are the same sequence."""
    first: dict[tuple[int, ...], int] = {}
    for index, macro in enumerate(macros):
        if first.setdefault(macro, index) != index:
            raise InvalidMacroError(
                f"macros[{index}] repeats macros[{first[macro]}]: {macro}; each may appear once"
            )


def _checked_counts(counts: Sequence[int], n_macros: int) -> tuple[int, ...]:
    """``counts`` as a tuple of ints, one per macro; zeros if there are none."""
    if len(counts) == 0:
        return (0,) * n_macros
    if len(counts) != n_macros:
        raise InvalidMacroError(f"{len(counts)} counts for {n_macros} macros; give one for each")
    if min(counts) < 0:
        raise InvalidMacroError(
            f"counts[{list(counts).index(min(counts))}] is {min(counts)}: negative"
        )
    return tuple(int(count) for count in counts)


def _common_lengths(these: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.uint]:
    """Length of the longest common subsequence of each of these rows with each of the others.

    The textbook algorithm. All rows have the same width; -1 is padding and matches nothing.
    """
    width = others.shape[1]
    smallest = np.min_scalar_type(width)  # the time goes into passes over memory
    previous = np.zeros((width + 1, len(these), len(others)), smallest)
    for i in range(width):
        current = np.zeros_like(previous)
        token = np.where(these[:, i] < 0, -2, these[:, i])[:, None]
        for j in range(width):
            # On a match, extending both prefixes is never worse than dropping either token.
            with_both = previous[j] + (token == others[:, j]).astype(smallest)
            np.maximum(previous[j + 1], current[j], out=current[j + 1])
            np.maximum(current[j + 1], with_both, out=current[j + 1])
        previous = current
    return previous[width]


def _digest(content: dict[str, Any]) -> str:
    """SHA-256 of the canonical JSON of ``content``."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _some(names: Sequence[str]) -> str:
    """Names, shortened if they are many."""
    few = ", ".join(names[:SHOWN])
    return few if len(names) <= SHOWN else f"{few}, ... ({len(names)} in all)"


def _parsed(path: Path) -> dict[str, Any]:
    """The JSON object in ``path``, checked to be of this schema."""
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, IsADirectoryError) as error:
        raise MissingFileError(
            f"there is no macro-set file {path}; MacroSet.save and `macro-gym extract` write them, "
            "and a game's shipped bank is used where no macros are given"
        ) from error
    except ValueError as error:
        raise MacroSetFileError(
            f"{path} is not a whole JSON file ({error}); was it cut short while copying?"
        ) from error
    if not isinstance(content, dict) or "schema" not in content:
        raise MacroSetFileError(f"{path} is JSON but not a macro set: it has no schema version")
    if content["schema"] != SCHEMA:
        raise MacroSetFileError(
            f"{path} has schema version {content['schema']}; this macro-gym reads {SCHEMA}"
        )
    return content
