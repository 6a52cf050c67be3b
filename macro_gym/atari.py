"""MacroAtariEnv: the Arcade Learning Environment with macros, what ``MacroALE/<Game>-v5`` makes."""

import math
import os
from numbers import Real
from typing import Any, Literal, get_args

import ale_py
import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.core import RenderFrame

from macro_gym.ale import AleEmulator, require_game, require_modes
from macro_gym.errors import (
    ArgumentTypeError,
    EnvironmentSettingError,
    FrameSkipError,
    RestoreError,
)
from macro_gym.frames import (
    Emulator,
    Frames,
    MemoryFrames,
    ScreenFrames,
    warn_of_other_frameskip,
)
from macro_gym.macro_action import decision_info
from macro_gym.macro_set import MacroSet
from macro_gym.resize import Image

FRAMES_PER_SECOND = 60
DEFAULT_K = 128

ObservationType = Literal["grayscale", "rgb", "ram"]
RenderMode = Literal["human", "rgb_array", "rgb_array_list"]


class MacroAtariEnv(gym.Env[Image, np.int64]):
    """An Atari game whose actions are its primitives and then ``k`` macros.

    What the agent sees, bit for bit and for the same seed, is
    ``MacroAction(FrameStackObservation(AtariPreprocessing(AtariEnv(frameskip=1)), 4))``: after each
    decision the last four steps, each the maximum of the last two screens of ``frameskip`` frames,
    grey, resized to 84×84. Rewards are the game's score, neither clipped nor scaled. It takes less
    time, since only those four steps are drawn.

    ``info`` holds ``duration`` (primitives run), ``primitive_rewards`` (float32, as long as the
    longest macro, zero after ``duration``), ``lives``, ``episode_frame_number`` and
    ``frame_number``.

    An environment can be pickled and copied in the middle of an episode; the copy goes on exactly
    as the original does. (The emulator's saved states lack the action that sticky actions repeat,
    so a copy plays the episode again from its start: up to some seconds for a very long one.)

    Args:
        game: The game, in snake_case: ``"ms_pacman"``.
        k: How many macros, most frequent first. ``None``: 128 of the shipped bank, or all of
            ``macros``. 0: none.
        macros: A `MacroSet`, or a path to one; ``None`` for the game's shipped bank. Matched to the
            game's actions by name.
        obs_type: ``"grayscale"`` (shape ``(4, 84, 84)``), ``"rgb"`` (``(4, 84, 84, 3)``) or
            ``"ram"`` (``(128,)``, the console's memory, not stacked). Stable-Baselines3 has no
            policy for the four dimensions of ``"rgb"``.
        frameskip: Frames per primitive.
        repeat_action_probability: Chance, at each frame, that the last action is repeated.
        full_action_space: Offer all 18 actions instead of those the game uses.
        max_num_frames_per_episode: Frames after which an episode is truncated; ``None`` for never.
        mode: Mode of the game, as ``AtariEnv`` has it.
        difficulty: Difficulty of the game, as ``AtariEnv`` has it.
        noop_max: Start episodes with a random number of frames without action, at most this many.
        terminal_on_life_loss: End the episode where a life is lost.
        screen_size: Side, or width and height, of observations in pixels.
        stack_size: Steps in an observation.
        render_mode: ``"rgb_array"`` (the present screen), ``"rgb_array_list"`` (the screen after
            each primitive since the last ``render``) or ``"human"``.

    Raises:
        UnknownGameError: There is no such game.
        EnvironmentSettingError: Another setting is out of range, or a mode or difficulty is none
            of the game's.
        ArgumentTypeError: ``macros``, ``k`` or another setting is of a wrong type.
        MissingFileError: ``macros`` is the path of no file.
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

    metadata: dict[str, Any] = {  # noqa: RUF012  # as gym.Env declares it
        "render_modes": ["human", "rgb_array", "rgb_array_list"],
        "render_fps": FRAMES_PER_SECOND // 4,
    }

    def __init__(
        self,
        game: str,
        k: int | None = None,
        macros: MacroSet | str | os.PathLike[str] | None = None,
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
        _require_frameskip(frameskip)
        _require_one_of("obs_type", obs_type, get_args(ObservationType))
        _require_one_of("render_mode", render_mode, (None, *get_args(RenderMode)))
        _require_at_least("stack_size", stack_size, 1)
        _require_at_least("noop_max", noop_max, 0)
        _require_probability("repeat_action_probability", repeat_action_probability)
        sides = screen_size if isinstance(screen_size, tuple) else (screen_size,) * 2
        for side in sides:
            _require_at_least("a side of screen_size", side, 1)
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
        self._obs_type = obs_type
        self._noop_max = noop_max
        self._terminal_on_life_loss = terminal_on_life_loss
        self._screen_size = sides
        self._stack_size = stack_size
        self.frameskip = frameskip
        self.render_mode = render_mode
        self.metadata = self.metadata | {"render_fps": max(FRAMES_PER_SECOND // frameskip, 1)}
        self._load_emulator()
        self.macro_set = _macro_set(game, tuple(self._atari.get_action_meanings()), k, macros)
        warn_of_other_frameskip(self.macro_set, frameskip)
        self._frames = self._new_frames()
        self.action_space = spaces.Discrete(self.macro_set.n_actions)
        shape = self._frames.observation(self._emulator).shape
        self.observation_space = spaces.Box(0, 255, shape, np.uint8)
        self._np_random = self._atari.np_random
        self._rendered: list[RenderFrame] = []
        self._played = bytearray()
        self._lives_foretell_end = obs_type != "ram" and not terminal_on_life_loss
        self._begin_episode()

    @property
    def ale(self) -> ale_py.ALEInterface:
        """The emulator itself. What is done to it directly is lost to pickling and copying."""
        ale: ale_py.ALEInterface = self._atari.ale
        return ale

    def get_action_meanings(self) -> list[str]:
        """Return the name of every action: ``"LEFT"``, ``"LEFT×4"``, ``"RIGHT,NOOP"``."""
        return list(self.macro_set.names)

    def get_keys_to_action(self) -> dict[tuple[str, ...], int]:
        """Return which keys stand for which primitive, for human play."""
        keys: dict[tuple[str, ...], int] = self._atari.get_keys_to_action()
        return keys

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Image, dict[str, Any]]:
        """Start an episode: the game, then up to ``noop_max`` frames without action."""
        info = self._reset_emulator(seed, options)
        if self._noop_max > 0:
            for _ in range(int(self.np_random.integers(1, self._noop_max + 1))):
                self._emulator.act(self._ale_actions[0])
                info.update(self._atari_info())
                if self._emulator.over():
                    info = self._reset_emulator(seed, options)
        self._begin_episode()
        return self._frames.observation(self._emulator), info

    def step(self, action: np.int64) -> tuple[Image, float, bool, bool, dict[str, Any]]:
        """Run the primitives of ``action``, up to the episode's end."""
        primitives = self.macro_set.expand(int(action))
        unseen = self._unseen_steps(len(primitives))
        frames, emulator, ale_actions = self._frames, self._emulator, self._ale_actions
        rewards: list[float] = []
        for primitive in primitives:
            run = frames.skip if len(rewards) < unseen else frames.step
            reward, terminated, truncated = run(emulator, ale_actions[primitive])
            rewards.append(reward)
            if self.render_mode == "rgb_array_list":
                self._rendered.append(self.ale.getScreenRGB())
            if terminated or truncated:
                break
        self._played.extend(primitives[: len(rewards)])
        if unseen and len(rewards) < len(primitives):
            self._lives_foretell_end = False
            self._frames = self._replay_episode()
        info = self._atari_info() | decision_info(rewards, self.macro_set.max_length)
        return self._frames.observation(self._emulator), sum(rewards), terminated, truncated, info

    def render(self) -> RenderFrame | list[RenderFrame] | None:
        """Return the present screen, or those since the last call, as ``render_mode`` says."""
        if self.render_mode != "rgb_array_list":
            screen: RenderFrame | None = self._atari.render()
            return screen
        screens, self._rendered = self._rendered, []
        return screens

    def __getstate__(self) -> dict[str, Any]:
        """Return everything but the emulator, which ``_episode_start`` and ``_played`` rebuild."""
        state = self.__dict__.copy()
        for name in ("_atari", "_emulator", "_ale_actions"):
            del state[name]
        state["_memory"] = self.ale.getRAM()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Load the emulator and play the episode again, to where it was."""
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
        """Make the emulator, its game just begun."""
        self._atari = ale_py.AtariEnv(**self._emulator_settings)
        self._emulator: Emulator = AleEmulator(self._atari.ale, colour=self._obs_type == "rgb")
        self._ale_actions = [action.value for action in self._atari._action_set]

    def _new_frames(self) -> Frames:
        """What turns steps into observations of ``obs_type``."""
        if self._obs_type == "ram":
            return MemoryFrames(
                self.ale.getRAMSize(),
                frameskip=self.frameskip,
                terminal_on_life_loss=self._terminal_on_life_loss,
            )
        return ScreenFrames(
            (*self.ale.getScreenDims(), *([3] if self._obs_type == "rgb" else [])),
            frameskip=self.frameskip,
            screen_size=self._screen_size,
            stack_size=self._stack_size,
            terminal_on_life_loss=self._terminal_on_life_loss,
        )

    def _reset_emulator(self, seed: int | None, options: dict[str, Any] | None) -> dict[str, Any]:
        """Reset the game, and with a seed both random streams; return its info."""
        _, info = self._atari.reset(seed=seed, options=options)
        if seed is not None:
            self._np_random, self._np_random_seed = self._atari.np_random, seed
        return dict(info)

    def _atari_info(self) -> dict[str, Any]:
        """What ``AtariEnv`` says after a step."""
        return dict(self._atari._get_info())

    def _begin_episode(self) -> None:
        """Take the emulator's present state as the start of an episode."""
        self._episode_start = self.ale.cloneState(include_rng=True).serialize()
        self._played.clear()
        self._frames.reset(self._emulator)
        self._rendered = []
        if self.render_mode == "rgb_array_list":
            self._rendered.append(self.ale.getScreenRGB())

    def _replay_episode(self) -> Frames:
        """Play the episode again from its start; return its steps, all of them drawn."""
        # The emulator's saved states lack the action that sticky actions repeat. Right after a
        # reset it is NOOP, here as it was then.
        self.ale.reset_game()
        self.ale.restoreState(ale_py.ALEState(self._episode_start))
        frames = self._new_frames()
        frames.reset(self._emulator)
        for primitive in self._played:
            frames.step(self._emulator, self._ale_actions[primitive])
        return frames

    def _unseen_steps(self, steps: int) -> int:
        """How many of the next ``steps`` no observation shows, unless the episode ends in them.

        If it did, they would be shown, so they are left undrawn only while there are lives and
        frames to spare. A few games end all the same: their episode is played again, drawn, and
        their lives are not relied on any more. (Replaying just these steps from a saved state
        would not do: see `_replay_episode`.)
        """
        unseen = steps - max(self._stack_size, 2)
        if unseen <= 0 or not self._lives_foretell_end or len(self._played) < self._stack_size:
            return 0
        frames = self.ale.getEpisodeFrameNumber() + steps * self.frameskip
        limit = self._emulator_settings["max_num_frames_per_episode"] or math.inf
        return unseen if self.ale.lives() > 1 and frames < limit else 0


def _macro_set(
    game: str,
    names: tuple[str, ...],
    k: int | None,
    macros: MacroSet | str | os.PathLike[str] | None,
) -> MacroSet:
    """The macros asked for, over the game's actions."""
    if k == 0 and macros is None:
        return MacroSet(names)
    if macros is None:
        from macro_gym.banks import load_bank

        bank = load_bank(game)
        return bank.remap(names).top(DEFAULT_K if k is None else k)
    if not isinstance(macros, (MacroSet, str, os.PathLike)):
        raise ArgumentTypeError(
            f"macros is a {type(macros).__name__}; it may be a MacroSet, the path of one, or None "
            "for the shipped bank. Was it read back from JSON, as EnvSpec.from_json does? Then "
            "name the set by its path."
        )
    macro_set = macros if isinstance(macros, MacroSet) else MacroSet.load(macros)
    return macro_set.remap(names).top(len(macro_set.macros) if k is None else k)


def _require_frameskip(frameskip: int) -> None:
    """Refuse frame skips that are not a fixed number of frames."""
    if isinstance(frameskip, bool) or not isinstance(frameskip, int) or frameskip < 1:
        raise FrameSkipError(
            f"frameskip is {frameskip!r}, but a primitive runs a fixed number of frames, at "
            "least 1. A random frameskip would make macros of the same primitives differ."
        )


def _require_one_of(name: str, value: object, allowed: tuple[object, ...]) -> None:
    """Refuse settings that are none of a list."""
    if value not in allowed:
        raise EnvironmentSettingError(
            f"{name} is {value!r}; it may be {', '.join(map(repr, allowed))}"
        )


def _require_at_least(name: str, value: int, least: int) -> None:
    """Refuse what is no integer, or too small a one."""
    if not isinstance(value, (int, np.integer)):
        raise ArgumentTypeError(f"{name} is {value!r}; it must be an integer")
    if value < least:
        raise EnvironmentSettingError(f"{name} is {value}; it must be at least {least}")


def _require_probability(name: str, value: float) -> None:
    """Refuse numbers outside 0..1."""
    if not isinstance(value, Real):
        raise ArgumentTypeError(f"{name} is {value!r}; it must be a number within 0..1")
    if not 0 <= value <= 1:
        raise EnvironmentSettingError(f"{name} is {value}; it must be within 0..1")
