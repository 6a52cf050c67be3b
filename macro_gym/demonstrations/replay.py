"""Replay a demonstration's actions in the environment that it was recorded in."""

from collections.abc import Callable, Mapping
from contextlib import closing, nullcontext
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from macro_gym.demonstrations.actions import ALE_ACTIONS, known_game
from macro_gym.demonstrations.demonstration import Demonstration
from macro_gym.demonstrations.environments import (
    action_names,
    frameskip_of,
    make,
    require_discrete,
)
from macro_gym.errors import DemonstrationError

Screen = NDArray[np.uint8]
"""A rendered image, shape ``(height, width, 3)``."""


def replay(
    demonstration: Demonstration,
    env: gym.Env[Any, Any] | None = None,
    *,
    on_screen: Callable[[Screen], object] | None = None,
    progress_bar: bool = False,
) -> NDArray[np.float32]:
    """Replay a demonstration and return the reward of each step, up to the episode's end.

    Play without settings (`settings_to_replay`) is assumed to be of an Atari game, from its start,
    with sticky actions off, like the planner's.

    Args:
        demonstration: The demonstration to replay.
        env: The environment to play in, whose wrappers are ignored; made from the demonstration's
            settings if None.
        on_screen: Called with the screen at the start and after every step.
        progress_bar: Whether to show the steps, if on a terminal.

    Returns:
        The rewards, shape ``(steps,)``, or fewer if the episode is over before the actions are.

    Raises:
        DemonstrationError: It is unknown how to replay it, or the environment lacks one of its
            actions or has another frameskip.

    Example:
        >>> names, actions = ("NOOP", "FIRE"), np.array([1, 0, 0, 0], dtype=np.uint8)
        >>> replay(Demonstration(names, actions, game="Breakout", frameskip=4))
        array([0., 0., 0., 0.], dtype=float32)
    """
    from tqdm import tqdm

    playing, actions = begin(demonstration, env, "rgb_array" if on_screen else None)
    rewards: list[float] = []
    with closing(playing) if env is None else nullcontext():
        if on_screen:
            on_screen(_screen(playing))
        for action in tqdm(actions, unit="step", disable=None if progress_bar else True):
            _, reward, terminated, truncated, _ = playing.step(action)
            rewards.append(float(reward))
            if on_screen:
                on_screen(_screen(playing))
            if terminated or truncated:
                break
    return np.array(rewards, dtype=np.float32)


def begin(
    demonstration: Demonstration,
    env: gym.Env[Any, Any] | None = None,
    render_mode: str | None = None,
) -> tuple[gym.Env[Any, Any], list[int]]:
    """Return the environment at the start of a demonstration, and the actions as its indices.

    Args:
        demonstration: The demonstration to play.
        env: The environment to play in, as in `replay`.
        render_mode: The environment's render mode, if it is made here.

    Raises:
        DemonstrationError: As in `replay`.
    """
    settings = settings_to_replay(demonstration) if env is None else demonstration.settings
    playing = (_make(settings, render_mode) if env is None else env).unwrapped
    try:
        actions = _actions_in(playing, demonstration)
        playing.reset(seed=settings.get("seed", 0), options=settings.get("options"))
    except BaseException:
        if env is None:
            playing.close()
        raise
    return playing, actions


def settings_to_replay(demonstration: Demonstration) -> Mapping[str, Any]:
    """Return the settings to replay a demonstration with: its own, or the planner's.

    Raises:
        DemonstrationError: It has none and is not known to be of an Atari game.
    """
    if "id" in demonstration.settings:
        return demonstration.settings
    game = known_game(demonstration.game)
    if (
        not game
        or not demonstration.frameskip
        or not set(demonstration.primitives) <= set(ALE_ACTIONS)
    ):
        raise DemonstrationError(
            f"this play, of game {demonstration.game!r} and "
            f"{demonstration.frameskip or 'an unknown number of'} frames a step, does not say how "
            "to play it again. Give the environment that it was recorded in: "
            "macro_gym.demonstrations.replay(demonstration, env)"
        )
    kwargs = {
        "repeat_action_probability": 0.0,
        "frameskip": demonstration.frameskip,
        "full_action_space": True,
    }
    return {"id": f"ALE/{game}-v5", "kwargs": kwargs, "seed": 0}


def first_difference(recorded: NDArray[np.float32], replayed: NDArray[np.float32]) -> int | None:
    """Return the first step whose reward differs from the recorded one; None if none does.

    Example:
        >>> first_difference(np.float32([0, 1, 0]), np.float32([0, 1]))
        2
    """
    common = min(len(recorded), len(replayed))
    differs = np.flatnonzero(recorded[:common] != replayed[:common])
    if len(differs):
        return int(differs[0])
    return None if len(recorded) == len(replayed) else common


def _make(settings: Mapping[str, Any], render_mode: str | None) -> gym.Env[Any, Any]:
    """The environment that settings from a file describe."""
    id, kwargs = settings["id"], settings.get("kwargs", {})
    if not isinstance(id, str) or ":" in id or not isinstance(kwargs, dict):
        # gym.make would import the module before a colon, which a file must not be able to do.
        raise DemonstrationError(f"settings name no environment: id {id!r}, kwargs {kwargs!r}")
    # JSON turns tuples given to gym.make into lists.
    given = {name: tuple(v) if isinstance(v, list) else v for name, v in kwargs.items()}
    given.pop("render_mode", None)
    if render_mode is not None:  # not every environment takes one
        given["render_mode"] = render_mode
    return make(id, given | {"disable_env_checker": True})


def _actions_in(env: gym.Env[Any, Any], demonstration: Demonstration) -> list[int]:
    """The demonstration's actions as the environment counts them, matched by name."""
    names, start = action_names(env), int(require_discrete(env).start)
    played = np.unique(demonstration.actions).tolist()
    missing = sorted({demonstration.primitives[action] for action in played} - set(names))
    if missing:
        raise DemonstrationError(
            f"the play has actions that {env} lacks: {', '.join(missing)}; it has "
            f"{', '.join(names)}. Is it of another game, or of the full action set?"
        )
    frameskip = frameskip_of(env)
    if frameskip != demonstration.frameskip:
        raise DemonstrationError(
            f"a step of the play has {demonstration.frameskip} frames, but one of {env} has "
            f"{frameskip}; was the play resampled? Then only what it was made of can be replayed"
        )
    index = {action: start + names.index(demonstration.primitives[action]) for action in played}
    return [index[action] for action in demonstration.actions.tolist()]


def _screen(env: gym.Env[Any, Any]) -> Screen:
    """The current screen."""
    screen = env.render()
    if not isinstance(screen, np.ndarray):
        raise DemonstrationError(
            f"{env} draws no picture; make it with render_mode='rgb_array' for a video"
        )
    return screen
