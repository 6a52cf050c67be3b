"""stable-retro as an emulator of `macro_gym.frames`, one game in a process."""

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
    """A moment of a game, from which it goes on as it did.

    Args:
        console: The console, as the emulator saves it.
        held: Index of what is held; None right after a reset.
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
    """A game of stable-retro under the names of `macro_gym.frames.Emulator`.

    It is ``RetroEnv`` that loads the game and resets it; a frame does what its ``step`` does, but
    for the screen, which is read only where it is drawn, and for the copy of the console's memory,
    which takes a tenth of the time. It is left out where none of the integration's variables has
    changed, if the scenario is such that then nothing is paid and nothing ends.

    Sticky actions are those of Gymnasium's ``StickyAction`` around ``RetroEnv``: at each frame but
    an episode's first, the action of the frame before may be repeated.

    Args:
        integration: The game.
        held: What each player holds, for each action.
        state: Savestate to start from; None for the integration's own.
        scenario: Path of the scenario.
        repeat_action_probability: Chance, at each frame, that the last action is repeated.
        random: Draws a number within [0, 1), for that.
        max_frames: Frames after which an episode is truncated; None for never.
        colour: Whether ``draw`` draws in colours.

    Raises:
        MissingRomError: The ROM is not there.
        EmulatorInUseError: This process has a game of stable-retro already.
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
        """Called before each frame with the action that is run in it."""
        self._variables: Any = None
        self._is_behind = False
        # Looked up once: a frame calls all of them.
        data = self._env.data
        self._step, self._look, self._update = self._env.em.step, data.lookup_all, data.update_ram
        self._reward, self._is_done = data.current_reward, data.is_done

    @property
    def env(self) -> Any:
        """The RetroEnv, and in it the memory as it is now."""
        if self._is_behind:
            self._update()
            self._is_behind = False
        return self._env

    def frames_left(self) -> int:
        """Return after how many frames the episode is truncated at the latest."""
        return self._limit - self.frames

    def reset(self) -> None:
        """Go to the start of an episode."""
        self._env.reset()
        self._held, self._over, self.frames = None, False, 0
        self._variables, self._is_behind = None, False

    def act(self, action: int, /) -> float:
        """Run one frame with ``action``, or with the one before; none if the episode is over."""
        if self._over or self.frames >= self._limit:
            return 0.0
        if self._repeat and self._held is not None and self.random() < self._repeat:
            action = self._held
        if action != self._held:
            self._hold(action)
        if self.on_frame is not None:
            self.on_frame(self, action)
        # Counted before it is run, since Ctrl-C is heard as soon as it was.
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
        """Say whether the episode has ended, for whichever reason."""
        return self._over or self.frames >= self._limit

    def terminated(self) -> bool:
        """Say whether the scenario says that the game is over."""
        return self._over

    def truncated(self) -> bool:
        """Say whether the episode has used up its frames."""
        return self.frames >= self._limit

    def lives(self) -> int:
        """Count the lives left; 0 where the integration does not know them."""
        return int(self._env.data.lookup_value("lives")) if self._has_lives else 0

    def screen(self) -> Image:
        """Return the present screen as RetroEnv shows it: shape ``(height, width, 3)``."""
        screen: Image = self._env.get_screen(apply_rotation=True)
        return screen

    def draw(self, out: Image, /) -> None:
        """Write the present screen to ``out``: shape ``(height, width)`` or ``(.., .., 3)``.

        Consoles may change the resolution within a game; then it is resized to that of ``out``.
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
        """Return what the integration reads from memory, and how many frames were run."""
        return dict(self.env.data.lookup_all()) | {
            "episode_frame_number": self.frames,
            "frame_number": self.total_frames,
        }

    def save(self) -> RetroState:
        """Return this moment of the game."""
        console = self._env.em.get_state()
        return RetroState(console, self._held, self.frames, self.total_frames, self._over)

    def restore(self, state: RetroState) -> None:
        """Go back to a moment of the game; the next frame pays as it did."""
        self._env.em.set_state(state.console)
        self._env.data.reset()
        self._update()
        self._variables, self._is_behind = None, False
        self.frames, self.total_frames, self._over = state.frames, state.total_frames, state.over
        # What was last held is not in the console's state.
        self._held = None
        if state.held is not None:
            self._hold(state.held)

    def show(self) -> None:
        """Show the present screen in a window."""
        self._env.img = self.screen()
        self._env.render_mode = "human"
        self._env.render()

    def require_open(self) -> None:
        """Refuse to go on after `close`.

        Raises:
            EnvironmentClosedError: It was called.
        """
        if not hasattr(self._env, "em"):
            raise EnvironmentClosedError(
                "the environment is closed, and its game may be another's by now; make a new one"
            )

    def close(self) -> None:
        """Leave the process to another game."""
        vars(self).pop("_step", None)
        self._env.close()

    def _hold(self, action: int) -> None:
        """Hold what ``action`` holds from now on."""
        self._held = action
        for player, row in enumerate(self._rows[action]):
            self._env.em.set_button_mask(row, player)


def _resized(screen: Image, size: tuple[int, ...]) -> Image:
    """A screen of another height and width."""
    resized = np.empty((*size, 3), np.uint8)
    OpenCVResizer()(screen, resized)
    return resized


def retro_env(game: str, state: str | None, scenario: str, players: int) -> Any:
    """Return a game in a RetroEnv, an episode begun.

    Raises:
        EmulatorInUseError: This process has a game of stable-retro already.
        EnvironmentSettingError: The scenario asks for what the game does not have.
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
            # RetroEnv goes on with the last episode where there is no savestate to go back to.
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
