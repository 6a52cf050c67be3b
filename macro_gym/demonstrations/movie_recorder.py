"""Record stable-retro games as movies, with the checks needed to verify a replay."""

import math
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from macro_gym.buttons import Held
from macro_gym.demonstrations.movies import WRITTEN, Checks, Movie, checksum, store_movie
from macro_gym.errors import EnvironmentSettingError
from macro_gym.retro_games import Integration

if TYPE_CHECKING:
    from macro_gym.retro_emulator import RetroEmulator

EVERY = 60
"""Frames between checks of the console's memory."""


class MovieRecorder:
    """Record a game's input, frame by frame, and write each episode as a movie.

    Actions repeated by sticky actions are recorded as repeated. When the emulator is rewound
    within an episode, so is the recording.

    Args:
        folder: Folder for the movies.
        integration: The game.
        held: What each player holds, for each action.
        scenario: Path of the scenario.

    Raises:
        EnvironmentSettingError: An action holds a button that movies leave out, or the folder
            cannot be created.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        integration: Integration,
        held: Sequence[Held],
        scenario: str,
    ) -> None:
        """Check that movies can hold every action."""
        self._folder = Path(folder)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EnvironmentSettingError(
                f"record is {os.fspath(folder)!r}, which cannot be a folder for movies: {error}"
            ) from error
        self._integration = integration
        self._held = np.array(held, np.bool_)
        self._scenario = scenario
        self._actions: list[int] = []
        self._memory: list[int] = []
        self._start = math.inf
        used = np.flatnonzero(self._held.reshape(-1, len(integration.buttons)).any(axis=0))
        names = {str(integration.buttons[button]) for button in used}
        if lost := sorted(names - WRITTEN):
            raise EnvironmentSettingError(
                f"record is {os.fspath(folder)!r}, but movies of stable-retro leave out "
                f"{', '.join(lost)} of {integration.game}. Give primitives without: "
                "buttons=['NOOP', 'LEFT', ...]"
            )

    def begin(self, emulator: "RetroEmulator") -> None:
        """Note that play begins; the frames before it are the episode's no-op start."""
        self._start = emulator.frames

    def frame(self, emulator: "RetroEmulator", action: int) -> None:
        """Record the action with which the emulator is about to run a frame."""
        frame = emulator.frames
        if frame > len(self._actions):
            return  # Part of an episode that was already written.
        if frame % EVERY == 0:
            del self._memory[frame // EVERY :]
            self._memory.append(memory_checksum(emulator.env))
        del self._actions[frame:]
        self._actions.append(action)

    def finish(self, emulator: "RetroEmulator") -> None:
        """Write the episode up to the emulator's current state, if any of it was played."""
        actions, start = self._actions[: emulator.frames], self._start
        self._actions, self._start = [], math.inf
        if len(actions) > start:
            movie = self._movie(actions, emulator.env.initial_state)
            store_movie(movie, self._checks(movie, emulator), self._folder, emulator.env.em)

    def _movie(self, actions: Sequence[int], state: bytes) -> Movie:
        """The episode as a movie: the set-up frame, then the actions."""
        held = np.concatenate([np.zeros_like(self._held[:1]), self._held[actions]])
        return Movie(self._integration.game, self._integration.buttons, held, state)

    def _checks(self, movie: Movie, emulator: "RetroEmulator") -> Checks:
        """The checks for the episode."""
        before = self._memory[: (emulator.frames - 1) // EVERY + 1]
        scenario, name = Path(self._scenario), emulator.env.statename or "none"
        return Checks(
            EVERY,
            (*before, memory_checksum(emulator.env)),
            checksum(movie.held),
            rom_sha1(self._integration),
            emulator_name(emulator.env),
            Path(name).name.removesuffix(".state"),
            scenario.stem if scenario.parent == self._integration.folder else str(scenario),
        )


def memory_checksum(env: Any) -> int:
    """Return the CRC-32 of the console's memory in a RetroEnv."""
    return zlib.crc32(env.get_ram().tobytes())


def rom_sha1(integration: Integration) -> str:
    """Return the SHA-1 of the imported ROM, as stable-retro computes it."""
    from stable_retro.data import groom_rom

    rom = str(integration.rom)
    with open(rom, "rb") as file:
        _, sha1 = groom_rom(rom, file)
    return str(sha1)


def emulator_name(env: Any) -> str:
    """Return the core and version behind a RetroEnv: ``genesis_plus_gx of stable-retro 1.0.1``."""
    import stable_retro

    core = stable_retro.get_system_info(env.system)["lib"]
    return f"{core} of stable-retro {stable_retro.__version__.strip()}"
