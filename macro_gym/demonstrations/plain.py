"""Reader of plain files of actions: our own recordings (``.npz``), other ``.npz``, and ``.csv``."""

import csv
import io
from collections.abc import Container, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from macro_gym.demonstrations.actions import ALE_ACTIONS, atari_actions, known_game
from macro_gym.demonstrations.columns import LARGEST
from macro_gym.demonstrations.demonstration import Demonstration
from macro_gym.demonstrations.reading import (
    OnBad,
    after,
    bytes_of,
    files_below,
    from_each,
    pieces,
    refuse,
)
from macro_gym.errors import DemonstrationError

ENDS = ("terminal", "done", "terminated", "truncated", "timeout", "termination", "truncation")
"""Names that mark an episode's last step, with or without a final s."""

TRUE, FALSE = ("1", "true"), ("0", "false", "")
MOST_ACTIONS = 2**16


def read_plain(path: Path, game: str = "", on_bad: OnBad = refuse) -> Iterator[Demonstration]:
    """Yield the play of each file, in order of name.

    - Files written by `Demonstration.save` are read as they are.
    - Other ``.npz`` files hold ``actions`` and optionally ``rewards``, ``terminals``,
      ``episode_starts`` (as in Stable-Baselines' own recordings) and ``primitives``, the actions'
      names.
    - A ``.csv`` names its columns in its first line: ``action``, and optionally ``reward``,
      ``terminal`` and ``episode``; others are ignored. Actions are all indices or all names.

    The end of an episode may also be marked by columns or arrays named ``done``, ``terminated``,
    ``truncated``, ``timeout``, ``termination`` or ``truncation``, with or without a final s, alone
    or together.

    Indices without names refer to the game's minimal set; without a game they are their own names.
    The frameskip of files that are not our own is unknown (0).

    Args:
        path: A file, or a folder of files at any depth.
        game: The game, for files that do not name it.
        on_bad: What to do about a malformed file.

    Raises:
        DemonstrationError: A file is malformed, or there is none.
        FileNotFoundError: There is no such file.
    """
    files = files_below(path, r".*\.(npz|csv)") if path.is_dir() else [path]
    if not files:
        raise DemonstrationError(
            f"{path} holds no play (.npz); `macro-gym plan GAME --output {path}` makes some"
        )
    return from_each(files, lambda file: _play(file, game), on_bad)


def _play(path: Path, game: str) -> Iterator[Demonstration]:
    """The play in one file."""
    return _csv(path, game) if path.suffix == ".csv" else _npz(path, game)


def _npz(path: Path, game: str) -> Iterator[Demonstration]:
    """The play in a ``.npz``, our own or other."""
    arrays = _arrays(path)
    if "about" in arrays or "actions" not in arrays:
        yield Demonstration.load(path)
        return
    actions = _column(path, arrays, "actions", "iu")
    steps = len(actions)
    rewards = _column(path, arrays, "rewards", "iuf", steps) if "rewards" in arrays else None
    starts = np.zeros(steps, dtype=np.bool_)
    for name in _ends_among(arrays):
        starts |= after(_column(path, arrays, name, "iufb", steps) != 0)
    if "episode_starts" in arrays:
        starts |= _column(path, arrays, "episode_starts", "iufb", steps) != 0
    names: Sequence[str] = ()
    if "primitives" in arrays:
        names = _column(path, arrays, "primitives", "U").tolist()
    yield from pieces(_demonstration(path, actions, names, rewards, game), starts)


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays in a ``.npz``, except observations."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            wanted = set(archive.files) - {"obs", "observations"}
            return {name: archive[name] for name in sorted(wanted)}
    except FileNotFoundError:
        raise
    except Exception as error:  # numpy, zipfile and zlib raise a dozen kinds for a bad file
        raise DemonstrationError(f"{path} is not a whole demonstration: {error}") from error


def _column(
    path: Path, arrays: dict[str, NDArray[Any]], name: str, kinds: str, steps: int | None = None
) -> NDArray[Any]:
    """An array of shape ``(steps,)`` or ``(steps, 1)``, of one of NumPy's type ``kinds``."""
    array = arrays[name]
    flat = array.reshape(len(array)) if array.ndim and array.size == len(array) else array
    finite = array.dtype.kind not in "fiu" or (np.abs(array.astype(np.float64)) < LARGEST).all()
    if flat.ndim != 1 or array.dtype.kind not in kinds or not finite:
        raise DemonstrationError(
            f"{path}: {name} is an array of {array.dtype} of shape {array.shape}; it must be "
            f"finite, one entry a step, of a type among NumPy's kinds {kinds!r}"
        )
    if steps is not None and len(flat) != steps:
        raise DemonstrationError(f"{path}: {len(flat)} {name} for {steps} actions")
    return flat


def _csv(path: Path, game: str) -> Iterator[Demonstration]:
    """The play in a ``.csv``."""
    rows, lines = _rows(path)
    written = [row["action"] for row in rows]
    numbers = [_integer(text) for text in written]
    if all(number is not None for number in numbers):
        names: Sequence[str] = ()
        indices = np.array(numbers, dtype=np.int64)
    else:
        names = _names_among(path, written, lines)
        indices = np.array([names.index(text) for text in written], dtype=np.int64)
    rewards = None
    if "reward" in rows[0]:
        rewards = np.array([_reward(path, *pair) for pair in zip(rows, lines, strict=True)])
    starts = np.zeros(len(rows), dtype=np.bool_)
    for name in _ends_among(rows[0]):
        ends = [_flag(path, name, row[name], n) for row, n in zip(rows, lines, strict=True)]
        starts |= after(np.array(ends, dtype=np.bool_))
    if "episode" in rows[0]:
        episodes = [row["episode"] for row in rows]
        changed = [old != new for old, new in pairwise(episodes)]
        starts[1:] |= np.array(changed, dtype=np.bool_)
    yield from pieces(_demonstration(path, indices, names, rewards, game), starts)


def _rows(path: Path) -> tuple[list[dict[str, str]], list[int]]:
    """The rows by column, stripped, and the line number of each."""
    try:
        reader = csv.reader(io.StringIO(bytes_of(path).decode("utf-8-sig"), newline=""))
        header = [name.strip().lower() for name in next(reader, [])]
        found = [(reader.line_num, row) for row in reader if row]
    except (csv.Error, UnicodeDecodeError) as error:
        raise DemonstrationError(f"{path} is not a table in UTF-8: {error}") from error
    if "action" not in header:
        raise DemonstrationError(f"{path}, line 1: no column is named action: {header}")
    if not found:
        raise DemonstrationError(f"{path} holds no rows; was it cut short while copying?")
    for line, row in found:
        if len(row) != len(header):
            raise DemonstrationError(
                f"{path}, line {line}: {len(row)} fields where {len(header)} are due"
            )
    rows = [dict(zip(header, map(str.strip, row), strict=True)) for _, row in found]
    return rows, [line for line, _ in found]


def _names_among(path: Path, written: list[str], lines: list[int]) -> tuple[str, ...]:
    """The action set that the names in a table belong to."""
    for text, line in zip(written, lines, strict=True):
        if not text or _is_number(text) or text.lower() in ("null", "none"):
            raise DemonstrationError(
                f"{path}, line {line}: action is {text!r}; actions must be all names or all "
                "indices, which are whole numbers without a point"
            )
    distinct = set(written)
    return ALE_ACTIONS if distinct <= set(ALE_ACTIONS) else tuple(sorted(distinct))


def _integer(text: str) -> int | None:
    """``text`` as an index, or None if it is not one."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


def _is_number(text: str) -> bool:
    """Whether ``text`` is a number, or ``nan``."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _reward(path: Path, row: dict[str, str], line: int) -> float:
    """A row's reward."""
    try:
        reward = float(row["reward"])
    except ValueError:
        reward = float("nan")
    if not abs(reward) < LARGEST:
        raise DemonstrationError(f"{path}, line {line}: reward is {row['reward']!r}, no number")
    return reward


def _ends_among(names: Container[str]) -> list[str]:
    """The names that mark an episode's last step."""
    return [name for end in ENDS for name in (end, f"{end}s") if name in names]


def _flag(path: Path, name: str, text: str, line: int) -> bool:
    """Whether a row ends an episode."""
    if text.lower() not in TRUE + FALSE:
        raise DemonstrationError(f"{path}, line {line}: {name} is {text!r}, not 0/1, True/False")
    return text.lower() in TRUE


def _demonstration(
    path: Path,
    actions: NDArray[Any],
    names: Sequence[str],
    rewards: NDArray[Any] | None,
    game: str,
) -> Demonstration:
    """The play of a whole file; the file, its game's action set or the indices name actions."""
    if not actions.size:
        raise DemonstrationError(f"{path} holds no actions")
    least, most = int(actions.min()), int(actions.max())
    if not names:
        if not 0 <= least <= most < MOST_ACTIONS:
            raise DemonstrationError(f"{path}: actions range over {least}..{most}, no indices")
        counted = tuple(str(action) for action in range(most + 1))
        names = atari_actions(game) if game else counted
    if not 0 <= least <= most < len(names):
        raise DemonstrationError(
            f"{path}: actions range over {least}..{most}, but there are {len(names)}: "
            f"{', '.join(names)}"
        )
    return Demonstration(
        tuple(names),
        actions.astype(np.min_scalar_type(len(names))),
        None if rewards is None else rewards.astype(np.float32),
        known_game(game) or game,
        0,
        f"file {path.name}",
    )
