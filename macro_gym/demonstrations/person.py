"""Record a person playing in Gymnasium's window."""

import os
import warnings
from collections.abc import Callable
from contextlib import suppress
from itertools import chain, combinations, product
from typing import Any

import gymnasium as gym

from macro_gym.buttons import BETWEEN_PLAYERS, DIRECTIONS, NOOP
from macro_gym.demonstrations.actions import ALE_ACTIONS
from macro_gym.demonstrations.demonstration import Demonstration
from macro_gym.demonstrations.environments import action_names, frameskip_of, require_discrete
from macro_gym.demonstrations.recorder import OnEpisode, enough, keeping, recording, require_amounts
from macro_gym.demonstrations.translate import PARTS, nearest_action
from macro_gym.errors import (
    ActionSpaceError,
    EnvironmentSettingError,
    MissingDependencyError,
)

FRAMES_PER_SECOND = 60

Keys = dict[tuple[str | int, ...], int]
"""The action for each combination of keys: characters, or pygame's key codes."""


def record_person(
    env: gym.Env[Any, Any],
    episodes: int | None = None,
    steps: int | None = None,
    *,
    fps: float | None = None,
    zoom: float = 3.0,
    wait: bool = False,
    seed: int = 0,
    source: str = "a person",
    on_episode: OnEpisode = lambda episode: None,
) -> list[Demonstration]:
    """Let a person play in a window and return the recorded episodes.

    Closing the window, Esc or Ctrl-C ends it; the unfinished episode is returned too.

    Args:
        env: The environment, made with ``render_mode="rgb_array"``.
        episodes: Episodes after which the window closes; None for no limit.
        steps: Steps after which it closes; with ``episodes`` as well, whichever comes first.
        fps: Steps per second; None for the game's own pace, 60 frames a second.
        zoom: Window pixels along each side of a game pixel.
        wait: Whether the game waits for a key, for turn-based games.
        seed: Seed of the first episode; later ones count up from it.
        source: Who plays, in words.
        on_episode: Called with each episode as it ends.

    Raises:
        ActionSpaceError: The actions are not discrete, or there are no keys for them.
        DemonstrationError: ``episodes``, ``steps`` or ``seed`` is out of range.
        EnvironmentSettingError: ``fps`` or ``zoom`` is out of range, the environment renders no
            images, or there is no screen to show them on.
        MissingDependencyError: pygame is not installed.
    """
    require_amounts(episodes, steps, seed)
    pace = _pace(env) if fps is None else fps
    for name, value in (("fps", pace), ("zoom", zoom)):
        if not value > 0:
            raise EnvironmentSettingError(f"{name} is {value}; it must be above 0")
    if env.render_mode not in ("rgb_array", "rgb_array_list"):
        raise EnvironmentSettingError(
            f"render_mode is {env.render_mode!r}; to be played, {env} must be made with 'rgb_array'"
        )
    pygame, play = _gymnasium_play()
    names, keys = action_names(env.unwrapped), keys_of(env.unwrapped)
    played, keep = keeping(on_episode, episodes)
    with recording(env, keep, seed=seed, source=source) as (outer, recorder):

        def close_if_enough(*_: Any) -> None:
            if enough(len(played), recorder.steps, episodes, steps):
                pygame.event.post(pygame.event.Event(pygame.QUIT))

        try:
            _require_screen(pygame)
            with suppress(KeyboardInterrupt):
                play(
                    outer,
                    fps=pace,
                    zoom=zoom,
                    keys_to_action=keys,
                    noop=_noop(env.unwrapped, names),
                    wait_on_player=wait,
                    callback=close_if_enough,
                )
        finally:
            pygame.quit()
    return played


def keys_of(env: gym.Env[Any, Any]) -> Keys:
    """Return the keys for an environment's primitives.

    - Atari: WASD or the arrow keys, and space to fire, as in ale-py; a combination that the game
      lacks becomes its nearest one, so that FIRE while moving still has an effect.
    - MacroRetro: the arrow keys, and stable-retro's keys for the console's buttons; of buttons that
      the game does not allow together, as many as it does. With two players, for the first.
    - Others: their own ``get_keys_to_action``, or the digits for up to ten actions.

    Args:
        env: The environment, without wrappers.

    Raises:
        ActionSpaceError: There are more actions, and nothing defines their keys.
    """
    names, space = action_names(env), require_discrete(env)
    if {"NOOP"} <= set(names) <= set(ALE_ACTIONS):
        return _atari_keys(names)
    if hasattr(env, "retro_env"):
        return _pad_keys(names, env.retro_env.system)
    if env.has_wrapper_attr("get_keys_to_action"):
        keys: Keys = env.get_wrapper_attr("get_keys_to_action")()
        return keys
    if len(names) <= 10:
        return {(str(index),): int(space.start) + index for index in range(len(names))}
    raise ActionSpaceError(
        f"{env} has {len(names)} actions and no get_keys_to_action to say which keys they have"
    )


def _atari_keys(names: tuple[str, ...]) -> Keys:
    """The keys of every ALE action except NOOP, on both sides of the keyboard."""
    pygame, _ = _gymnasium_play()
    left = {"UP": "w", "LEFT": "a", "DOWN": "s", "RIGHT": "d", "FIRE": " "}
    right = {part: getattr(pygame, f"K_{part}") for part in left if part != "FIRE"} | {"FIRE": " "}
    return {
        tuple(side[part] for part in PARTS if part in name): names.index(
            nearest_action(name, names)
        )
        for name in ALE_ACTIONS
        for side in (left, right)
        if name != "NOOP"
    }


def _pad_keys(names: tuple[str, ...], console: str) -> Keys:
    """The keys for whatever can be held on a pad: up to three buttons, and a direction."""
    import stable_retro

    pygame, _ = _gymnasium_play()
    known = stable_retro.get_system_info(console)
    bound = dict(zip(known["buttons"], known["keybinds"], strict=True))
    named = {"ENTER": "RETURN"}
    keys = {
        button: key.lower() if len(key) == 1 else getattr(pygame, f"K_{named.get(key, key)}")
        for button, key in bound.items()
        if button and key
    }
    alone = {
        name.partition(BETWEEN_PLAYERS)[0]: index
        for index, name in enumerate(names)
        if {*name.split(BETWEEN_PLAYERS)[1:]} <= {NOOP}
    }
    used = {button for name in alone for button in name.split("+")} & {*keys}
    buttons = [button for button in keys if button in used and button not in DIRECTIONS]
    fingers = chain.from_iterable(combinations(buttons, n) for n in range(4))
    thumbs = [
        [d for d in pair if d] for pair in product((None, "UP", "DOWN"), (None, "LEFT", "RIGHT"))
    ]
    return {
        tuple(keys[button] for button in held): alone[nearest_action("+".join(held), (*alone,))]
        for pressed, thumb in product(fingers, thumbs)
        if (held := (*thumb, *pressed))
    }


def _noop(env: gym.Env[Any, Any], names: tuple[str, ...]) -> int:
    """The action while no key is held: NOOP, or the first if there is none."""
    return int(require_discrete(env).start) + next(
        (i for i, name in enumerate(names) if {*name.split(BETWEEN_PLAYERS)} == {NOOP}), 0
    )


def _pace(env: gym.Env[Any, Any]) -> float:
    """The game's intended pace in steps per second."""
    frameskip = frameskip_of(env.unwrapped)
    return FRAMES_PER_SECOND / frameskip if frameskip else env.metadata.get("render_fps") or 30


def _require_screen(pygame: Any) -> None:
    """Raise if the window would be invisible, which is what SDL opens without a screen."""
    pygame.display.init()
    driver = pygame.display.get_driver()
    if driver in ("dummy", "offscreen") and "SDL_VIDEODRIVER" not in os.environ:
        raise EnvironmentSettingError(
            "there is no screen to play on; a model or another policy needs none. (To play unseen "
            f"all the same, set SDL_VIDEODRIVER={driver}.)"
        )


def _gymnasium_play() -> tuple[Any, Callable[..., None]]:
    """Pygame, and Gymnasium's ``play``."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # It warns if matplotlib, for plots, is missing.
            import pygame
            from gymnasium.utils.play import play
    except (ImportError, gym.error.DependencyNotInstalled) as error:
        raise MissingDependencyError(
            "to play, pygame is needed; install it with: pip install 'macro-gym[play]'"
        ) from error
    return pygame, play
