"""Atari games for the planner: one emulator to play in, and one to rewind."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from macro_gym.demonstrations.search import Memory, Sandbox
from macro_gym.errors import UnknownGameError
from macro_gym.games import did_you_mean, find_game, game_name
from macro_gym.registration import atari_games
from macro_gym.retro_games import retro_games

if TYPE_CHECKING:
    from ale_py import Action, ALEInterface, ALEState

    from macro_gym.demonstrations.planner import PlannerSettings


@dataclass(frozen=True, slots=True)
class AtariGame:
    """An Atari game, with its minimal action set.

    Args:
        key: ale-py's id, such as ``ms_pacman``; files are named after it.
    """

    key: str

    @property
    def name(self) -> str:
        """The game's name in demonstrations."""
        return game_name(self.key)

    @property
    def options(self) -> dict[str, str]:
        """Choices besides the game: none."""
        return {}

    @contextmanager
    def begun(self, settings: "PlannerSettings", seed: int) -> Iterator[tuple[Sandbox, Sandbox]]:
        """Yield two sandboxes at the game's start: one to play in, and one to rewind.

        The first is never rewound, so replaying its actions gives its rewards whatever cloning may
        lose.
        """
        sticky = settings.repeat_action_probability
        yield (
            AtariSandbox(emulator(self.key, seed, sticky), settings.frameskip),
            AtariSandbox(emulator(self.key, seed), settings.frameskip),
        )

    def paid(
        self, settings: "PlannerSettings", seed: int, actions: Sequence[int], paid: Sequence[float]
    ) -> Sequence[float]:
        """Return the rewards of the actions: ``paid``, which is known to be right."""
        return paid

    def to_replay(self, settings: "PlannerSettings", seed: int) -> dict[str, Any]:
        """Return the settings that a demonstration of this play states."""
        return {
            "id": f"ALE/{self.name}-v5",
            "kwargs": {
                "frameskip": settings.frameskip,
                "repeat_action_probability": settings.repeat_action_probability,
            },
            "seed": seed,
        }


class AtariSandbox:
    """An Atari game that can be rewound.

    Args:
        ale: The emulator.
        frameskip: Frames per step.
    """

    def __init__(self, ale: "ALEInterface", frameskip: int) -> None:
        """Continue from the emulator's current state."""
        self._ale, self._frameskip = ale, frameskip
        self._codes = ale.getMinimalActionSet()
        self.primitives = tuple(code.name for code in self._codes)

    def act(self, action: int) -> int:
        """Take one step; return the points scored."""
        return act(self._ale, self._codes[action], self._frameskip)

    def save(self) -> "ALEState":
        """Return the current state."""
        return self._ale.cloneState()

    def restore(self, state: "ALEState") -> None:
        """Restore ``state`` so fully that what follows depends on nothing else."""
        rewind(self._ale, state)

    def same(self, one: "ALEState", other: "ALEState") -> bool:
        """Whether what follows is the same from either state."""
        return one.equals(other)

    def memory(self) -> Memory:
        """Return the console's memory, 128 cells."""
        return self._ale.getRAM()

    def lives(self) -> int:
        """Return the lives left."""
        return self._ale.lives()

    def over(self) -> bool:
        """Whether the game is over."""
        return self._ale.game_over()


def act(ale: "ALEInterface", code: "Action", frameskip: int) -> int:
    """Act for ``frameskip`` frames; return the points scored."""
    return sum(ale.act(code) for _ in range(frameskip))


def rewind(ale: "ALEInterface", state: "ALEState") -> None:
    """Restore ``state`` so fully that what follows depends on nothing else.

    Clones in ale-py 0.12.1 forget that a frame is half done, as Q*bert's may be; the frame run in
    between finishes it.
    """
    ale.restoreState(state)
    ale.act(0)
    ale.restoreState(state)


def emulator(rom: str, seed: int, repeat_action_probability: float = 0.0) -> "ALEInterface":
    """Return the emulator at the game's start, seeded as Gymnasium's ``reset(seed=seed)`` does."""
    import ale_py
    from ale_py import roms

    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    ale = ale_py.ALEInterface()
    ale.setInt("random_seed", np.random.SeedSequence(seed).generate_state(2)[1].astype(np.int32))
    ale.setFloat("repeat_action_probability", repeat_action_probability)
    ale.loadROM(cast(Path, roms.get_rom_path(rom)))
    ale.reset_game()
    return ale


def known_rom(game: str) -> str:
    """Return ale-py's id of ``game``.

    Raises:
        UnknownGameError: ale-py has no such game for one player.
    """
    games = atari_games()
    rom = find_game(game, games)
    if rom is None:
        close = did_you_mean(game, games) or did_you_mean(game, retro_games())
        raise UnknownGameError(
            f"game is {game!r}, but ale-py has no such game for one player."
            + (close or f" It has {', '.join(games)}.")
        )
    return rom
