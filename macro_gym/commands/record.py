"""``macro-gym record``: record the play of a person, a model or any other policy."""

import json
from collections.abc import Callable
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

import gymnasium as gym

from macro_gym.command_line import find_modules_here
from macro_gym.demonstrations.demonstration import Demonstration
from macro_gym.demonstrations.environments import make, require_discrete
from macro_gym.demonstrations.recorder import Policy, require_amounts
from macro_gym.demonstrations.recorder import record as record_policy
from macro_gym.demonstrations.storing import next_number, store
from macro_gym.errors import (
    DemonstrationError,
    EnvironmentSettingError,
    MacroSetMismatchError,
)
from macro_gym.games import bare_name

OURS = ("MacroALE/", "MacroRetro/")
MODEL_PACKAGES = ("sb3_masp", "stable_baselines3", "sb3_contrib")


def record(
    env: str,
    /,
    output: Path = Path("play"),
    model: Path | None = None,
    algorithm: str = "MASPDQN",
    policy: str | None = None,
    episodes: int | None = None,
    steps: int | None = None,
    seed: int | None = None,
    k: int | None = None,
    macros: Path | None = None,
    frameskip: int | None = None,
    settings: str = "{}",
    movies: Path | None = None,
    deterministic: bool = False,
    zoom: float = 3.0,
    fps: float | None = None,
    wait: bool = False,
) -> None:
    """Record play: yours, in a window, or that of a model or another policy.

    To play: WASD or the arrow keys, space to fire; in MacroRetro games the arrow keys, and
    stable-retro's keys for the console's buttons. Esc, closing the window or Ctrl-C ends the
    recording and keeps what was played. A person plays primitives, so MacroALE and MacroRetro games
    then have no macros; a model's macros are recorded as the primitives that they ran.

    Args:
        env: Environment id: MacroALE/Breakout-v5, ALE/Breakout-v5 or any with discrete actions and,
            for a person, rendered images; module:id if a module must be imported to register it.
        output: Folder for the episodes, one file each; existing files are never replaced.
        model: A Stable-Baselines3 or sb3_masp model (.zip) to play. It sees MacroALE games as DQN
            does, as four greyscale images; if it needs other wrappers, use
            macro_gym.demonstrations.record from Python.
        algorithm: The model's class, in sb3_masp, stable_baselines3 or sb3_contrib.
        policy: "random", or module:function for a function from an observation to an action.
        episodes: Episodes to record; by default a person plays until closing, others play one.
        steps: Primitive steps to record, cutting the last episode if necessary.
        seed: Seed of the first episode, from which the others count up; by default the number of
            its file.
        k: Number of macros for MacroALE and MacroRetro; by default those that the model was trained
            with, or none.
        macros: Macro-set file to use instead of the game's bank.
        frameskip: Frames per step; 1 plays smoothly at 60 steps a second.
        settings: Other arguments of gym.make, as JSON: '{"repeat_action_probability": 0}'.
        movies: For MacroRetro games: folder for an additional movie (.bk2) of each episode.
        deterministic: Have the model play only its best actions, without exploring.
        zoom: Size of the window, in screen pixels per game pixel.
        fps: Steps per second; lower is slower. By default the game's own pace.
        wait: Have the game wait for a key, for turn-based games.
    """
    from tqdm import tqdm

    if model is not None and policy is not None:
        raise DemonstrationError("both a model and a policy are to play; choose one")
    find_modules_here()
    options = {"k": k, "macros": macros, "frameskip": frameskip, "record": movies}
    kwargs = _kwargs(env, settings, options)
    output.mkdir(parents=True, exist_ok=True)
    first = next_number(output, bare_name(env.rpartition(":")[2])) if seed is None else seed
    require_amounts(episodes, steps, first)

    def keep(episode: Demonstration) -> None:
        path = store(episode, output)
        # Not print, which would write into the progress bar.
        tqdm.write(f"{path}  {len(episode.actions)} steps  score {episode.score:g}")

    if model is None and policy is None:
        from macro_gym.demonstrations.person import record_person

        game = make(env, {"render_mode": "rgb_array"} | kwargs)
        with closing(game):
            record_person(
                game, episodes, steps, fps=fps, zoom=zoom, wait=wait, seed=first, on_episode=keep
            )
        return
    if model is not None:
        player, source = _model(model, algorithm, first), f"model: {algorithm} {model.name}"
        game = _game_for(player, env, kwargs, chosen=k is not None or macros is not None)
    else:
        game, source = make(env, kwargs), f"policy: {policy}"
        player = _policy(str(policy), game, first)
    with closing(game):
        record_policy(
            game,
            player,
            episodes,
            steps,
            seed=first,
            deterministic=deterministic,
            source=source,
            on_episode=keep,
            progress_bar=True,
        )


def _kwargs(env: str, settings: str, options: dict[str, Any]) -> dict[str, Any]:
    """The arguments of ``gym.make``, without macros unless requested."""
    try:
        kwargs = dict(json.loads(settings))
    except (ValueError, TypeError) as error:
        raise EnvironmentSettingError(
            f"settings is {settings!r}, but must be JSON, as in '{{\"mode\": 4}}' ({error})"
        ) from error
    kwargs |= {name: value for name, value in options.items() if value is not None}
    if env.startswith(OURS) and not {"k", "macros"} & set(kwargs):
        kwargs["k"] = 0
    return kwargs


def _model(path: Path, algorithm: str, seed: int) -> Any:
    """Load a model from a file and seed its random draws."""
    found = (getattr(import_module(package), algorithm, None) for package in MODEL_PACKAGES)
    learner = next((learner for learner in found if hasattr(learner, "load")), None)
    if learner is None:
        raise DemonstrationError(
            f"algorithm is {algorithm!r}, a learner in none of {', '.join(MODEL_PACKAGES)}; it "
            "may be MASPDQN, DQN, PPO, QRDQN, ..."
        )
    if not path.is_file():
        raise FileNotFoundError(f"there is no model {path}")
    try:
        model = learner.load(path)
    except Exception as error:  # a zip of another class fails in as many ways as there are classes
        raise DemonstrationError(
            f"{path} cannot be loaded as {algorithm} ({error}); was it trained by another "
            "algorithm? Then say which: --algorithm DQN"
        ) from error
    model.set_random_seed(seed)
    return model


def _game_for(model: Any, env: str, kwargs: dict[str, Any], *, chosen: bool) -> gym.Env[Any, Any]:
    """The environment, with the model's macros unless others were chosen; it must fit the model."""
    if env.startswith(OURS) and not chosen:
        with closing(make(env, kwargs)) as primitive:
            kwargs = kwargs | _macros_of(model, primitive)
    game = make(env, kwargs)
    trained, given = (getattr(of, "macro_set", None) for of in (model, game.unwrapped))
    others = trained is not None and given is not None and trained.hash != given.hash
    if others or model.action_space != game.action_space:
        raise MacroSetMismatchError(
            f"the model's actions are {model.action_space}, but those of {env} are "
            f"{game.action_space}{' with other macros' if others else ''}; give it the macros that "
            "it was trained with (--k, --macros), or none, if it knows its own"
        )
    try:
        model.predict(game.observation_space.sample(), deterministic=True)
    except ValueError as error:
        raise EnvironmentSettingError(
            f"the model sees {model.observation_space}, but {env} shows {game.observation_space} "
            f"({error}). Make the environment as in training (--settings), or wrap it so and use "
            "macro_gym.demonstrations.record from Python."
        ) from error
    return game


def _macros_of(model: Any, primitive: gym.Env[Any, Any]) -> dict[str, Any]:
    """The macros that a model was trained with: its own set, or as many as it has actions for."""
    if getattr(model, "macro_set", None) is not None:
        return {"macros": model.macro_set, "k": None}
    actions = getattr(model.action_space, "n", 0)
    return {"k": max(int(actions - require_discrete(primitive).n), 0)}


def _policy(name: str, env: gym.Env[Any, Any], seed: int) -> Policy:
    """The policy that ``name`` refers to."""
    if name == "random":
        env.action_space.seed(seed)
        return lambda observation: env.action_space.sample()
    module, _, function = name.partition(":")
    try:
        found: Callable[[Any], Any] = getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise DemonstrationError(
            f"policy is {name!r}; it may be random, or module:function ({error})"
        ) from error
    return found
