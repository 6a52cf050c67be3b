"""The common entry point of all readers: recognise a path's format and read its play."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, get_args

from macro_gym.demonstrations import atari_head, dqn_replay
from macro_gym.demonstrations.atari_grand_challenge import read_atari_grand_challenge
from macro_gym.demonstrations.atari_head import read_atari_head
from macro_gym.demonstrations.bk2 import read_bk2
from macro_gym.demonstrations.demonstration import Demonstration
from macro_gym.demonstrations.dqn_replay import read_dqn_replay
from macro_gym.demonstrations.minari_datasets import read_minari
from macro_gym.demonstrations.plain import read_plain
from macro_gym.demonstrations.reading import OnBad, refuse
from macro_gym.errors import DemonstrationError

Format = Literal["atari-grand-challenge", "atari-head", "bk2", "dqn-replay", "minari", "plain"]

READERS: dict[Format, Callable[[Path, str, OnBad], Iterator[Demonstration]]] = {
    "atari-grand-challenge": read_atari_grand_challenge,
    "atari-head": read_atari_head,
    "bk2": read_bk2,
    "dqn-replay": read_dqn_replay,
    "minari": read_minari,
    "plain": read_plain,
}

# The first pattern that matches a file's name wins.
NAMES: tuple[tuple[str, Format], ...] = (
    (r"metadata\.json", "minari"),
    (r".*\.bk2", "bk2"),
    (dqn_replay.CHECKPOINT, "dqn-replay"),
    (rf"{atari_head.TRIAL}|.*\.zip", "atari-head"),
    (r"\d+(-\d+)?\.txt", "atari-grand-challenge"),
    (r".*\.(npz|csv)", "plain"),
)


def read_play(
    path: Path,
    format: Format | None = None,
    game: str = "",
    on_bad: OnBad = refuse,
    player: int | None = None,
) -> Iterator[Demonstration]:
    r"""Yield the play in a file or folder of any format.

    Args:
        path: The file or folder; for Minari, a dataset's id also works.
        format: The format; recognised by the names of files and folders if None.
        game: The game, to select it or if the path does not tell it.
        on_bad: What to do about a malformed file: raise its error, or return to continue.
        player: The only player to read from movies, from 1; all if None.

    Raises:
        DemonstrationError: A file is malformed, or there is no play.
        FileNotFoundError: There is no such path.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     file = Path(folder, "play.csv")
        ...     _ = file.write_text("action\nLEFT\nFIRE\n")
        ...     [play.actions.tolist() for play in read_play(file)]
        [[4, 1]]
    """
    format = format or recognise(path)
    if player is None:
        return READERS[format](path, game, on_bad)
    if format != "bk2":
        raise DemonstrationError(
            f"player is {player}, but {path} is of format {format}, which has no players; movies do"
        )
    return read_bk2(path, game, on_bad, player)


def recognise(path: Path) -> Format:
    """Return the format of a path, judging by the file names in it.

    Raises:
        DemonstrationError: It has no known format, or several.
        FileNotFoundError: There is no such path.
    """
    if not path.exists():
        if re.search(r"-v\d+$", path.name) and not path.suffix:
            return "minari"
        raise FileNotFoundError(f"there is no file or folder {path}")
    if (path / "trajectories").is_dir():
        return "atari-grand-challenge"  # No need to list its millions of screens.
    files = path.rglob("*") if path.is_dir() else iter([path])
    formats = {format for file in files if (format := _format(file.name)) is not None}
    if len(formats) > 1:
        formats -= {"plain"}  # Other formats include tables, such as Atari-HEAD's meta_data.csv.
    if not formats:
        raise DemonstrationError(
            f"{path} holds no play (.npz); `macro-gym plan GAME --output {path}` makes some. If it "
            f"holds play under other names, say of which format: {', '.join(get_args(Format))}"
        )
    if len(formats) > 1:
        raise DemonstrationError(
            f"{path} holds play of several formats; say which to read: {', '.join(sorted(formats))}"
        )
    return formats.pop()


def _format(name: str) -> Format | None:
    """The format that a file's name matches, if any."""
    return next((format for pattern, format in NAMES if re.fullmatch(pattern, name)), None)
