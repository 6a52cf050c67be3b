"""DQN Replay: DQN agents' play over 200 million frames of each game (arXiv 1907.04543)."""

import gzip
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from macro_gym.demonstrations.actions import atari_actions, known_game, may_be_of
from macro_gym.demonstrations.columns import LARGEST
from macro_gym.demonstrations.demonstration import Demonstration
from macro_gym.demonstrations.reading import (
    OnBad,
    after,
    files_below,
    from_each,
    pieces,
    refuse,
)
from macro_gym.errors import DemonstrationError

CHECKPOINT = r"\$store\$_action_ckpt\.\d+\.gz"
FRAMESKIP = 4


def read_dqn_replay(path: Path, game: str = "", on_bad: OnBad = refuse) -> Iterator[Demonstration]:
    """Yield the episodes of each checkpoint, in numerical order.

    Play is cut after each terminal step and at the end of a checkpoint. Rewards are unknown if
    their file is not next to the actions' file. Action indices are assumed to refer to the game's
    minimal set, and steps to last 4 frames, as in Dopamine, which recorded them.

    Args:
        path: A folder of checkpoints, at any depth, or a file of actions,
            ``$store$_action_ckpt.<N>.gz``.
        game: The only game to read, and that of play whose path names none; all if empty.
        on_bad: What to do about a malformed checkpoint.

    Raises:
        DemonstrationError: A checkpoint is malformed, its game is unknown, or there is none.
    """
    files = files_below(path, CHECKPOINT) if path.is_dir() else [path]
    if not files:
        raise DemonstrationError(f"{path} holds no $store$_action_ckpt.<N>.gz of DQN Replay")
    wanted = [file for file in files if may_be_of(game, _game(file))]
    return from_each(wanted, lambda file: _checkpoint(file, game), on_bad)


def _checkpoint(path: Path, game: str) -> Iterator[Demonstration]:
    """The episodes of one checkpoint."""
    if not re.fullmatch(CHECKPOINT, path.name):
        raise DemonstrationError(
            f"{path} is not called $store$_action_ckpt.<N>.gz, as DQN Replay's actions are"
        )
    named = game or _game(path)
    names = atari_actions(named)
    actions = _array(path, "iu")
    terminals = _array(_beside(path, "terminal"), "iub")
    rewards = _beside(path, "reward")
    paid = _array(rewards, "iuf") if rewards.exists() else None
    for what, array in (("terminals", terminals), ("rewards", paid)):
        if array is not None and array.shape != actions.shape:
            raise DemonstrationError(
                f"{path} has {len(actions)} actions, but there are {len(array)} {what}"
            )
    outside = (actions < 0) | (actions >= len(names))
    if outside.any():
        step = int(np.argmax(outside))
        raise DemonstrationError(
            f"{path}: action {step} is {actions[step]}, but {named} has only {len(names)}: "
            f"{', '.join(names)}. Is it the play of another game?"
        )
    play = Demonstration(
        names,
        actions.astype(np.uint8),
        None if paid is None else paid.astype(np.float32),
        known_game(named),
        FRAMESKIP,
        f"DQN Replay: {path.name}",
    )
    return pieces(play, after(terminals != 0))


def _beside(path: Path, element: str) -> Path:
    """The file of another element of the same checkpoint."""
    return path.with_name(path.name.replace("_action_", f"_{element}_"))


def _game(path: Path) -> str:
    """The game of the innermost folder named after one; empty if there is none."""
    games = (known_game(part) for part in reversed(path.absolute().parts))
    return next((game for game in games if game), "")


def _array(path: Path, kinds: str) -> NDArray[Any]:
    """The one-dimensional array in a compressed file, of one of NumPy's type ``kinds``."""
    try:
        with gzip.open(path) as file:
            array = np.load(file, allow_pickle=False)
    except Exception as error:  # gzip, zlib and numpy raise a dozen kinds for a bad file
        raise DemonstrationError(f"{path} is not a whole compressed array: {error}") from error
    if not isinstance(array, np.ndarray) or array.ndim != 1 or not array.size:
        raise DemonstrationError(f"{path} must hold one array of shape (steps,)")
    if array.dtype.kind not in kinds or not np.all(np.abs(array.astype(np.float64)) < LARGEST):
        raise DemonstrationError(f"{path} holds {array.dtype} out of range; is it damaged?")
    return array
