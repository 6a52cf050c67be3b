"""Where games come from that Σ is carried over between: their macros, environments and learner."""

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
    """Where games come from."""

    about: ClassVar[str]
    """What it is, for readers."""

    pairs: ClassVar[tuple[tuple[str, str], ...]]
    """The games between which Σ is carried over: all actions of the first are in the second."""

    k: ClassVar[int]
    """Macros."""

    @property
    @abstractmethod
    def frames(self) -> int:
        """Of a run."""

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What all rows of its table have in common."""

    @abstractmethod
    def macros(self, game: str, k: int) -> MacroSet:
        """The macros of a game."""

    @abstractmethod
    def make(self, game: str, macro_set: MacroSet) -> gym.Env[Any, Any]:
        """A game with macros."""

    @abstractmethod
    def learner(self, env: gym.Env[Any, Any], seed: int, own: dict[str, Any]) -> MASPDQN:
        """The learner with a variant's own arguments."""

    @abstractmethod
    def shortened(self, frames: int, folder: Path) -> "Home":
        """The same with runs of a few frames, or steps, whose files go into a folder."""

    def prepare(self, game: str) -> None:  # noqa: B027  # most have nothing to do
        """Do what must be done once before there are macros of a game."""


@dataclass(frozen=True)
class MinAtar(Home):
    """MinAtar's games, with macros of play by a DQN.

    Args:
        plays: The folder of the play.
        budget: What every run has.
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
        """As the experiment on MinAtar has them."""
        return self.budget.common

    def shortened(self, frames: int, folder: Path) -> Home:
        """The same with other play."""
        return MinAtar(folder, minatar_games.shortened(self.budget, frames))

    def prepare(self, game: str) -> None:
        """Record its play."""
        minatar_games.record_play(self.budget, self.plays, game)

    def macros(self, game: str, k: int) -> MacroSet:
        """Of its play."""
        return minatar_games.macros(self.plays / f"{game}.npz", k)

    def make(self, game: str, macro_set: MacroSet) -> gym.Env[Any, Any]:
        """The game, its actions sticky."""
        return MacroAction(minatar_games.make(game), macro_set)

    def learner(self, env: gym.Env[Any, Any], seed: int, own: dict[str, Any]) -> MASPDQN:
        """That of the experiment on MinAtar."""
        return minatar_games.learner(env, self.budget, seed, own)


@dataclass(frozen=True)
class Atari(Home):
    """Atari's games, seen as the console's memory, with macros of the banks.

    Args:
        budget: What every run has.
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
        """As the experiment on Atari has them."""
        return self.budget.common

    def shortened(self, frames: int, folder: Path) -> Home:
        """The same; there are no files."""
        return Atari(atari_ram.shortened(self.budget, frames))

    def macros(self, game: str, k: int) -> MacroSet:
        """The first of its bank."""
        bank = load_bank(game)
        return MacroSet(bank.primitives, bank.macros[:k])

    def make(self, game: str, macro_set: MacroSet) -> gym.Env[Any, Any]:
        """The console's memory."""
        return gym.make(
            f"MacroALE/{game}-v5",
            macros=macro_set,
            obs_type="ram",
            max_num_frames_per_episode=self.budget.episode,
        )

    def learner(self, env: gym.Env[Any, Any], seed: int, own: dict[str, Any]) -> MASPDQN:
        """That of the experiment on Atari."""
        return atari_ram.learner(env, self.budget, seed, own)


HOMES: dict[str, type[Home]] = {"minatar": MinAtar, "atari": Atari}
"""By name."""
