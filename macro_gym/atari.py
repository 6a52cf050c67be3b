"""MacroAtariEnv: Atari games with macro-actions, registered as ``MacroALE/<Game>-v5``."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import ale_py
import numpy as np
from gymnasium.core import RenderFrame

from macro_gym.ale import AleEmulator, require_game, require_modes
from macro_gym.banks import load_bank
from macro_gym.emulator_env import (
    EmulatorEnv,
    Macros,
    ObservationType,
    RenderMode,
    loaded,
    most_frequent,
)
from macro_gym.errors import RestoreError
from macro_gym.frames import Emulator, Frames
from macro_gym.macro_set import MacroSet
from macro_gym.resize import Image


class MacroAtariEnv(EmulatorEnv):
    """An Atari game whose actions are its primitives followed by ``k`` macros.

    With the same seed, the agent sees bit for bit what it would see with
    ``MacroAction(FrameStackObservation(AtariPreprocessing(AtariEnv(frameskip=1)), 4))``: after each
    decision the last four steps, each the maximum of the last two of its ``frameskip`` screens, in
    greyscale, resized to 84×84. Rewards are the game's score, neither clipped nor scaled. It is
    faster, since only those four steps are drawn.

    ``info`` holds ``duration`` (primitives run), ``primitive_rewards`` (float32, as long as the
    longest macro, zero after ``duration``), ``lives``, ``episode_frame_number`` and
    ``frame_number``.

    The environment can be pickled and copied in the middle of an episode; the copy continues
    exactly like the original. (The emulator's saved states lack the action that sticky actions
    repeat, so a copy replays the episode from its start, which can take seconds for a very long
    one.)

    Args:
        game: The game, in snake_case: ``"ms_pacman"``.
        k: Number of macros, most frequent first. ``None``: 128 from the shipped bank, or all of
            ``macros``. 0: no macros.
        macros: A `MacroSet`, or a path to one; ``None`` for the game's shipped bank. Matched to the
            game's actions by name.
        obs_type: ``"grayscale"`` (shape ``(4, 84, 84)``), ``"rgb"`` (``(4, 84, 84, 3)``) or
            ``"ram"`` (``(128,)``, the console's memory, not stacked). Stable-Baselines3 has no
            policy for the four dimensions of ``"rgb"``.
        frameskip: Frames per primitive.
        repeat_action_probability: Probability, per frame, of repeating the last action.
        full_action_space: Whether to offer all 18 actions instead of those the game uses.
        max_num_frames_per_episode: Frames after which an episode is truncated; ``None`` for never.
        mode: Game mode, as in ``AtariEnv``.
        difficulty: Game difficulty, as in ``AtariEnv``.
        noop_max: Maximum number of no-op frames, drawn at random, at the start of an episode.
        terminal_on_life_loss: Whether to end the episode when a life is lost.
        screen_size: Side length, or width and height, of observations in pixels.
        stack_size: Steps in an observation.
        render_mode: ``"rgb_array"`` (the current screen), ``"rgb_array_list"`` (the screen after
            each primitive since the last ``render``) or ``"human"``.

    Raises:
        UnknownGameError: There is no such game.
        EnvironmentSettingError: Another setting is out of range, or the game does not have the mode
            or difficulty.
        ArgumentTypeError: ``macros``, ``k`` or another setting has the wrong type.
        MissingFileError: ``macros`` is the path of a file that does not exist.
        FrameSkipError: ``frameskip`` is not a positive integer.
        MissingBankError: No macros were given and none are shipped for the game.
        InvalidMacroError: ``k`` is larger than the number of macros.
        RemapError: A macro needs an action that the game does not have.

    Example:
        >>> macros = MacroSet(("NOOP", "LEFT", "RIGHT"), ((1, 1, 1, 1), (2, 2)))
        >>> env = MacroAtariEnv("breakout", macros=macros)
        >>> env.get_action_meanings()
        ['NOOP', 'FIRE', 'RIGHT', 'LEFT', 'LEFT×4', 'RIGHT×2']
        >>> observation, info = env.reset(seed=1)
        >>> observation, reward, terminated, truncated, info = env.step(4)
        >>> info["duration"], info["episode_frame_number"]
        (4, 16)

    Source: arXiv 2506.13690; preprocessing of Machado et al. (2018).
    """

    # Even if the game's minimal set lacks it.
    _noop = ale_py.Action.NOOP.value

    def __init__(
        self,
        game: str,
        k: int | None = None,
        macros: Macros = None,
        *,
        obs_type: ObservationType = "grayscale",
        frameskip: int = 4,
        repeat_action_probability: float = 0.25,
        full_action_space: bool = False,
        max_num_frames_per_episode: int | None = 108_000,
        mode: int | None = None,
        difficulty: int | None = None,
        noop_max: int = 0,
        terminal_on_life_loss: bool = False,
        screen_size: int | tuple[int, int] = 84,
        stack_size: int = 4,
        render_mode: RenderMode | None = None,
    ) -> None:
        """Load the game and match the macros to its actions."""
        require_game(game)
        super().__init__(
            obs_type=obs_type,
            frameskip=frameskip,
            repeat_action_probability=repeat_action_probability,
            noop_max=noop_max,
            terminal_on_life_loss=terminal_on_life_loss,
            screen_size=screen_size,
            stack_size=stack_size,
            render_mode=render_mode,
        )
        require_modes(game, mode, difficulty)
        self._emulator_settings: dict[str, Any] = {
            "game": game,
            "mode": mode,
            "difficulty": difficulty,
            "obs_type": "ram",
            "frameskip": 1,
            "repeat_action_probability": repeat_action_probability,
            "full_action_space": full_action_space,
            "max_num_frames_per_episode": max_num_frames_per_episode,
            "render_mode": "rgb_array" if render_mode == "rgb_array_list" else render_mode,
        }
        self._played = bytearray()
        # A window shows every frame anyway, and would show the whole episode again.
        self._lives_foretell_end = (
            obs_type != "ram" and not terminal_on_life_loss and render_mode != "human"
        )
        self._load_emulator()
        names = tuple(self._atari.get_action_meanings())
        self._np_random = self._atari.np_random
        self._begin_playing(_macro_set(game, names, k, macros))

    @property
    def ale(self) -> ale_py.ALEInterface:
        """The emulator itself. Changes made to it directly are lost on pickling and copying."""
        ale: ale_py.ALEInterface = self._atari.ale
        return ale

    def get_keys_to_action(self) -> dict[tuple[str, ...], int]:
        """Return the primitive for each combination of keys, for human play."""
        keys: dict[tuple[str, ...], int] = self._atari.get_keys_to_action()
        return keys

    def __getstate__(self) -> dict[str, Any]:
        """Return everything but the emulator, which ``_episode_start`` and ``_played`` rebuild."""
        state = self.__dict__.copy()
        for name in ("_atari", "_emulator", "_codes"):
            del state[name]
        state["_memory"] = self.ale.getRAM()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Load the emulator and replay the episode up to the saved point."""
        memory = state.pop("_memory")
        self.__dict__.update(state)
        self._load_emulator()
        self._replay_episode()
        if not np.array_equal(self.ale.getRAM(), memory):
            raise RestoreError(
                f"playing the episode of {self._emulator_settings['game']} again did not lead to "
                "the state that was saved. Was the emulator (env.ale) driven directly since the "
                "last reset? Then save right after a reset."
            )

    def _load_emulator(self) -> None:
        """Create the emulator, at the start of its game."""
        self._atari = ale_py.AtariEnv(**self._emulator_settings)
        self._emulator: Emulator = AleEmulator(self._atari.ale, colour=self._obs_type == "rgb")
        self._codes = [action.value for action in self._atari._action_set]

    def _reset_game(self, seed: int | None, options: dict[str, Any] | None) -> dict[str, Any]:
        """Reset the game, and with a seed both random streams; return its info."""
        _, info = self._atari.reset(seed=seed, options=options)
        if seed is not None:
            self._np_random, self._np_random_seed = self._atari.np_random, seed
        return dict(info)

    def _game_info(self) -> dict[str, Any]:
        """``AtariEnv``'s info after a step."""
        return dict(self._atari._get_info())

    def _screen(self) -> Image:
        """The current screen, in colour."""
        return self.ale.getScreenRGB()

    def _render_now(self) -> RenderFrame | None:
        """Show the current screen, or return it."""
        screen: RenderFrame | None = self._atari.render()
        return screen

    def _memory_size(self) -> int:
        """Size of the console's memory in bytes."""
        return self.ale.getRAMSize()

    def _raw_size(self) -> tuple[int, int]:
        """Height and width of the screen."""
        height, width = self.ale.getScreenDims()
        return height, width

    def _begin_episode(self) -> None:
        """Start an episode from the emulator's current state."""
        self._episode_start = self.ale.cloneState(include_rng=True).serialize()
        self._played.clear()
        super()._begin_episode()

    def _ran(self, primitives: Sequence[int], *, draw_again: bool) -> None:
        """Record what a decision ran; after an unforeseen end, replay the episode, drawing it."""
        self._played.extend(primitives)
        if draw_again:
            self._lives_foretell_end = False
            self._frames = self._replay_episode()

    def _replay_episode(self) -> Frames:
        """Replay the episode from its start; return its steps, all drawn."""
        # The emulator's saved states lack the action that sticky actions repeat. Right after a
        # reset it is NOOP, here as it was then.
        self.ale.reset_game()
        self.ale.restoreState(ale_py.ALEState(self._episode_start))
        frames = self._new_frames()
        frames.reset(self._emulator)
        for primitive in self._played:
            frames.step(self._emulator, self._codes[primitive])
        return frames

    def _unseen_steps(self, steps: int) -> int:
        """How many of the next ``steps`` no observation shows, unless the episode ends within them.

        If it did, they would be shown, so they are left undrawn only while lives and frames remain.
        A few games end anyway: the episode is then replayed with drawing, and lives are no longer
        relied on. (Replaying just these steps from a saved state would not work: see
        `_replay_episode`.)
        """
        unseen = steps - max(self._stack_size, 2)
        if unseen <= 0 or not self._lives_foretell_end or len(self._played) < self._stack_size:
            return 0
        frames = self.ale.getEpisodeFrameNumber() + steps * self.frameskip
        limit = self._emulator_settings["max_num_frames_per_episode"] or math.inf
        return unseen if self.ale.lives() > 1 and frames < limit else 0


def _macro_set(game: str, names: tuple[str, ...], k: int | None, macros: Macros) -> MacroSet:
    """The requested macros, over the game's actions."""
    if k == 0 and macros is None:
        return MacroSet(names)
    # Remapped last: only the chosen macros have to fit.
    return most_frequent(loaded(macros, partial(load_bank, game)), k, macros).remap(names)
