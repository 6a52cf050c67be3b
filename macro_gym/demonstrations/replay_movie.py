"""Replay stable-retro movies and detect where play departs from the recording."""

import gzip
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from macro_gym.demonstrations.movie_recorder import emulator_name, memory_checksum, rom_sha1
from macro_gym.demonstrations.movies import (
    Checks,
    check_frames,
    checksum,
    load_checks,
    load_movie,
)
from macro_gym.demonstrations.replay import Screen
from macro_gym.errors import DemonstrationError
from macro_gym.resize import Image
from macro_gym.retro_games import Integration, integration


@dataclass(frozen=True, slots=True, eq=False)
class MovieReplay:
    """Result of replaying a movie.

    Args:
        game: The game, as in ``Airstriker-Genesis-v0``.
        state: Name of the savestate that it starts from; empty if it is not one of the game's.
        rewards: Reward of each frame, shape ``(frames,)``; the first player's.
        memory: The console's memory after the last frame, shape ``(bytes,)``.
        over: The first frame, from 1, after which the scenario says that the game is over; None if
            it never does.
        checks: Number of checks of the memory; 0 for movies without checks.
        departed: The last frame after which the memory was as recorded, and the first after which
            it was not; frame 0 twice if it never was. None if it always was.
        edited: Whether the movie's buttons differ from those recorded.
        differences: Other differences from the recording, in words.
    """

    game: str
    state: str
    rewards: NDArray[np.float32]
    memory: Image
    over: int | None
    checks: int
    departed: tuple[int, int] | None
    edited: bool
    differences: tuple[str, ...]

    def __str__(self) -> str:
        """Whether play went as recorded, as far as known."""
        frames, score = len(self.rewards), float(self.rewards.sum())
        edited = "the buttons in the movie were changed since"
        if self.departed is not None:
            causes = ((edited,) if self.edited else ()) + self.differences
            return _departure(self.departed, frames, causes)
        if self.checks:
            return (
                f"the console's memory is as recorded at all {self.checks} checks of {frames} "
                f"frames, score {score:g}" + (f"; but {edited}" if self.edited else "")
            )
        return f"{frames} frames, score {score:g}; {_likelihood(self.over, frames)}"


def replay_movie(
    path: Path,
    *,
    on_screen: Callable[[Screen], object] | None = None,
    progress_bar: bool = False,
) -> MovieReplay:
    """Replay a movie, and compare the console's memory if the movie holds checks.

    Args:
        path: The movie.
        on_screen: Called with the screen at the start and after every frame.
        progress_bar: Whether to show the frames, if on a terminal.

    Raises:
        DemonstrationError: The movie is malformed, or the emulator rejects its savestate.
        UnknownGameError: stable-retro does not integrate its game.
        MissingRomError: The game's ROM was not imported.
        EmulatorInUseError: This process already runs a stable-retro game.
    """
    from macro_gym.retro_emulator import retro_env

    movie, checks = load_movie(path), load_checks(path)
    game = integration(movie.game)
    game.require_rom()
    with closing(retro_env(game.game, None, _scenario(game, checks), movie.players)) as env:
        if not env.em.set_state(movie.state):
            raise DemonstrationError(
                f"{path}: {emulator_name(env)} refuses its savestate; was it recorded with "
                f"{'another version or core' if checks is None else checks.emulator}?"
            )
        env.initial_state = movie.state
        env.reset()
        looks = [] if checks is None else check_frames(len(movie.held) - 1, checks.every)
        rewards, over, found = _play(env, movie.held[1:], looks, on_screen, progress_bar)
        return MovieReplay(
            game.game,
            _state_name(game, movie.state),
            rewards,
            env.get_ram().copy(),
            over,
            0 if checks is None else min(len(checks.memory), len(looks)),
            None if checks is None else _departed(checks.memory, found, looks),
            checks is not None and checks.held != checksum(movie.held),
            () if checks is None else _differences(checks, game, emulator_name(env)),
        )


def _play(
    env: Any,
    rows: NDArray[np.bool_],
    looks: Sequence[int],
    on_screen: Callable[[Screen], object] | None,
    progress_bar: bool,
) -> tuple[NDArray[np.float32], int | None, list[int]]:
    """The reward of each frame, the frame after which the game is over, and memory checksums."""
    from tqdm import tqdm

    rewards: list[float] = []
    over = None
    found = [memory_checksum(env)] if looks else []
    if on_screen:
        on_screen(env.render())
    for row in tqdm(rows, unit="frame", disable=None if progress_bar else True):
        _, reward, done, _, _ = env.step(row.reshape(-1))
        rewards.append(float(reward))
        if over is None and done:
            over = len(rewards)
        if len(found) < len(looks) and looks[len(found)] == len(rewards):
            found.append(memory_checksum(env))
        if on_screen:
            on_screen(env.render())
    return np.array(rewards, np.float32), over, found


def _scenario(game: Integration, checks: Checks | None) -> str:
    """The scenario that a movie was recorded with, or the default if it is missing here."""
    name = None if checks is None else checks.scenario
    there = name and (game.folder / f"{name}.json", Path(name))
    return str(game.scenario_file(name if there and any(map(Path.is_file, there)) else None))


def _state_name(game: Integration, state: bytes) -> str:
    """Name of the integration's savestate that this is; empty if it is none of them."""
    files = ((name, game.folder / f"{name}.state") for name in game.states)
    return next((name for name, file in files if gzip.decompress(file.read_bytes()) == state), "")


def _departed(
    recorded: Sequence[int], found: Sequence[int], looks: Sequence[int]
) -> tuple[int, int] | None:
    """The frames between which the memory departed from the recording; None if it did not."""
    pairs = zip(recorded, found, strict=False)  # Rows may have been cut off or added.
    first = next((i for i, (then, now) in enumerate(pairs) if then != now), None)
    return None if first is None else (looks[max(first - 1, 0)], looks[first])


def _differences(checks: Checks, game: Integration, emulator: str) -> tuple[str, ...]:
    """Differences from the recording, other than the movie's buttons."""
    rom = rom_sha1(game)
    differences = []
    if checks.rom != rom:
        differences.append(f"the ROM was {checks.rom} (SHA-1), and here is {rom}")
    if checks.emulator != emulator:
        differences.append(f"it was recorded by {checks.emulator}, and this is {emulator}")
    return tuple(differences)


def _departure(departed: tuple[int, int], frames: int, causes: tuple[str, ...]) -> str:
    """Where play departed, and possible causes."""
    before, after = departed
    where = (
        f"between frame {before} and frame {after} of {frames}"
        if after
        else "as soon as its savestate was loaded"
    )
    causes = causes or (
        "the buttons, the ROM and the emulator are those of the recording, so the savestate in "
        "the movie may have been exchanged",
    )
    return f"play departs from what was recorded {where}. Likely cause: {'; '.join(causes)}"


def _likelihood(over: int | None, frames: int) -> str:
    """What can be said about a movie without checks."""
    if over is None:
        return (
            "nothing in the movie tells whether they go as recorded; the game is not over at its "
            "end, so it was cut there or play departed"
        )
    if over < frames:
        return (
            f"nothing in the movie tells whether they go as recorded; the game is over after frame "
            f"{over}, before the movie is, so play probably departed before"
        )
    return (
        "nothing in the movie tells whether they go as recorded, but the game is over with its "
        "last frame, as where an episode was recorded whole"
    )
