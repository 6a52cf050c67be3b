"""EmulatorEnv: base class of macro environments on any emulator."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.core import RenderFrame

from macro_gym.errors import ArgumentTypeError, EnvironmentSettingError
from macro_gym.frames import Emulator, Frames, MemoryFrames, ScreenFrames, warn_of_other_frameskip
from macro_gym.macro_action import decision_info
from macro_gym.macro_set import MacroSet
from macro_gym.resize import Image
from macro_gym.settings import (
    require_at_least,
    require_frameskip,
    require_one_of,
    require_probability,
)

FRAMES_PER_SECOND = 60
DEFAULT_K = 128

ObservationType = Literal["grayscale", "rgb", "ram"]
RenderMode = Literal["human", "rgb_array", "rgb_array_list"]
Macros = MacroSet | str | os.PathLike[str] | None
"""A macro set, the path to one, or None for the shipped bank."""


class EmulatorEnv(gym.Env[Image, np.int64], ABC):
    """A game whose actions are its primitives followed by macros.

    Subclasses provide the emulator: ``_emulator``, ``_codes`` (its codes for the primitives) and
    ``_noop`` (its code for doing nothing) must exist when they call `_begin_playing`, at the end.

    Args:
        obs_type: As in `macro_gym.atari.MacroAtariEnv`, like all others.
        frameskip: See there.
        repeat_action_probability: See there.
        noop_max: See there.
        terminal_on_life_loss: See there.
        screen_size: See there.
        stack_size: See there.
        render_mode: See there.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012  # as gym.Env declares it
        "render_modes": ["human", "rgb_array", "rgb_array_list"],
        "render_fps": FRAMES_PER_SECOND // 4,
    }

    macro_set: MacroSet
    _emulator: Emulator
    _codes: Sequence[int]
    _noop: int

    def __init__(
        self,
        *,
        obs_type: ObservationType,
        frameskip: int,
        repeat_action_probability: float,
        noop_max: int,
        terminal_on_life_loss: bool,
        screen_size: int | tuple[int, int],
        stack_size: int,
        render_mode: RenderMode | None,
    ) -> None:
        """Check the settings."""
        require_frameskip(frameskip)
        require_one_of("obs_type", obs_type, get_args(ObservationType))
        require_one_of("render_mode", render_mode, (None, *get_args(RenderMode)))
        require_at_least("stack_size", stack_size, 1)
        require_at_least("noop_max", noop_max, 0)
        require_probability("repeat_action_probability", repeat_action_probability)
        given: Any = screen_size  # JSON turns a pair into a list
        sides = tuple(given) if isinstance(given, (tuple, list)) else (given, given)
        if len(sides) != 2:
            raise EnvironmentSettingError(
                f"screen_size is {screen_size!r}; it must be a side, or width and height"
            )
        for side in sides:
            require_at_least("a side of screen_size", side, 1)
        self._obs_type = obs_type
        self._noop_max = noop_max
        self._terminal_on_life_loss = terminal_on_life_loss
        self._screen_size = sides
        self._stack_size = stack_size
        self.frameskip = frameskip
        self.render_mode = render_mode
        self.metadata = self.metadata | {"render_fps": max(FRAMES_PER_SECOND // frameskip, 1)}
        self._rendered: list[RenderFrame] = []

    def get_action_meanings(self) -> list[str]:
        """Return the name of every action: ``"LEFT"``, ``"LEFT×4"``, ``"RIGHT,NOOP"``."""
        return list(self.macro_set.names)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Image, dict[str, Any]]:
        """Start an episode: reset the game, then run up to ``noop_max`` no-op frames."""
        info = self._reset_game(seed, options)
        if self._noop_max > 0:
            for _ in range(int(self.np_random.integers(1, self._noop_max + 1))):
                self._emulator.act(self._noop)
                info.update(self._game_info())
                if self._emulator.over():
                    info = self._reset_game(seed, options)
        self._begin_episode()
        return self._frames.observation(self._emulator), info

    def step(self, action: np.int64) -> tuple[Image, float, bool, bool, dict[str, Any]]:
        """Run the primitives of ``action``, up to the episode's end."""
        primitives = self.macro_set.expand(action)
        unseen = self._unseen_steps(len(primitives))
        frames, emulator, codes = self._frames, self._emulator, self._codes
        rewards: list[float] = []
        for primitive in primitives:
            run = frames.skip if len(rewards) < unseen else frames.step
            reward, terminated, truncated = run(emulator, codes[primitive])
            rewards.append(reward)
            if self.render_mode is not None:
                self._watch()
            if terminated or truncated:
                break
        info = self._game_info() | decision_info(rewards, self.macro_set.max_length)
        ended_early = unseen > 0 and len(rewards) < len(primitives)
        self._ran(primitives[: len(rewards)], draw_again=ended_early)
        return self._frames.observation(self._emulator), sum(rewards), terminated, truncated, info

    def render(self) -> RenderFrame | list[RenderFrame] | None:
        """Return the current screen, or those since the last call, depending on ``render_mode``."""
        if self.render_mode != "rgb_array_list":
            return self._render_now()
        screens, self._rendered = self._rendered, []
        return screens

    @abstractmethod
    def _reset_game(self, seed: int | None, options: dict[str, Any] | None) -> dict[str, Any]:
        """Reset the game, and with a seed its random draws; return the game's info."""

    @abstractmethod
    def _game_info(self) -> dict[str, Any]:
        """Return the game's part of ``info``."""

    @abstractmethod
    def _screen(self) -> Image:
        """Return the current screen, in colour."""

    @abstractmethod
    def _render_now(self) -> RenderFrame | None:
        """Show the current screen, or return it."""

    @abstractmethod
    def _memory_size(self) -> int:
        """Return the size of the console's memory in bytes."""

    @abstractmethod
    def _raw_size(self) -> tuple[int, int]:
        """Return the height and width of the screen."""

    @abstractmethod
    def _unseen_steps(self, steps: int) -> int:
        """How many of the next ``steps`` need not be drawn, since no observation shows them."""

    @abstractmethod
    def _ran(self, primitives: Sequence[int], *, draw_again: bool) -> None:
        """Record what a decision ran.

        Args:
            primitives: All primitives that it ran.
            draw_again: Whether the episode ended earlier than foreseen, so that the observation
                shows steps that were not drawn and must be drawn after all.
        """

    def _begin_playing(self, macro_set: MacroSet) -> None:
        """Adopt the macros, and start an episode from the emulator's current state."""
        self.macro_set = macro_set
        warn_of_other_frameskip(macro_set, self.frameskip)
        self._frames = self._new_frames()
        self.action_space = spaces.Discrete(macro_set.n_actions)
        shape = self._frames.observation(self._emulator).shape
        self.observation_space = spaces.Box(0, 255, shape, np.uint8)
        self._begin_episode()

    def _begin_episode(self) -> None:
        """Start an episode from the emulator's current state."""
        self._frames.reset(self._emulator)
        self._rendered = []
        self._watch()

    def _watch(self) -> None:
        """Keep the current screen, if ``render_mode`` is ``"rgb_array_list"``."""
        if self.render_mode == "rgb_array_list":
            self._rendered.append(self._screen())

    def _new_frames(self) -> Frames:
        """The frames that turn steps into observations of ``obs_type``."""
        if self._obs_type == "ram":
            return MemoryFrames(
                self._memory_size(),
                frameskip=self.frameskip,
                terminal_on_life_loss=self._terminal_on_life_loss,
            )
        return ScreenFrames(
            (*self._raw_size(), *([3] if self._obs_type == "rgb" else [])),
            frameskip=self.frameskip,
            screen_size=self._screen_size,
            stack_size=self._stack_size,
            terminal_on_life_loss=self._terminal_on_life_loss,
        )


def loaded(macros: Macros, bank: Callable[[], MacroSet]) -> MacroSet:
    """Return the macro set that ``macros`` refers to.

    Args:
        macros: A set, the path to one, or None for the bank.
        bank: Returns the shipped bank.

    Raises:
        ArgumentTypeError: It is none of these.
        MissingFileError: It is the path of a file that does not exist.
    """
    if macros is None:
        return bank()
    if not isinstance(macros, (MacroSet, str, os.PathLike)):
        raise ArgumentTypeError(
            f"macros is a {type(macros).__name__}; it may be a MacroSet, the path of one, or None "
            "for the shipped bank. Was it read back from JSON, as EnvSpec.from_json does? Then "
            "name the set by its path."
        )
    return macros if isinstance(macros, MacroSet) else MacroSet.load(macros)


def most_frequent(macro_set: MacroSet, k: int | None, macros: Macros) -> MacroSet:
    """Return the first ``k`` macros; if None, all of a given set, or up to 128 of a bank."""
    count = len(macro_set.macros)
    default = min(DEFAULT_K, count) if macros is None else count
    return macro_set.top(default if k is None else k)
