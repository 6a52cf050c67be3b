"""Frame skipping, max-pooling, resizing and stacking, with drawing deferred until it is seen."""

import warnings
from collections.abc import Iterable, Iterator
from itertools import repeat
from typing import Any, Protocol

import gymnasium as gym
import numpy as np

from macro_gym.errors import FrameSkipError
from macro_gym.macro_set import MacroSet
from macro_gym.resize import Image, resizer


class Emulator(Protocol):
    """What stepping and drawing need from an emulator; one ``act`` is one frame."""

    def act(self, action: int, /) -> float:
        """Run one frame with ``action`` (in the emulator's own numbering); return its reward."""

    def over(self) -> bool:
        """Return whether the episode has ended, for any reason."""

    def terminated(self) -> bool:
        """Return whether the game is over."""

    def truncated(self) -> bool:
        """Return whether the episode has used up its frames."""

    def lives(self) -> int:
        """Return the number of lives left."""

    def draw(self, out: Image, /) -> None:
        """Write the current screen to ``out``: shape ``(height, width)`` or ``(.., .., 3)``."""

    def memory(self, out: Image, /) -> None:
        """Write the console's memory to ``out`` of shape ``(bytes,)``."""


class Frames(Protocol):
    """Runs steps of ``frameskip`` frames and produces observations of them."""

    def reset(self, emulator: Emulator) -> None:
        """Make the emulator's current state the first step of an episode."""

    def step(self, emulator: Emulator, action: int) -> tuple[float, bool, bool]:
        """Run one step; return its reward and whether the episode terminated or truncated."""

    def skip(self, emulator: Emulator, action: int) -> tuple[float, bool, bool]:
        """Run one step that no observation will show."""

    def observation(self, emulator: Emulator) -> Image:
        """Return the current observation, in a new array."""


class ScreenFrames:
    """Stacked screens, bit for bit as from ``AtariPreprocessing`` within ``FrameStackObservation``.

    A step is drawn in two parts. Its last two screens are read and max-pooled, at the emulator's
    resolution, when it is run; resizing, the larger part, waits until an observation shows it. A
    step that is skipped is not read at all.

    Args:
        raw_shape: Shape of the emulator's screens, ``(height, width)`` or ``(height, width, 3)``.
        frameskip: Frames per step.
        screen_size: Width and height that screens are resized to, in pixels.
        stack_size: Steps in an observation.
        terminal_on_life_loss: Whether losing a life ends the episode.
    """

    def __init__(
        self,
        raw_shape: tuple[int, ...],
        *,
        frameskip: int,
        screen_size: tuple[int, int],
        stack_size: int,
        terminal_on_life_loss: bool,
    ) -> None:
        """Allocate the buffers."""
        self.frameskip = frameskip
        self.stack_size = stack_size
        self.terminal_on_life_loss = terminal_on_life_loss
        self._lives = 0
        self._pooled = np.zeros((stack_size, *raw_shape), np.uint8)
        self._newest = 0
        self._penultimate = np.zeros(raw_shape, np.uint8)
        self._shown = np.zeros((stack_size, *screen_size[::-1], *raw_shape[2:]), np.uint8)
        self._unshown = 0
        self._resize = resizer(raw_shape, screen_size[::-1])

    def reset(self, emulator: Emulator) -> None:
        """Fill the stack with the current screen."""
        self._lives = emulator.lives()
        emulator.draw(self._pooled[self._newest])
        self._penultimate.fill(0)
        self._resize(self._pooled[self._newest], self._shown[0])
        self._shown[1:] = self._shown[0]
        self._unshown = 0

    def place(self) -> tuple[int, int]:
        """The position in the stack, for `go_back`."""
        return self._newest, self._unshown

    def go_back(self, place: tuple[int, int]) -> None:
        """Return to an earlier `place`; at least as many steps must be rerun as were run since."""
        self._newest, self._unshown = place

    def step(self, emulator: Emulator, action: int) -> tuple[float, bool, bool]:
        """Run up to ``frameskip`` frames, stopping if the episode ends."""
        previous = self._pooled[self._newest]
        self._newest = (self._newest + 1) % self.stack_size
        self._unshown = min(self._unshown + 1, self.stack_size)
        pooled = self._pooled[self._newest]
        # Every look-up counts here: the emulator evicts all our data from the CPU's caches.
        act, over, mortal = emulator.act, emulator.over, self.terminal_on_life_loss
        reward, lost = 0.0, False
        for to_go in range(self.frameskip - 1, -1, -1):
            reward += act(action)
            if (mortal and (lost := self._lost_a_life(emulator))) or over():
                # Gymnasium reads no screen of the frame that ends an episode: the step before stays
                # in view.
                pooled[:] = previous
                break
            if to_go == 1:
                emulator.draw(self._penultimate)
            elif to_go == 0:
                emulator.draw(pooled)
        if self.frameskip > 1:
            np.maximum(pooled, self._penultimate, out=pooled)
        return reward, lost or emulator.terminated(), emulator.truncated()

    def skip(self, emulator: Emulator, action: int) -> tuple[float, bool, bool]:
        """Run ``frameskip`` frames without reading any.

        The observation is correct again ``max(stack_size, 2)`` whole steps later, no earlier. If
        the episode ends within the step, the remaining frames are still requested: the emulator
        runs none, but its random numbers advance.
        """
        reward = float(sum(map(emulator.act, repeat(action, self.frameskip))))
        return reward, emulator.terminated(), emulator.truncated()

    def observation(self, emulator: Emulator) -> Image:
        """Return the last steps, oldest first: shape ``(stack_size, height, width[, 3])``."""
        if self._unshown:
            self._shown[: -self._unshown] = self._shown[self._unshown :]
            for back in range(self._unshown - 1, -1, -1):
                self._resize(self._pooled[self._newest - back], self._shown[-1 - back])
            self._unshown = 0
        return self._shown.copy()

    def _lost_a_life(self, emulator: Emulator) -> bool:
        """Whether there are fewer lives than after the last frame."""
        before, self._lives = self._lives, emulator.lives()
        return self._lives < before


class MemoryFrames:
    """The console's memory after each step, as with ``AtariEnv``'s ``obs_type="ram"``.

    Like ``AtariEnv``, a step requests all its frames even if the episode ends in the first: the
    emulator ignores the rest, yet draws its random numbers for them.

    Args:
        size: Bytes of memory.
        frameskip: Frames per step.
        terminal_on_life_loss: Whether a step with a lost life ends the episode.
    """

    def __init__(self, size: int, *, frameskip: int, terminal_on_life_loss: bool) -> None:
        """Store the settings."""
        self.size = size
        self.frameskip = frameskip
        self.terminal_on_life_loss = terminal_on_life_loss
        self._lives = 0

    def reset(self, emulator: Emulator) -> None:
        """Count the lives at the start."""
        self._lives = emulator.lives()

    def step(self, emulator: Emulator, action: int) -> tuple[float, bool, bool]:
        """Run ``frameskip`` frames."""
        reward = 0.0
        for _ in range(self.frameskip):
            reward += emulator.act(action)
        before, self._lives = self._lives, emulator.lives()
        lost = self.terminal_on_life_loss and self._lives < before
        return reward, emulator.terminated() or lost, emulator.truncated()

    skip = step

    def observation(self, emulator: Emulator) -> Image:
        """Return the memory: shape ``(size,)``."""
        memory = np.empty(self.size, np.uint8)
        emulator.memory(memory)
        return memory


def frames_per_step(env: gym.Env[Any, Any]) -> int:
    """Return the number of emulator frames per step of ``env``; 0 if it is not an emulator.

    Considers the environment (``_frameskip``, as in ``AtariEnv``) and the wrappers that skip:
    ``AtariPreprocessing``, ``MaxAndSkipObservation`` and Stable-Baselines3's ``MaxAndSkipEnv``.

    Raises:
        FrameSkipError: Two of them skip, or the environment skips a random number of frames.
    """
    return combined_skip(_skips(env))


def combined_skip(skips: Iterable[tuple[str, Any]]) -> int:
    """Return the number of emulator frames per step of layers that skip; 0 if there are none.

    Args:
        skips: Name and frames per step of each layer, outermost first.

    Raises:
        FrameSkipError: Two of them skip, or one skips a random number of frames.
    """
    skips = list(skips)
    if not skips:
        return 0
    for name, frames in skips:
        if not isinstance(frames, (int, np.integer)):
            raise FrameSkipError(
                f"{name} skips {frames} frames, a random number; macros are made of steps that "
                "are all alike. Use an environment with a fixed frameskip, such as ALE/<Game>-v5."
            )
    skipping = [(name, int(frames)) for name, frames in skips if frames > 1]
    if len(skipping) > 1:
        factors = " and ".join(f"{name} skips {frames}" for name, frames in skipping)
        product = int(np.prod([frames for _, frames in skipping]))
        raise FrameSkipError(
            f"{factors} frames: together {product} frames a step. Make the environment with "
            "frameskip=1, or take the skipping wrapper off."
        )
    return skipping[0][1] if skipping else 1


def warn_of_other_frameskip(macro_set: MacroSet, frameskip: int) -> None:
    """Warn if macros were mined at another number of frames per primitive.

    Args:
        macro_set: The macros; no warning if their frames per primitive are unknown.
        frameskip: Frames per primitive where they will be used; 0 if unknown.
    """
    mined = macro_set.provenance.frameskip
    if macro_set.macros and mined and frameskip and mined != frameskip:
        warnings.warn(
            f"the macros were mined at {mined} frames per primitive and are used at {frameskip}: "
            f"each will last {frameskip / mined:g} times as long as in the play it comes from",
            stacklevel=3,
        )


def _skips(env: gym.Env[Any, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the layers of ``env`` that skip frames, outermost first: class and frames per step."""
    while isinstance(env, gym.Wrapper):
        for attribute in ("frame_skip", "_skip"):
            if attribute in vars(env):
                yield type(env).__name__, vars(env)[attribute]
        env = env.env
    if hasattr(env, "_frameskip"):
        yield type(env).__name__, env._frameskip
