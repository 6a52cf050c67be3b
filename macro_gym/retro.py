"""MacroRetroEnv: stable-retro games with macro-actions, registered as ``MacroRetro/<Game>-v0``."""

import os
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from gymnasium.core import RenderFrame
from gymnasium.utils import seeding

from macro_gym.banks import has_bank, load_bank
from macro_gym.buttons import BETWEEN_PLAYERS, Buttons, Held, button_row, joint, normal_name
from macro_gym.emulator_env import (
    EmulatorEnv,
    Macros,
    ObservationType,
    RenderMode,
    loaded,
    most_frequent,
)
from macro_gym.errors import ArgumentTypeError, EnvironmentSettingError, MissingBankError
from macro_gym.frames import ScreenFrames
from macro_gym.macro_set import MacroSet
from macro_gym.resize import Image
from macro_gym.retro_emulator import RetroEmulator
from macro_gym.retro_games import Integration, integration
from macro_gym.settings import require_at_least, require_one_of

if TYPE_CHECKING:
    from macro_gym.demonstrations.movie_recorder import MovieRecorder


LACKING_SAVESTATES = frozenset({"Atari2600"})
"""Consoles of which some games, when tested, did not continue from a savestate as before."""


class MacroRetroEnv(EmulatorEnv):
    """A stable-retro game whose actions are its primitives followed by ``k`` macros.

    Primitives are combinations of buttons, named ``"NOOP"``, ``"LEFT"``, ``"DOWN+RIGHT+B"``. With
    the same seed, the agent sees bit for bit what it would see with
    ``MacroAction(FrameStackObservation(AtariPreprocessing(StickyAction(RetroEnv)), 4))``, if
    ``AtariPreprocessing`` took emulators other than Atari's: after each decision the last four
    steps, each the maximum of the last two of its ``frameskip`` screens, in greyscale (as with
    OpenCV's ``COLOR_RGB2GRAY``), resized to 84×84. Rewards are the scenario's, neither clipped nor
    scaled.

    ``info`` holds ``duration`` (primitives run), ``primitive_rewards`` (float32, as long as the
    longest macro, zero after ``duration``), ``episode_frame_number``, ``frame_number`` and the
    variables that the integration reads from memory, such as ``score`` and ``lives``.

    The emulators run one game per process, so ``gym.make_vec`` gives every environment its own
    process. An environment can be pickled in the middle of an episode and continues, in another
    process, exactly like the original.

    Args:
        game: The game, as in ``"Airstriker-Genesis-v0"``.
        k: Number of macros, most frequent first. ``None``: 128 from the shipped bank, or all of
            ``macros``. 0: no macros.
        macros: A `MacroSet`, or a path to one; ``None`` for the game's shipped bank, if any.
            Matched to the primitives by name.
        obs_type: ``"grayscale"`` (shape ``(4, 84, 84)``), ``"rgb"`` (``(4, 84, 84, 3)``) or
            ``"ram"`` (``(bytes,)``, the console's memory, not stacked; 65,536 on a Genesis).
        frameskip: Frames per primitive.
        repeat_action_probability: Probability, per frame, of repeating the last action.
        state: Savestate to start from; ``None`` for the integration's default.
        scenario: What is rewarded and when the game is over: the name of one of the integration's
            scenarios, or the path of a JSON file of the same kind; ``None`` for its default.
        players: Number of players. With 2, an action is what both do, as in ``"LEFT|RIGHT+B"``, and
            the reward is the first player's.
        buttons: The primitives: combinations by name, or ``"all"`` that the integration allows.
            ``None``: the allowed ones that ``macros``, or else the bank, were mined with, if any;
            else all.
        max_num_frames_per_episode: Frames after which an episode is truncated; ``None`` for never.
        noop_max: Maximum number of no-op frames, drawn at random, at the start of an episode.
        terminal_on_life_loss: Whether to end the episode when a life is lost, if the integration
            counts lives.
        screen_size: Side length, or width and height, of observations in pixels.
        stack_size: Steps in an observation.
        record: Folder for a movie (``.bk2``) of each episode: the emulator's input, frame by frame,
            sticky repeats included. ``None`` for no movies.
        render_mode: ``"rgb_array"`` (the current screen), ``"rgb_array_list"`` (the screen after
            each primitive since the last ``render``) or ``"human"``.

    Raises:
        UnknownGameError: stable-retro does not integrate the game.
        MissingRomError: Its ROM was not imported; the message says which file is needed.
        EmulatorInUseError: This process already runs a stable-retro game.
        EnvironmentSettingError: Another setting is out of range, or the game does not have it.
        ArgumentTypeError: ``macros``, ``buttons``, ``k`` or another setting has the wrong type.
        MissingFileError: ``macros`` is the path of a file that does not exist.
        FrameSkipError: ``frameskip`` is not a positive integer.
        MissingBankError: Macros were requested, but none were given and none are shipped.
        InvalidMacroError: ``k`` is larger than the number of macros.
        RemapError: A macro needs an action that is not among the primitives.

    Example:
        >>> macros = MacroSet(("NOOP", "LEFT", "B"), ((1, 1, 1, 1), (2, 2)))
        >>> env = MacroRetroEnv("Airstriker-Genesis-v0", macros=macros)
        >>> env.get_action_meanings()
        ['NOOP', 'LEFT', 'B', 'LEFT×4', 'B×2']
        >>> observation, info = env.reset(seed=1)
        >>> observation, reward, terminated, truncated, info = env.step(3)
        >>> info["duration"], info["episode_frame_number"], info["lives"]
        (4, 16, 3)
        >>> env.close()

    Source: arXiv 2506.13690; stable-retro's RetroEnv; preprocessing of Machado et al. (2018).
    """

    def __init__(
        self,
        game: str,
        k: int | None = None,
        macros: Macros = None,
        *,
        obs_type: ObservationType = "grayscale",
        frameskip: int = 4,
        repeat_action_probability: float = 0.25,
        state: str | None = None,
        scenario: str | os.PathLike[str] | None = None,
        players: int = 1,
        buttons: Sequence[str] | Literal["all"] | None = None,
        max_num_frames_per_episode: int | None = 108_000,
        noop_max: int = 0,
        terminal_on_life_loss: bool = False,
        screen_size: int | tuple[int, int] = 84,
        stack_size: int = 4,
        record: str | os.PathLike[str] | None = None,
        render_mode: RenderMode | None = None,
    ) -> None:
        """Determine the primitives and the macros, then load the game."""
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
        self._integration = integration(game)
        _require_lives(self._integration, terminal_on_life_loss)
        self._integration.require_rom()
        require_one_of("players", players, (1, 2))
        if max_num_frames_per_episode is not None:
            require_at_least("max_num_frames_per_episode", max_num_frames_per_episode, 1)
        if state is not None:
            self._integration.require_state(state)
        given = _given(self._integration.game, k, macros, players)
        names = _primitives(self._integration, buttons, scenario, given, players)
        self._emulator_settings: dict[str, Any] = {
            "state": state,
            "scenario": str(self._integration.scenario_file(scenario)),
            "repeat_action_probability": repeat_action_probability,
            "max_frames": max_num_frames_per_episode,
        }
        self._can_draw_later = (
            obs_type != "ram"
            and not terminal_on_life_loss
            and self._integration.console not in LACKING_SAVESTATES
        )
        self._held = [_held(name, self._integration.buttons) for name in names]
        self._codes = range(len(names))
        self._noop = _idle(self._held, names, noop_max)
        self._recorder = None if record is None else self._movie_recorder(record)
        chosen = most_frequent(MacroSet(names) if given is None else given, k, macros)
        # Remapped last: only the chosen macros have to fit, and without macros any buttons will do.
        macro_set = chosen.remap(names)
        self._load_emulator()
        try:
            self._begin_playing(macro_set)
        except BaseException:
            self.close()
            raise

    @property
    def retro_env(self) -> Any:
        """The RetroEnv that runs the game, with its emulator and the variables read from memory."""
        return self._emulator.env

    def close(self) -> None:
        """Finish the movie and free the process for another game."""
        try:
            self._finish_movie()
        finally:
            self._emulator.close()

    def __getstate__(self) -> dict[str, Any]:
        """Return everything but the emulator, plus the emulator's saved state."""
        self._emulator.require_open()
        state = self.__dict__.copy()
        del state["_emulator"]
        state.pop("_before", None)  # of no use to later decisions
        return state | {"_saved": self._emulator.save()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Load the emulator and restore its saved state."""
        saved = state.pop("_saved")
        self.__dict__.update(state)
        self._load_emulator()
        try:
            self._emulator.restore(saved)
        except BaseException:
            self._emulator.close()
            raise

    def _load_emulator(self) -> None:
        """Load the game, at the start of an episode."""
        self._emulator: RetroEmulator = RetroEmulator(
            self._integration,
            self._held,
            colour=self._obs_type == "rgb",
            random=lambda: self.np_random.random(),
            **self._emulator_settings,
        )
        if self._recorder is not None:
            self._emulator.on_frame = self._recorder.frame

    def _movie_recorder(self, folder: str | os.PathLike[str]) -> "MovieRecorder":
        """The recorder of movies in ``folder``."""
        from macro_gym.demonstrations.movie_recorder import MovieRecorder

        scenario = self._emulator_settings["scenario"]
        return MovieRecorder(folder, self._integration, self._held, scenario)

    def _finish_movie(self) -> None:
        """Write the movie of the episode so far, if one is being recorded."""
        if self._recorder is not None:
            self._recorder.finish(self._emulator)

    def _reset_game(self, seed: int | None, options: dict[str, Any] | None) -> dict[str, Any]:
        """Reset the game, and with a seed the random generator; return the game's info."""
        self._emulator.require_open()
        if seed is not None:
            self._np_random, self._np_random_seed = seeding.np_random(seed)
            self._emulator.total_frames = 0
        self._finish_movie()
        self._emulator.reset()
        return self._game_info()

    def _begin_episode(self) -> None:
        """Start an episode from the emulator's current state."""
        super()._begin_episode()
        if self._recorder is not None:
            self._recorder.begin(self._emulator)

    def _game_info(self) -> dict[str, Any]:
        """The variables that the integration reads from memory, and the frames run."""
        return self._emulator.info()

    def _screen(self) -> Image:
        """The current screen, in colour."""
        return self._emulator.screen()

    def _render_now(self) -> RenderFrame | None:
        """Return the current screen, unless a window already shows it."""
        return self._screen() if self.render_mode == "rgb_array" else None

    def _watch(self) -> None:
        """Keep the current screen, or show it, if ``render_mode`` asks for it."""
        super()._watch()
        if self.render_mode == "human":
            self._emulator.show()

    def _memory_size(self) -> int:
        """Size of the console's memory in bytes."""
        return len(self.retro_env.get_ram())

    def _raw_size(self) -> tuple[int, int]:
        """Height and width of the screen."""
        height, width, _ = self._screen().shape
        return height, width

    def _unseen_steps(self, steps: int) -> int:
        """All but those in view; saves the state before them, in case the game ends within them."""
        self._emulator.require_open()
        unseen = steps - max(self._stack_size, 2)
        cut = self._emulator.frames_left() <= steps * self.frameskip
        if unseen <= 0 or cut or not self._can_draw_later:
            return 0
        state = self.np_random.bit_generator.state
        place = cast(ScreenFrames, self._frames).place()
        self._before = self._emulator.save(), state, place
        return unseen

    def _ran(self, primitives: Sequence[int], *, draw_again: bool) -> None:
        """After an unforeseen end, rerun the decision, drawing it; write the movie at an end."""
        if self._emulator.over():
            self._finish_movie()
        if draw_again:
            self._run_again(primitives)

    def _run_again(self, primitives: Sequence[int]) -> None:
        """Rerun a decision from the state before it, drawing it."""
        memory = self.retro_env.get_ram()
        self._emulator.on_frame, on_frame = None, self._emulator.on_frame
        saved, self.np_random.bit_generator.state, place = self._before
        self._emulator.restore(saved)
        cast(ScreenFrames, self._frames).go_back(place)
        for primitive in primitives:
            self._frames.step(self._emulator, self._codes[primitive])
        self._emulator.on_frame = on_frame
        if not np.array_equal(memory, self.retro_env.get_ram()):
            self._can_draw_later = False
            warnings.warn(
                f"savestates of {self._integration.game} lack something: the last observation of "
                "this episode may not be what was to be seen. From now on all steps are drawn.",
                stacklevel=4,
            )


def _given(game: str, k: int | None, macros: Macros, players: int) -> MacroSet | None:
    """The macro set to choose from, even if ``k`` is 0; None if there is none."""
    if macros is None and k == 0 and (players > 1 or not has_bank(game)):
        return None
    if macros is None and players > 1:
        raise MissingBankError(
            f"players is {players}, but the banks are of play by one. Say k=0, or give macros of "
            "what both do, such as MacroSet(('NOOP|NOOP', 'LEFT|RIGHT+B'), ((1, 1),))"
        )
    return loaded(macros, lambda: load_bank(game))


def _primitives(
    integration: Integration,
    buttons: Sequence[str] | str | None,
    scenario: str | os.PathLike[str] | None,
    given: MacroSet | None,
    players: int,
) -> tuple[str, ...]:
    """Names of the primitives."""
    if buttons is not None and buttons != "all":
        listed = isinstance(buttons, (list, tuple)) and all(isinstance(b, str) for b in buttons)
        if not listed or not buttons:
            raise ArgumentTypeError(
                f"buttons is {buttons!r}; it may be a list of combinations, such as "
                '["NOOP", "LEFT", "DOWN+RIGHT+B"] (of one player\'s: all do the same things), or '
                '"all", or None'
            )
        return joint([normal_name(name, integration.buttons) for name in buttons], players)
    allowed = joint(integration.combinations(scenario), players)
    if buttons == "all" or given is None:
        return allowed
    mined = set(given.primitives)
    return tuple(name for name in allowed if name in mined) or allowed


def _held(name: str, buttons: Buttons) -> Held:
    """The buttons that each player holds in a primitive."""
    return tuple(button_row(part, buttons) for part in name.split(BETWEEN_PLAYERS))


def _idle(held: Sequence[Held], names: Sequence[str], noop_max: int) -> int:
    """The primitive in which nobody holds anything; an arbitrary one if it is not needed.

    Raises:
        EnvironmentSettingError: It is needed, but there is none.
    """
    idle = next((code for code, rows in enumerate(held) if not np.any(rows)), None)
    if idle is None and noop_max > 0:
        raise EnvironmentSettingError(
            f"noop_max is {noop_max}, but the primitives are {', '.join(names)}, and in each of "
            'them buttons are held; name "NOOP" among the buttons, or leave noop_max at 0'
        )
    return idle or 0


def _require_lives(integration: Integration, terminal_on_life_loss: bool) -> None:
    """Raise if losing a life is to end episodes but the integration does not count lives."""
    if terminal_on_life_loss and "lives" not in integration.variables:
        raise EnvironmentSettingError(
            f"terminal_on_life_loss is True, but the integration of {integration.game} does not "
            f"count lives; it knows {', '.join(integration.variables)}"
        )
