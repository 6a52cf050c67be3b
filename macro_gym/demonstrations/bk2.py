"""Movies of stable-retro, ``.bk2``: the buttons of each frame, read without a ROM."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from macro_gym.demonstrations.demonstration import Demonstration
from macro_gym.demonstrations.reading import (
    OnBad,
    files_below,
    from_each,
    refuse,
    zip_member,
    zip_members,
)
from macro_gym.errors import DemonstrationError

MEMBERS = ("Header.txt", "Input Log.txt", "Core.bin")
SYSTEMS = {"GEN": "Genesis", "SNES": "Snes", "NES": "Nes", "A26": "Atari2600"}
DIRECTIONS = ("UP", "DOWN", "LEFT", "RIGHT")


def read_bk2(path: Path, game: str = "", on_bad: OnBad = refuse) -> Iterator[Demonstration]:
    """Yield the play of each player of each movie, in order of name.

    An action is the combination of buttons held, as in ``DOWN+RIGHT+B`` (directions first, then
    buttons in the console's order), and ``NOOP`` for none. The first row, which sets the game
    up, is left out, so that step i is the i-th ``env.step``. Steps are frames: ``frameskip`` is
    1. Rewards are unknown: movies do not hold them.

    Args:
        path: A movie, or a folder of them at any depth.
        game: The one game to read, with or without ``-v0``; all if empty.
        on_bad: What to do about a movie that is malformed.

    Raises:
        DemonstrationError: A movie is malformed or from BizHawk itself, or there is none.
    """
    files = files_below(path, r".*\.bk2") if path.is_dir() else [path]
    if not files:
        raise DemonstrationError(f"{path} holds no movies (.bk2)")
    return from_each(files, lambda file: _movie(file, game), on_bad)


def combination(buttons: list[str]) -> str:
    """Return the name of buttons held together.

    Example:
        >>> combination(["B", "DOWN", "RIGHT"]), combination([])
        ('DOWN+RIGHT+B', 'NOOP')
    """
    directions = [button for button in DIRECTIONS if button in buttons]
    others = [button for button in buttons if button not in DIRECTIONS]
    return "+".join(directions + others) or "NOOP"


def _movie(path: Path, game: str) -> Iterator[Demonstration]:
    """The play of one movie, player by player."""
    import stable_retro

    if missing := sorted(set(MEMBERS) - set(zip_members(path))):
        raise DemonstrationError(f"{path} is no movie of stable-retro: it lacks {missing[0]}")
    header = _text(path, "Header.txt")
    system = _system(path, header)
    pressed = _pressed(path, _text(path, "Input Log.txt"))
    zip_member(path, "Core.bin")
    try:
        movie = stable_retro.Movie(str(path))
    except (RuntimeError, ValueError) as error:
        raise DemonstrationError(f"{path} cannot be read by stable-retro: {error}") from error
    buttons = stable_retro.get_system_info(system)["buttons"]
    keys = _keys(movie, len(buttons))
    counted = keys.sum(axis=(1, 2))
    if counted.shape != pressed.shape or (counted != pressed).any():
        raise DemonstrationError(
            f"{path}: stable-retro does not read from it the keys that are written in it; are "
            f"they those of the {system}?"
        )
    # Not from Movie.get_game, which fails on names that are not UTF-8.
    named = _full_name(_fields(header).get("GameName", ""))
    if game and _full_name(game) != named:
        return
    for player in range(movie.players):
        source = f"movie {path.name}, player {player + 1} of {movie.players}"
        primitives, actions = _combinations(keys[1:, player], buttons)
        yield Demonstration(primitives, actions, None, named, 1, source)


def _text(path: Path, member: str) -> str:
    """A text in a movie."""
    return zip_member(path, member).decode("latin-1").replace("\r\n", "\n")


def _fields(header: str) -> dict[str, str]:
    """What the header states, by name."""
    pairs = (line.partition(" ") for line in header.splitlines())
    return {name: value.strip() for name, _, value in pairs}


def _system(path: Path, header: str) -> str:
    """The console that the header names."""
    platform = _fields(header).get("Platform", "")
    if platform not in SYSTEMS:
        raise DemonstrationError(
            f"{path}: Platform is {platform!r} in Header.txt; it must be one of "
            f"{', '.join(SYSTEMS)}"
        )
    return SYSTEMS[platform]


def _pressed(path: Path, log: str) -> NDArray[np.int64]:
    """How many keys are held in each frame of a well-formed log, shape ``(frames,)``."""
    lines = log.rstrip("\n").split("\n")
    if any(line.startswith("LogKey:") for line in lines[:4]):
        raise DemonstrationError(
            f"{path}: its LogKey: line says that BizHawk wrote it, whose own movies stable-retro "
            "cannot read. Record the play with stable-retro (make(..., record=FOLDER)) instead"
        )
    if len(lines) < 4 or lines[0] != "[Input]" or lines[-1] != "[/Input]":
        raise DemonstrationError(
            f"{path}: Input Log.txt must hold [Input], a line of keys, rows and [/Input]; "
            "was the movie closed, and copied whole?"
        )
    widths = [len(re.findall(rf"P{player} [^|]+\|", lines[1])) for player in (1, 2)]
    groups = "".join(rf"[.A-Za-z0-9]{{{width}}}\|" for width in widths if width)
    row = re.compile(rf"\|\.\.\|{groups}")
    for number, line in enumerate(lines[2:-1], start=3):
        if not groups or not row.fullmatch(line):
            raise DemonstrationError(
                f"{path}, Input Log.txt, line {number}: {line[:60]!r} does not fit the keys of "
                f"line 2, {lines[1][:120]!r}, or presses reset or power"
            )
    held = [len(line) - line.count("|") - line.count(".") for line in lines[2:-1]]
    return np.array(held, dtype=np.int64)


def _keys(movie: Any, n_buttons: int) -> NDArray[np.bool_]:
    """Which buttons each player holds, shape ``(frames, players, buttons)``."""
    frames = []
    while movie.step():
        frames.append(
            [
                [movie.get_key(button, player) for button in range(n_buttons)]
                for player in range(movie.players)
            ]
        )
    return np.array(frames, dtype=np.bool_).reshape(len(frames), movie.players, n_buttons)


def _combinations(
    keys: NDArray[np.bool_], buttons: list[str | None]
) -> tuple[tuple[str, ...], NDArray[np.uint8]]:
    """The combinations that occur, NOOP first, and which one each step is."""
    codes = keys @ (1 << np.arange(len(buttons), dtype=np.int64))
    distinct, actions = np.unique(np.append(0, codes), return_inverse=True)
    names = tuple(
        combination([name or f"B{i}" for i, name in enumerate(buttons) if code >> i & 1])
        for code in distinct.tolist()
    )
    return names, actions[1:].astype(np.min_scalar_type(len(names)))


def _full_name(game: str) -> str:
    """A game's id with its version: old movies name it without."""
    return game if not game or re.search(r"-v\d+$", game) else f"{game}-v0"
