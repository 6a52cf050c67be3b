"""Atari Grand Challenge: human play of five games, one row per frame (arXiv 1705.10998).

Reads versions 1 and 2, ``<root>/trajectories/<game>/<N>.txt``, and the tab-separated fork that
adds a ``ram_state`` column.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from macro_gym.demonstrations.actions import ALE_ACTIONS, known_game, may_be_of
from macro_gym.demonstrations.columns import Rows, split_rows
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

COLUMNS = ("frame", "reward", "score", "terminal", "action")


def read_atari_grand_challenge(
    path: Path, game: str = "", on_bad: OnBad = refuse
) -> Iterator[Demonstration]:
    """Yield the play of each trajectory, in numerical order.

    Play is cut after a terminal row and where frames are missing. The first row's reward, which
    is wrong in some files, is taken from its score. Steps are frames: ``frameskip`` is 1.

    Args:
        path: The dataset, a game's folder or a trajectory.
        game: The only game to read, and that of play whose path names none; all if empty.
        on_bad: What to do about a malformed file.

    Raises:
        DemonstrationError: A file is malformed, or there is none.
    """
    root = path / "trajectories" if (path / "trajectories").is_dir() else path
    files = files_below(root, r"\d+(-\d+)?\.txt") if path.is_dir() else [path]
    if not files:
        raise DemonstrationError(
            f"{path} holds no trajectories; Atari Grand Challenge keeps them as "
            "trajectories/<game>/<number>.txt"
        )
    wanted = [file for file in files if may_be_of(game, file.parent.name)]
    return from_each(wanted, lambda file: _trajectory(file, game), on_bad)


def _trajectory(path: Path, game: str) -> Iterator[Demonstration]:
    """The play in one file."""
    rows, columns = _rows(path)
    actions = rows.integers(columns["action"], "action", 0, len(ALE_ACTIONS) - 1)
    terminal = np.zeros(len(actions), dtype=np.bool_)
    if "terminal" in columns:
        terminal = rows.flags(columns["terminal"], "terminal")
    starts = after(terminal)
    if "frame" in columns:
        starts |= _gaps(rows, columns["frame"], starts)
    play = Demonstration(
        ALE_ACTIONS,
        actions.astype(np.uint8),
        _rewards(rows, columns),
        known_game(game or path.parent.name),
        frameskip=1,
        source=f"Atari Grand Challenge: {path.parent.name}/{path.name}",
    )
    return pieces(play, starts)


def _rows(path: Path) -> tuple[Rows, dict[str, int]]:
    """The rows of a trajectory, and the index of each column by name."""
    content = bytes_of(path).removeprefix(b"\xef\xbb\xbf")
    # Line 1 is a comment in every version; line 2 names the columns, except in some conversions.
    lines = content.split(b"\n", 2)
    header = next((i for i, line in enumerate(lines[:2]) if b"action" in line.lower()), None)
    if header is None and not (len(lines) > 1 and re.match(rb"\s*\d", lines[1])):
        raise DemonstrationError(
            f"{path}, line 2: {lines[1][:60] if len(lines) > 1 else b''!r} does not name the "
            f"columns of Atari Grand Challenge, {','.join(COLUMNS)}"
        )
    sample = lines[1] if header is None else lines[header]
    delimiter = b"\t" if b"\t" in sample else b","
    names = COLUMNS if header is None else tuple(_name(f) for f in sample.split(delimiter))
    skipped = 1 if header is None else header + 1
    rows = split_rows(
        str(path),
        content.split(b"\n", skipped)[-1] if len(lines) > skipped else b"",
        len(names),
        delimiter=delimiter,
        first_line=skipped + 1,
    )
    columns = {name: number for number, name in enumerate(names)}
    if "action" not in columns:
        raise DemonstrationError(f"{path}, line {skipped}: no column is named action: {names}")
    return rows, columns


def _name(field: bytes) -> str:
    """A column's name as `COLUMNS` spells it."""
    return field.decode("ascii", "backslashreplace").strip().lower()


def _gaps(rows: Rows, field: int, starts: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where frames are missing before a row; raises where they go back within an episode."""
    frames = rows.integers(field, "frame", 0, 2**53)
    ahead = np.diff(frames, prepend=frames[:1] - 1)
    back = (ahead <= 0) & ~starts
    if back.any():
        row = int(np.argmax(back))
        raise rows.refuse(row, f"frame {frames[row]} follows frame {frames[row - 1]}")
    return np.asarray(ahead != 1, dtype=np.bool_)


def _rewards(rows: Rows, columns: dict[str, int]) -> NDArray[np.float32] | None:
    """The reward of each frame, or None without such a column."""
    if "reward" not in columns:
        return None
    rewards = rows.numbers(columns["reward"], "reward")
    if "score" in columns:
        rewards[0] = rows.numbers(columns["score"], "score")[0]
    return rewards.astype(np.float32)
