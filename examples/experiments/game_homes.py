"""Homes of the games between which Σ is transferred: their macros, environments and learners."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym

from examples.experiments import atari_ram, minatar_games
from macro_gym import MacroAction, MacroSet
from macro_gym.banks import load_bank
from sb3_masp import MASPDQN


class Home(ABC):
    """A collection of games, with the macros and the learner for them."""

    about: ClassVar[str]
    """Description for readers."""

    pairs: ClassVar[tuple[tuple[str, str], ...]]
    """Pairs of games between which Σ is transferred; the second has all actions of the first."""

    k: ClassVar[int]
    """Number of macros."""

    @property
    @abstractmethod
    def frames(self) -> int:
        """Frames of a run."""

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Settings shared by all rows of its table."""

    @abstractmethod
    def macros(self, game: str, k: int) -> MacroSet:
        """The macros of a game."""

    @abstractmethod
    def make(self, game: str, macro_set: MacroSet) -> gym.Env[Any, Any]:
        """Make a game with macros."""

    @abstractmethod
    def learner(self, env: gym.Env[Any, Any], seed: int, own: dict[str, Any]) -> MASPDQN:
        """Build the learner with a variant's own arguments."""

    @abstractmethod
    def shortened(self, frames: int, folder: Path) -> "Home":
        """Return a copy with runs of a few frames or steps, whose files go into ``folder``."""

    def prepare(self, game: str) -> None:  # noqa: B027  # most have nothing to do
        """Prepare the macros of a game, once; does nothing by default."""


@dataclass(frozen=True)
class MinAtar(Home):
    """MinAtar's games, with macros mined from the play of a DQN.

    Args:
        plays: Folder of the play.
        budget: Budget of every run.
    """

    plays: Path
    budget: minatar_games.Budget

    about = "MinAtar's games"
    pairs = (
        ("Breakout", "SpaceInvaders"),
        ("Freeway", "Asterix"),
        ("Asterix", "Seaquest"),
        ("SpaceInvaders", "Seaquest"),
    )
    k = 64

    @property
    def frames(self) -> int:
        """Steps of a run."""
        return self.budget.steps

    @property
    def settings(self) -> dict[str, Any]:
        """Those of the experiment on MinAtar."""
        return self.budget.common

    def shortened(self, frames: int, folder: Path) -> Home:
        """Return a copy with runs of a few steps and play of its own."""
        return MinAtar(folder, minatar_games.shortened(self.budget, frames))

    def prepare(self, game: str) -> None:
        """Record the play of a game."""
        minatar_games.record_play(self.budget, self.plays, game)

    def macros(self, game: str, k: int) -> MacroSet:
        """The macros mined from the play of a game."""
        return minatar_games.macros(self.plays / f"{game}.npz", k)

    def make(self, game: str, macro_set: MacroSet) -> gym.Env[Any, Any]:
        """Make a game, with sticky actions."""
        return MacroAction(minatar_games.make(game), macro_set)

    def learner(self, env: gym.Env[Any, Any], seed: int, own: dict[str, Any]) -> MASPDQN:
        """Build the learner of the experiment on MinAtar."""
        return minatar_games.learner(env, self.budget, seed, own)


@dataclass(frozen=True)
class Atari(Home):
    """Atari's games, observed as the console's memory, with macros from the banks.

    Args:
        budget: Budget of every run.
    """

    budget: atari_ram.Budget

    about = "Atari's games, from the console's memory"
    pairs = (
        ("Breakout", "SpaceInvaders"),
        ("SpaceInvaders", "Seaquest"),
        ("Freeway", "MsPacman"),
    )
    k = 32

    @property
    def frames(self) -> int:
        """Emulator frames of a run."""
        return self.budget.frames

    @property
    def settings(self) -> dict[str, Any]:
        """Those of the experiment on Atari."""
        return self.budget.common

    def shortened(self, frames: int, folder: Path) -> Home:
        """Return a copy with runs of a few frames; there are no files."""
        return Atari(atari_ram.shortened(self.budget, frames))

    def macros(self, game: str, k: int) -> MacroSet:
        """The first macros of a game's bank."""
        bank = load_bank(game)
        return MacroSet(bank.primitives, bank.macros[:k])

    def make(self, game: str, macro_set: MacroSet) -> gym.Env[Any, Any]:
        """Make a game, observed as the console's memory."""
        return gym.make(
            f"MacroALE/{game}-v5",
            macros=macro_set,
            obs_type="ram",
            max_num_frames_per_episode=self.budget.episode,
        )

    def learner(self, env: gym.Env[Any, Any], seed: int, own: dict[str, Any]) -> MASPDQN:
        """Build the learner of the experiment on Atari."""
        return atari_ram.learner(env, self.budget, seed, own)


HOMES: dict[str, type[Home]] = {"minatar": MinAtar, "atari": Atari}
"""Homes by name."""
