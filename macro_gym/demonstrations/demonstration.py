"""Demonstration: a recorded stretch of play, in memory and as a file."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from macro_gym.errors import DemonstrationError
from macro_gym.files import replacing


@dataclass(frozen=True, slots=True, eq=False)
class Demonstration:
    """Play within one episode, as a sequence of primitive actions.

    Args:
        primitives: Names of the actions that ``actions`` indexes.
        actions: Indices into ``primitives``, shape ``(steps,)``.
        rewards: Reward of each step, shape ``(steps,)``; None if unknown.
        game: The game, as in ``ALE/<game>-v5``; empty if none.
        frameskip: Frames per step; 0 if unknown or if there is no emulator.
        source: Who or what played, in words.
        settings: What is needed to replay it, as far as known: the ``id`` and ``kwargs`` of
            ``gym.make``, and the ``seed`` and ``options`` of the initial ``reset``.

    Raises:
        DemonstrationError: The arrays do not match each other or the names, or the settings cannot
            be written as JSON.
    """

    primitives: tuple[str, ...]
    actions: NDArray[np.uint8]
    rewards: NDArray[np.float32] | None = None
    game: str = ""
    frameskip: int = 0
    source: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Validate the fields; convert the settings to what a file would give back."""
        actions = np.asarray(self.actions)
        if actions.ndim != 1:
            raise DemonstrationError(f"actions has shape {actions.shape}; it must be (steps,)")
        if actions.dtype.kind not in "iu":
            raise DemonstrationError(f"actions are {actions.dtype}; they must be indices, integers")
        if actions.size and not 0 <= actions.min() <= actions.max() < len(self.primitives):
            raise DemonstrationError(
                f"actions range over {actions.min()}..{actions.max()}, but there are "
                f"{len(self.primitives)} primitives: {', '.join(self.primitives)}"
            )
        if self.rewards is not None and self.rewards.shape != actions.shape:
            raise DemonstrationError(
                f"{self.rewards.shape} rewards for {actions.shape} actions; they go in pairs"
            )
        try:
            settings = json.loads(json.dumps(dict(self.settings), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise DemonstrationError(
                f"settings is {self.settings!r}, which a file cannot hold as JSON ({error})"
            ) from error
        object.__setattr__(self, "settings", settings)

    @property
    def score(self) -> float:
        """Sum of the rewards; NaN if they are unknown."""
        return float("nan") if self.rewards is None else float(self.rewards.sum())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the demonstration as a compressed ``.npz``, atomically."""
        arrays: dict[str, Any] = {"actions": self.actions, "about": np.array(self._about())}
        if self.rewards is not None:
            arrays["rewards"] = self.rewards
        with replacing(path) as file:
            np.savez_compressed(file, **arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Demonstration":
        """Read a demonstration written by `save`.

        Raises:
            DemonstrationError: The file is not a complete demonstration.
            FileNotFoundError: There is no such file.
        """
        try:
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
                about = json.loads(str(arrays["about"]))
                rewards = arrays.get("rewards", None)
                actions = arrays["actions"]
            return cls(tuple(about.pop("primitives")), actions, rewards, **about)
        except (FileNotFoundError, DemonstrationError):
            raise
        except Exception as error:  # numpy, zipfile and zlib raise a dozen kinds for a bad file
            # NumPy takes anything but an array for a pickle, and advises allowing those.
            why = "it holds something else" if "pickle" in str(error) else error
            raise DemonstrationError(f"{path} is not a whole demonstration: {why}") from error

    def _about(self) -> str:
        """Everything but the arrays, as JSON; empty settings are omitted, as in older files."""
        about = {
            "primitives": self.primitives,
            "game": self.game,
            "frameskip": self.frameskip,
            "source": self.source,
        }
        return json.dumps(about | ({"settings": dict(self.settings)} if self.settings else {}))
