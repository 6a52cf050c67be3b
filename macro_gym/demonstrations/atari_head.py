"""Atari-HEAD: human play of 20 games, one frame at a time (arXiv 1903.06754)."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from macro_gym.demonstrations.actions import ALE_ACTIONS, known_game, may_be_of
from macro_gym.demonstrations.columns import split_rows
from macro_gym.demonstrations.demonstration import Demonstration
from macro_gym.demonstrations.reading import (
    OnBad,
    bytes_of,
    files_below,
    from_each,
    natural,
    pieces,
    refuse,
    zip_member,
    zip_members,
)
from macro_gym.errors import DemonstrationError

TRIAL = r"\d+_[A-Za-z]+_\d+_[A-Za-z]{3}(-\d\d){4}\.txt"
HEADER = "frame_id,episode_id,score,duration(ms),unclipped_reward,action"
EPISODE, REWARD, ACTION, FIELDS = 1, 4, 5, 6


def read_atari_head(path: Path, game: str = "", on_bad: OnBad = refuse) -> Iterator[Demonstration]:
    """Yield the play of each trial, in numerical order.

    Play is cut where ``episode_id`` changes (a null repeats the previous one) and at null actions,
    which are left out. Rewards are unknown in a piece with a null reward. Steps are frames:
    ``frameskip`` is 1.

    Args:
        path: The dataset, a game's folder or zip, or a trial.
        game: The only game to read, and that of play whose path names none; all if empty.
        on_bad: What to do about a malformed file.

    Raises:
        DemonstrationError: A file is malformed, or there is none.
    """
    files = files_below(path, rf"{TRIAL}|\w+\.zip") if path.is_dir() else [path]
    if not files:
        raise DemonstrationError(
            f"{path} holds no trials; Atari-HEAD keeps them as <game>.zip or "
            "<game>/<trial>_<subject>_<n>_<date>.txt"
        )
    wanted = [file for file in files if may_be_of(game, _game(file))]
    return from_each(wanted, lambda file: _play(file, game, on_bad), on_bad)


def _game(file: Path) -> str:
    """The game that a path names; empty if it names none."""
    return known_game(file.stem) if file.suffix == ".zip" else known_game(file.parent.name)


def _play(file: Path, game: str, on_bad: OnBad) -> Iterator[Demonstration]:
    """The play in one file, which may be a zip of trials."""
    named = known_game(game) or _game(file)
    if file.suffix != ".zip":
        return _trial(str(file), file.name, bytes_of(file), named)
    members = [member for member in zip_members(file) if re.fullmatch(TRIAL, Path(member).name)]
    if not members:
        raise DemonstrationError(f"{file} holds no trials of Atari-HEAD")
    return from_each(
        sorted(members, key=natural),
        lambda member: _trial(
            f"{member} in {file}", Path(member).name, zip_member(file, member), named
        ),
        on_bad,
    )


def _trial(name: str, trial: str, content: bytes, game: str) -> Iterator[Demonstration]:
    """The play of one trial."""
    header, _, body = content.removeprefix(b"\xef\xbb\xbf").partition(b"\n")
    if header.replace(b" ", b"").strip().split(b",")[:FIELDS] != HEADER.encode().split(b","):
        raise DemonstrationError(
            f"{name}, line 1: {header[:80]!r} are not the columns of Atari-HEAD, {HEADER},..."
        )
    rows = split_rows(name, body, FIELDS, first_line=2, exact=False)
    actions = rows.numbers(ACTION, "action", null=True)
    known = ~np.isnan(actions)
    legal = ~known | ((actions % 1 == 0) & (actions >= 0) & (actions < len(ALE_ACTIONS)))
    if not legal.all():
        row = int(np.argmin(legal))
        allowed = f"0..{len(ALE_ACTIONS) - 1} or null"
        raise rows.refuse(row, f"action is {rows.text(ACTION, row)!r}; it must be {allowed}")
    if not known.any():
        raise DemonstrationError(f"{name}: every action is null")
    rewards = rows.numbers(REWARD, "unclipped_reward", null=True).astype(np.float32)
    play = Demonstration(
        ALE_ACTIONS,
        np.where(known, actions, 0).astype(np.uint8),
        rewards,
        game,
        frameskip=1,
        source=f"Atari-HEAD: {trial}",
    )
    starts = _changes(rows.numbers(EPISODE, "episode_id", null=True))
    return (_without_nan(piece) for piece in pieces(play, starts, known))


def _changes(episodes: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where the episode number differs from the last known one; NaN never differs."""
    known = np.flatnonzero(~np.isnan(episodes))
    starts = np.zeros(len(episodes), dtype=np.bool_)
    starts[known[1:]] = np.diff(episodes[known]) != 0
    return starts


def _without_nan(play: Demonstration) -> Demonstration:
    """The play, without rewards if any of them is unknown."""
    if play.rewards is None or not np.isnan(play.rewards).any():
        return play
    return Demonstration(
        play.primitives, play.actions, None, play.game, play.frameskip, play.source
    )
