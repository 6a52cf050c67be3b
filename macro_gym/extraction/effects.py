"""Macros' effects in a game, to detect macros that do the same."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from macro_gym.demonstrations.allowed import known_retro_game
from macro_gym.demonstrations.atari_sandbox import known_rom
from macro_gym.demonstrations.retro_sandbox import RetroGame
from macro_gym.errors import InvalidMacroError

if TYPE_CHECKING:
    from ale_py import Action, ALEInterface, ALEState

    from macro_gym.retro_emulator import RetroEmulator, RetroState

Outcome = tuple[bytes, ...]


def emulated_effect(
    game: str, primitives: Sequence[str], frameskip: int = 4, moments: int = 8
) -> Callable[[tuple[int, ...]], Outcome]:
    """Return a function from a macro to its effect in ``game``, for `compress`.

    The function runs the macro from several moments of random play and returns the screen and the
    reward at the end of each run. Macros with equal effects are duplicates to the player, such as
    LEFT,FIRE and LEFT,NOOP where FIRE does nothing.

    Args:
        game: The game, of ale-py or stable-retro, spelled as in any id. A stable-retro game
            occupies its process's emulator as long as the function is kept.
        primitives: Names of the actions that macros index, all of the emulator's.
        frameskip: Frames per primitive.
        moments: Number of moments of random play, always the same for a game.

    Raises:
        UnknownGameError: There is no such game.
        InvalidMacroError: A primitive is not one of Atari's actions.
        EnvironmentSettingError: A primitive is not a combination of the console's buttons.
    """
    if known_retro_game(game):
        return retro_effect(RetroGame(game, buttons=tuple(primitives)), frameskip, moments)
    import ale_py

    unknown = sorted(set(primitives) - set(ale_py.Action.__members__))
    if unknown:
        raise InvalidMacroError(
            f"the primitives {', '.join(unknown)} are no actions of the emulator, which has "
            f"{', '.join(ale_py.Action.__members__)}"
        )
    actions = [ale_py.Action.__members__[name] for name in primitives]
    ale = _emulator(known_rom(game))
    states = [_later(ale, np.random.default_rng(moment)) for moment in range(moments)]

    def effect(macro: tuple[int, ...]) -> Outcome:
        return tuple(
            _outcome(ale, state, [actions[step] for step in macro for _ in range(frameskip)])
            for state in states
        )

    return effect


def retro_effect(
    game: RetroGame, frameskip: int, moments: int
) -> Callable[[tuple[int, ...]], Outcome]:
    """Return a function from a macro to its effect in a stable-retro game."""
    emulator = game.loaded()
    states = [
        _later_in_retro(emulator, len(game.primitives), np.random.default_rng(moment))
        for moment in range(moments)
    ]

    def outcome(state: "RetroState", macro: tuple[int, ...]) -> bytes:
        emulator.restore(state)
        reward = sum(emulator.act(step) for step in macro for _ in range(frameskip))
        return bytes(emulator.screen()) + str(reward).encode()

    return lambda macro: tuple(outcome(state, macro) for state in states)


def _later_in_retro(
    emulator: "RetroEmulator", n_actions: int, rng: np.random.Generator
) -> "RetroState":
    """The state after 50 to 149 random steps of 4 frames, restarting the game whenever it ends."""
    emulator.reset()
    for action in rng.integers(n_actions, size=rng.integers(50, 150)).tolist():
        for _ in range(4):
            emulator.act(action)
        if emulator.over():
            emulator.reset()
    return emulator.save()


def _outcome(ale: "ALEInterface", state: "ALEState", frames: Sequence["Action"]) -> bytes:
    """The screen and the reward after ``frames`` from ``state``."""
    ale.restoreState(state)
    reward = sum(ale.act(action) for action in frames)
    return bytes(ale.getScreen()) + str(reward).encode()


def _later(ale: "ALEInterface", rng: np.random.Generator) -> "ALEState":
    """The state after 50 to 149 random steps of 4 frames, restarting the game whenever it ends."""
    ale.reset_game()
    legal = ale.getMinimalActionSet()
    for _ in range(rng.integers(50, 150)):
        action = legal[rng.integers(len(legal))]
        for _ in range(4):
            ale.act(action)
        if ale.game_over():
            ale.reset_game()
    return ale.cloneState()


def _emulator(rom: str) -> "ALEInterface":
    """The emulator at the game's start, without sticky actions."""
    import ale_py
    from ale_py import roms

    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    ale = ale_py.ALEInterface()
    ale.setInt("random_seed", 0)
    ale.setFloat("repeat_action_probability", 0.0)
    ale.loadROM(cast(Path, roms.get_rom_path(rom)))
    return ale
