"""stable-retro's movies (.bk2) as values: the buttons held in each frame."""

import json
import re
import zipfile
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from macro_gym.buttons import DIRECTIONS, Buttons, combination
from macro_gym.demonstrations.reading import zip_member, zip_members
from macro_gym.demonstrations.storing import keep
from macro_gym.errors import DemonstrationError

MEMBERS = ("Header.txt", "Input Log.txt", "Core.bin")
CHECKS = "Checks.json"
PLATFORMS = {"GEN": "Genesis", "SNES": "Snes", "NES": "Nes", "A26": "Atari2600"}
"""Consoles that the header names differently than stable-retro does."""

WRITTEN = frozenset((*DIRECTIONS, *"ABCXYZLR", "START", "SELECT", "MODE", "BUTTON"))
"""Buttons that stable-retro writes to movies; it leaves out all others."""


@dataclass(frozen=True, slots=True, eq=False)
class Movie:
    """A savestate and the buttons held in each frame after it.

    Args:
        game: The game, as in ``Airstriker-Genesis-v0``.
        buttons: The console's buttons, in order; None for a slot without a button.
        held: Whether each player holds each button, shape ``(frames, players, buttons)``. The first
            frame sets the game up, and belongs to no step of an environment.
        state: The emulator's savestate before that frame.
    """

    game: str
    buttons: Buttons
    held: NDArray[np.bool_]
    state: bytes

    @property
    def players(self) -> int:
        """Number of players."""
        return int(self.held.shape[1])

    def combinations(self, player: int) -> tuple[tuple[str, ...], NDArray[np.uint8]]:
        """Return a player's combinations, NOOP first, and the one held in each frame.

        Args:
            player: The player, from 0.

        Returns:
            Names of the combinations that occur, and indices into them, shape ``(frames - 1,)``;
            the set-up frame is left out.
        """
        codes = self.held[1:, player] @ (1 << np.arange(len(self.buttons), dtype=np.int64))
        distinct, actions = np.unique(np.append(0, codes), return_inverse=True)
        names = tuple(
            combination([name or f"B{i}" for i, name in enumerate(self.buttons) if code >> i & 1])
            for code in distinct.tolist()
        )
        return names, actions[1:].astype(np.min_scalar_type(len(names)))


@dataclass(frozen=True, slots=True)
class Checks:
    """Checksums and facts that tell whether a replayed movie goes as recorded.

    They are a further member of the movie's zip, which stable-retro ignores.

    Args:
        every: Frames between checks.
        memory: CRC-32 of the console's memory after the set-up frame, after every ``every``-th
            frame that follows, and after the last.
        held: CRC-32 of the buttons held.
        rom: SHA-1 of the ROM.
        emulator: The core, and the version of stable-retro.
        state: The savestate's name.
        scenario: The scenario's name or file; None for the game's default.
    """

    every: int
    memory: tuple[int, ...]
    held: int
    rom: str
    emulator: str
    state: str
    scenario: str | None = None

    def __post_init__(self) -> None:
        """Validate the fields."""
        if self.every < 1 or not isinstance(self.scenario, str | None):
            raise DemonstrationError(f"every is {self.every}, and scenario {self.scenario!r}")


def check_frames(frames: int, every: int) -> list[int]:
    """Return the frames after which the memory is checked; 0 is the set-up frame.

    Args:
        frames: Number of frames after the set-up frame.
        every: Frames between checks.

    Example:
        >>> check_frames(7, 3), check_frames(6, 3), check_frames(0, 3)
        ([0, 3, 6, 7], [0, 3, 6], [0])
    """
    return sorted({*range(0, frames + 1, every), frames})


def checksum(held: NDArray[np.bool_]) -> int:
    """Return the CRC-32 of the buttons held in a movie."""
    return zlib.crc32(np.ascontiguousarray(held, np.uint8).tobytes())


def load_movie(path: Path) -> Movie:
    """Read a movie.

    Raises:
        DemonstrationError: It is malformed, or written by BizHawk itself.
    """
    import stable_retro

    if missing := sorted(set(MEMBERS) - set(zip_members(path))):
        raise DemonstrationError(f"{path} is no movie of stable-retro: it lacks {missing[0]}")
    header = _fields(_text(path, "Header.txt"))
    system = _system(path, header.get("Platform", ""))
    pressed = _pressed(path, _text(path, "Input Log.txt"))
    state = zip_member(path, "Core.bin")
    try:
        film = stable_retro.Movie(str(path))
    except (RuntimeError, ValueError) as error:
        raise DemonstrationError(f"{path} cannot be read by stable-retro: {error}") from error
    buttons = tuple(stable_retro.get_system_info(system)["buttons"])
    held = _held(film, len(buttons))
    counted = held.sum(axis=(1, 2))
    if counted.shape != pressed.shape or (counted != pressed).any():
        raise DemonstrationError(
            f"{path}: stable-retro does not read from it the keys that are written in it; are "
            f"they those of the {system}?"
        )
    # Not Movie.get_game, which fails on names that are not UTF-8.
    return Movie(full_name(header.get("GameName", "")), buttons, held, state)


def load_checks(path: Path) -> Checks | None:
    """Return the checks in a movie; None if there are none, as in movies from elsewhere.

    Raises:
        DemonstrationError: They are malformed.
    """
    if CHECKS not in zip_members(path):
        return None
    try:
        values = json.loads(zip_member(path, CHECKS))
        memory = tuple(map(int, values["memory"]))
        return Checks(**values | {"memory": memory, "every": int(values["every"])})
    except (ValueError, TypeError, KeyError) as error:
        raise DemonstrationError(
            f"{path}: {CHECKS} holds no checks as this version writes them ({error!r})"
        ) from error


def store_movie(movie: Movie, checks: Checks, folder: Path, emulator: Any) -> Path:
    """Write ``<game>-<state>-<number>.bk2``, named as RetroEnv does, atomically.

    The number follows the existing ones, and no other file is ever replaced.

    Args:
        movie: The movie.
        checks: Its checks.
        folder: Folder to write to; created if missing.
        emulator: stable-retro's emulator, with the game loaded.

    Returns:
        The path of the file.
    """
    import stable_retro

    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix=".recording-") as temporary:
        whole = Path(temporary, "whole")
        film = stable_retro.Movie(str(whole), True, movie.players)
        film.configure(movie.game, emulator)
        film.set_state(movie.state)
        for frame in movie.held:
            for player, button in np.argwhere(frame).tolist():
                film.set_key(button, True, player)
            film.step()
        film.close()
        with zipfile.ZipFile(whole, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(CHECKS, json.dumps(asdict(checks)))
        return keep(whole, folder, f"{movie.game}-{checks.state}", ".bk2", digits=6)


def full_name(game: str) -> str:
    """Return a game's id with its version, which old movies omit."""
    return game if not game or re.search(r"-v\d+$", game) else f"{game}-v0"


def _text(path: Path, member: str) -> str:
    """A member of a movie, as text."""
    return zip_member(path, member).decode("latin-1").replace("\r\n", "\n")


def _fields(header: str) -> dict[str, str]:
    """The header's values, by name."""
    pairs = (line.partition(" ") for line in header.splitlines())
    return {name: value.strip() for name, _, value in pairs}


def _system(path: Path, platform: str) -> str:
    """The console named by a header."""
    from stable_retro.data import EMU_INFO

    system = PLATFORMS.get(platform, platform)
    if system not in EMU_INFO:
        raise DemonstrationError(
            f"{path}: Platform is {platform!r} in Header.txt; it must be one of "
            f"{', '.join(sorted({*PLATFORMS, *EMU_INFO} - {*PLATFORMS.values()}))}"
        )
    return system


def _pressed(path: Path, log: str) -> NDArray[np.int64]:
    """Number of keys held in each frame of a well-formed log, shape ``(frames,)``."""
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
    pressed = [len(line) - line.count("|") - line.count(".") for line in lines[2:-1]]
    return np.array(pressed, dtype=np.int64)


def _held(film: Any, n_buttons: int) -> NDArray[np.bool_]:
    """Which buttons each player holds, shape ``(frames, players, buttons)``."""
    frames = []
    while film.step():
        frames.append(
            [
                [film.get_key(button, player) for button in range(n_buttons)]
                for player in range(film.players)
            ]
        )
    return np.array(frames, dtype=np.bool_).reshape(len(frames), film.players, n_buttons)
