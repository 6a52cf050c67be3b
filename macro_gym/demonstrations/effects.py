"""Equivalents of actions that an Atari game's minimal set lacks, measured in the emulator."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from macro_gym.demonstrations.actions import ALE_ACTIONS, atari_actions, known_game
from macro_gym.demonstrations.translate import nearest_action, parts_of
from macro_gym.games import find_game

if TYPE_CHECKING:
    from ale_py import ALEInterface

STATES = 40
"""Number of moments of random play to compare at."""
RESTART = 4
"""Moments between restarts, since some actions matter only when a ball is served."""
HOLD = 12
"""Frames to hold an action for."""


@cache
def same_effects(game: str) -> dict[str, str]:
    """Return, for each of the 18 actions, its equivalent in the game's minimal set.

    Both are held for 12 frames from each of 40 moments of random play. The equivalent is the action
    that most often leaves the same memory, or of several the nearest by name; if none does at more
    than half of the moments, names alone decide. On their own they would mislead: Q*bert ignores
    diagonals altogether, and Enduro ignores DOWN while FIRE is pressed.

    Raises:
        DemonstrationError: ale-py has no such game.

    Example:
        >>> effects = same_effects("qbert")
        >>> effects["UPFIRE"], effects["UPRIGHT"]
        ('UP', 'NOOP')
    """
    names = atari_actions(game)
    alike = np.zeros((len(ALE_ACTIONS), len(names)), dtype=np.int64)
    if len(names) < len(ALE_ACTIONS):
        alike = _agreement(game, names)
    effects = {}
    for old, counts in zip(ALE_ACTIONS, alike.tolist(), strict=True):
        most = max(counts)
        best = [name for name, count in zip(names, counts, strict=True) if count == most]
        near = parts_of(old, best)
        measured = near and 2 * most > STATES
        effects[old] = nearest_action(old, tuple(near if measured else names))
    return effects


def _agreement(game: str, names: tuple[str, ...]) -> NDArray[np.int64]:
    """Number of moments at which two actions leave the same memory, shape ``(18, actions)``."""
    from ale_py import Action

    ale, rng = _emulator(game), np.random.default_rng(0)
    legal = [ALE_ACTIONS.index(name) for name in names]
    alike = np.zeros((len(ALE_ACTIONS), len(names)), dtype=np.int64)
    for moment in range(STATES):
        if moment % RESTART == 0:
            ale.reset_game()
        for _ in range(rng.integers(20, 60)):
            ale.act(Action(int(rng.choice(legal))))
            if ale.game_over():
                ale.reset_game()
        memory = np.array([_memory_after(ale, action) for action in range(len(ALE_ACTIONS))])
        alike += (memory[:, None] == memory[legal]).all(axis=2)
    return alike


def _memory_after(ale: "ALEInterface", action: int) -> NDArray[np.uint8]:
    """The memory after holding an action; the emulator's state is restored."""
    from ale_py import Action

    here = ale.cloneState()
    # Clones in ale-py 0.12.1 forget that a frame is half done; the one run in between finishes it.
    ale.act(Action.NOOP)
    ale.restoreState(here)
    for _ in range(HOLD):
        ale.act(Action(action))
    memory = ale.getRAM()
    ale.restoreState(here)
    return memory


def _emulator(game: str) -> "ALEInterface":
    """The emulator at the game's start, without sticky actions."""
    import ale_py
    from ale_py import roms

    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    ale = ale_py.ALEInterface()
    ale.setInt("random_seed", 0)
    ale.setFloat("repeat_action_probability", 0.0)
    rom = find_game(known_game(game), roms.get_all_rom_ids()) or ""
    ale.loadROM(cast(Path, roms.get_rom_path(rom)))
    ale.reset_game()
    return ale
