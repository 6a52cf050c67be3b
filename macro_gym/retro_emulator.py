"""Adapter of stable-retro to `macro_gym.frames.Emulator`, with one game per process."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import stable_retro

from macro_gym.buttons import Held
from macro_gym.errors import EmulatorInUseError, EnvironmentClosedError, EnvironmentSettingError
from macro_gym.resize import Image, OpenCVResizer
from macro_gym.retro_games import Integration, is_moved_by_variables

NEVER = 2**63
"""More frames than any episode has."""


@dataclass(frozen=True, slots=True)
class RetroState:
    """A saved state from which a game continues as before.

    Args:
        console: The console's state, as the emulator saves it.
        held: Index of the action held; None right after a reset.
        frames: Frames since the reset.
        total_frames: Frames since the game was loaded.
        over: Whether the game was over.
    """

    console: bytes
    held: int | None
    frames: int
    total_frames: int
    over: bool


class RetroEmulator:
    """Adapt a stable-retro game to `macro_gym.frames.Emulator`.

    ``RetroEnv`` loads and resets the game. A frame does what its ``step`` does, except that the
    screen is read only when it is drawn, and that the copy of the console's memory, which takes a
    tenth of the time, is skipped if none of the integration's variables has changed and the
    scenario is such that then nothing is paid and nothing ends.

    Sticky actions are those of Gymnasium's ``StickyAction`` around ``RetroEnv``: at each frame but
    an episode's first, the action of the previous frame may be repeated.

    Args:
        integration: The game.
        held: What each player holds, for each action.
        state: Savestate to start from; None for the integration's default.
        scenario: Path of the scenario.
        repeat_action_probability: Probability, per frame, of repeating the last action.
        random: Draws a number within [0, 1), for sticky actions.
        max_frames: Frames after which an episode is truncated; None for never.
        colour: Whether ``draw`` draws in colour.

    Raises:
        MissingRomError: The ROM was not imported.
        EmulatorInUseError: This process already runs a stable-retro game.
    """

    def __init__(
        self,
        integration: Integration,
        held: Sequence[Held],
        *,
        state: str | None,
        scenario: str,
        repeat_action_probability: float,
        random: Callable[[], float],
        max_frames: int | None,
        colour: bool,
    ) -> None:
        """Load the game."""
        integration.require_rom()
        self._must_see_all = not is_moved_by_variables(Path(scenario))
        self._env = retro_env(integration.game, state, scenario, players=len(held[0]))
        self.random = random
        self.colour = colour
        self._rows = held
        self._repeat = repeat_action_probability
        self._limit = NEVER if max_frames is None else max_frames
        self._has_lives = "lives" in integration.variables
        self._held: int | None = None
        self._over = False
        self.frames = 0
        self.total_frames = 0
        self.on_frame: Callable[[RetroEmulator, int], None] | None = None
        """Called before each frame with the emulator and the action that the frame runs."""
        self._variables: Any = None
        self._is_behind = False
        # Looked up once, since a frame calls all of them.
        data = self._env.data
        self._step, self._look, self._update = self._env.em.step, data.lookup_all, data.update_ram
        self._reward, self._is_done = data.current_reward, data.is_done

    @property
    def env(self) -> Any:
        """The RetroEnv, with its copy of the memory brought up to date."""
        if self._is_behind:
            self._update()
            self._is_behind = False
        return self._env

    def frames_left(self) -> int:
        """Return the number of frames until the episode is truncated."""
        return self._limit - self.frames

    def reset(self) -> None:
        """Go to the start of an episode."""
        self._env.reset()
        self._held, self._over, self.frames = None, False, 0
        self._variables, self._is_behind = None, False

    def act(self, action: int, /) -> float:
        """Run one frame with ``action`` or a sticky repeat; none if the episode is over."""
        if self._over or self.frames >= self._limit:
            return 0.0
        if self._repeat and self._held is not None and self.random() < self._repeat:
            action = self._held
        if action != self._held:
            self._hold(action)
        if self.on_frame is not None:
            self.on_frame(self, action)
        # Counted before it is run, since Ctrl-C is handled right afterwards.
        self.frames += 1
        self.total_frames += 1
        self._step()
        variables = self._look()
        if variables == self._variables and not self._must_see_all:
            self._is_behind = True
            return 0.0
        self._update()
        self._variables, self._is_behind = variables, False
        self._over = self._is_done()
        return float(self._reward())

    def over(self) -> bool:
        """Return whether the episode has ended, for any reason."""
        return self._over or self.frames >= self._limit

    def terminated(self) -> bool:
        """Return whether the scenario says that the game is over."""
        return self._over

    def truncated(self) -> bool:
        """Return whether the episode has used up its frames."""
        return self.frames >= self._limit

    def lives(self) -> int:
        """Return the number of lives left; 0 if the integration does not read it."""
        return int(self._env.data.lookup_value("lives")) if self._has_lives else 0

    def screen(self) -> Image:
        """Return the current screen as RetroEnv shows it: shape ``(height, width, 3)``."""
        screen: Image = self._env.get_screen(apply_rotation=True)
        return screen

    def draw(self, out: Image, /) -> None:
        """Write the current screen to ``out``: shape ``(height, width)`` or ``(.., .., 3)``.

        Consoles may change resolution within a game; the screen is then resized to ``out``'s.
        """
        screen = self.screen()
        if screen.shape[:2] != out.shape[:2]:
            screen = _resized(screen, out.shape[:2])
        if self.colour:
            out[:] = screen
        else:
            cv2.cvtColor(screen, cv2.COLOR_RGB2GRAY, dst=out)

    def memory(self, out: Image, /) -> None:
        """Write the console's memory to ``out`` of shape ``(bytes,)``."""
        out[:] = self.env.get_ram()

    def info(self) -> dict[str, Any]:
        """Return the variables that the integration reads from memory, and the frames run."""
        return dict(self.env.data.lookup_all()) | {
            "episode_frame_number": self.frames,
            "frame_number": self.total_frames,
        }

    def save(self) -> RetroState:
        """Return the game's current state."""
        console = self._env.em.get_state()
        return RetroState(console, self._held, self.frames, self.total_frames, self._over)

    def restore(self, state: RetroState) -> None:
        """Restore a saved state; the next frame pays as it did."""
        self._env.em.set_state(state.console)
        self._env.data.reset()
        self._update()
        self._variables, self._is_behind = None, False
        self.frames, self.total_frames, self._over = state.frames, state.total_frames, state.over
        # The console's state does not include what was last held.
        self._held = None
        if state.held is not None:
            self._hold(state.held)

    def show(self) -> None:
        """Show the current screen in a window."""
        self._env.img = self.screen()
        self._env.render_mode = "human"
        self._env.render()

    def require_open(self) -> None:
        """Raise if the environment is closed.

        Raises:
            EnvironmentClosedError: It is.
        """
        if not hasattr(self._env, "em"):
            raise EnvironmentClosedError(
                "the environment is closed, and its game may be another's by now; make a new one"
            )

    def close(self) -> None:
        """Free the process for another game."""
        vars(self).pop("_step", None)
        self._env.close()

    def _hold(self, action: int) -> None:
        """Hold the buttons of ``action`` from now on."""
        self._held = action
        for player, row in enumerate(self._rows[action]):
            self._env.em.set_button_mask(row, player)


def _resized(screen: Image, size: tuple[int, ...]) -> Image:
    """A screen resized to another height and width."""
    resized = np.empty((*size, 3), np.uint8)
    OpenCVResizer()(screen, resized)
    return resized


def retro_env(game: str, state: str | None, scenario: str, players: int) -> Any:
    """Return a game in a RetroEnv, at the start of an episode.

    Raises:
        EmulatorInUseError: This process already runs a stable-retro game.
        EnvironmentSettingError: The scenario needs something that the game does not have.
    """
    try:
        env = stable_retro.RetroEnv(
            game,
            state=stable_retro.State.DEFAULT if state is None else state,
            scenario=scenario,
            use_restricted_actions=stable_retro.Actions.ALL,
            players=players,
            render_mode="rgb_array",
        )
    except RuntimeError as error:
        if "multiple emulator instances" not in str(error):
            raise
        raise EmulatorInUseError(
            f"{game} cannot be loaded: this process runs a game of stable-retro already, and the "
            "emulators can run only one in a process. Close the other environment first; for "
            "several at the same time use gym.make_vec(..., num_envs=N), which gives each a "
            'process of its own, as do vectorization_mode="async" and Stable-Baselines3\'s '
            "SubprocVecEnv. (Processes that are forked from one with a game have that game too: "
            'context="forkserver" avoids that.)'
        ) from error
    try:
        if env.initial_state is None:
            # Without a savestate to return to, RetroEnv continues the last episode.
            env.initial_state = env.em.get_state()
        env.reset()
    except BaseException as error:
        env.close()
        if not isinstance(error, (ValueError, RuntimeError)):
            raise
        raise EnvironmentSettingError(
            f"scenario is {scenario!r}, which does not work with {game}: {error}. Does it name a "
            "variable that the integration does not have, or is its script wrong?"
        ) from error
    return env
