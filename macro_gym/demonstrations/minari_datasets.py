"""Reader of Minari datasets with discrete actions, such as ``atari/breakout/expert-v0``."""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from macro_gym.demonstrations.actions import atari_actions, known_game
from macro_gym.demonstrations.demonstration import Demonstration
from macro_gym.demonstrations.reading import OnBad, files_below, from_each, refuse
from macro_gym.errors import DemonstrationError, MissingDependencyError
from macro_gym.games import bare_name

SKIPPING = {
    "AtariPreprocessing": "frame_skip",
    "MaxAndSkipObservation": "skip",
    "MaxAndSkipEnv": "skip",
}
"""Wrappers that skip frames, and the argument that says how many."""


def read_minari(path: Path, game: str = "", on_bad: OnBad = refuse) -> Iterator[Demonstration]:
    """Yield the episodes of each dataset, in order; observations are not read.

    Atari action indices refer to the game's minimal set, unless the environment was made with
    ``full_action_space``; other environments' actions are named by their numbers. The frameskip is
    the environment's, times those of its wrappers; 0 if unknown.

    Args:
        path: The folder of a dataset, or of several, or the id of one that Minari has
            downloaded.
        game: The game, if the dataset does not state its environment.
        on_bad: What to do about a malformed dataset.

    Raises:
        DemonstrationError: A dataset is malformed or its actions are not discrete, or there is
            none.
        MissingDependencyError: Minari is not installed.
    """
    _library()
    folders = [path]
    if path.is_dir():
        folders = [file.parent for file in files_below(path, r"metadata\.json")]
    if not folders:
        raise DemonstrationError(f"{path} holds no dataset of Minari (data/metadata.json)")
    return from_each(folders, lambda folder: _dataset(folder, game), on_bad)


def _library() -> Any:
    """Minari, after checking that it can read HDF5."""
    try:
        import h5py  # noqa: F401
        import minari
    except ImportError as error:
        raise MissingDependencyError(
            f"reading Minari datasets needs minari and h5py ({error}); "
            "pip install 'macro-gym[minari]'"
        ) from error
    return minari


def _dataset(folder: Path, game: str) -> Iterator[Demonstration]:
    """The episodes of one dataset."""
    dataset = _opened(folder)
    spec, space = dataset.env_spec, dataset.action_space
    if not isinstance(space, gym.spaces.Discrete):
        raise DemonstrationError(f"{folder}: its actions are {space}; they must be Discrete")
    named = ("" if spec is None else _game(spec)) or game
    names = tuple(str(action) for action in range(int(space.n)))
    if known_game(named):
        full = spec is not None and bool(spec.kwargs.get("full_action_space"))
        names = atari_actions(named, full=full)
    if len(names) != space.n:
        raise DemonstrationError(
            f"{folder}: its actions are {space}, but {named} has {len(names)}: {', '.join(names)}"
        )
    frameskip = 0 if spec is None else _frameskip(spec)
    for episode in dataset.episode_indices.tolist():
        actions, rewards = _episode(dataset, folder, episode)
        actions = actions - int(space.start)
        if not ((actions >= 0) & (actions < len(names))).all():
            raise DemonstrationError(f"{folder}: episode {episode} has actions outside {space}")
        yield Demonstration(
            names,
            actions.astype(np.min_scalar_type(len(names))),
            rewards.astype(np.float32),
            known_game(named) or named,
            frameskip,
            f"Minari: {dataset.id}, episode {episode}",
        )


def _opened(folder: Path) -> Any:
    """The dataset in a folder, or with that id."""
    minari = _library()
    try:
        if folder.is_dir():
            return minari.MinariDataset(folder)
        return minari.load_dataset(folder.as_posix())
    except Exception as error:  # h5py, json, gymnasium and minari raise a dozen kinds
        raise DemonstrationError(
            f"{folder} is not a whole dataset of Minari ({error}). Those that are not downloaded "
            f"yet are by `minari download {folder.as_posix()}`"
        ) from error


def _episode(dataset: Any, folder: Path, episode: int) -> tuple[Any, Any]:
    """Actions and rewards of an episode, each shape ``(steps,)``.

    Bypasses Minari's iterator, which decodes all observations: gigabytes for long episodes.
    """
    import h5py

    try:
        with h5py.File(Path(dataset.storage.data_path) / "main_data.hdf5") as file:
            group = file[f"episode_{episode}"]
            actions, rewards = group["actions"][()], group["rewards"][()]
            numeric = actions.dtype.kind in "iu" and rewards.dtype.kind in "iuf"
            if not numeric or actions.ndim != 1 or actions.shape != rewards.shape:
                raise ValueError(f"{actions.dtype}{actions.shape}, {rewards.dtype}{rewards.shape}")
    except Exception as error:  # h5py raises a dozen kinds for a bad file
        raise DemonstrationError(
            f"{folder}: episode {episode} has no whole actions and rewards: {error}"
        ) from error
    return actions.astype(np.int64), rewards


def _game(spec: Any) -> str:
    """The environment's name, without version or variant."""
    return re.sub(r"NoFrameskip$|Deterministic$", "", bare_name(spec.id))


def _frameskip(spec: Any) -> int:
    """Frames per step of an Atari environment; 0 if not stated or random."""
    skips = [spec.kwargs.get("frameskip", 0)]
    for wrapper in spec.additional_wrappers:
        if wrapper.name in SKIPPING:
            skips.append((wrapper.kwargs or {}).get(SKIPPING[wrapper.name], 0))
    return math.prod(skips) if all(isinstance(skip, int) for skip in skips) else 0
