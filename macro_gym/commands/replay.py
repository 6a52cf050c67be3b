"""``macro-gym replay``: replay a demonstration, check its rewards and film it."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from macro_gym.command_line import find_modules_here
from macro_gym.demonstrations.demonstration import Demonstration
from macro_gym.demonstrations.replay import first_difference, settings_to_replay
from macro_gym.demonstrations.replay import replay as replay_demonstration
from macro_gym.errors import DemonstrationError, EnvironmentSettingError

FRAMES_PER_SECOND = 60


def replay(
    file: Path,
    /,
    video: Path | None = None,
    zoom: int = 2,
    fps: float | None = None,
    movies: Path | None = None,
    module: str | None = None,
) -> None:
    """Replay a recording, with its seed and settings, and check that it goes the same way.

    For a movie (.bk2) recorded by macro-gym, the console's memory is compared.

    Args:
        file: A recording (.npz), from record or plan, or a stable-retro movie. A recording without
            seed and settings is assumed to begin where the game does, with sticky actions off.
        video: The film to make, .mp4 or .gif: the screen at the start and after every step.
        zoom: Film pixels along each side of a screen pixel.
        fps: Steps per second in the film; by default the game's own speed, 60 frames a second.
        movies: Folder for a movie (.bk2), for a recording of a MacroRetro game.
        module: Module to import first, such as the one that registers the environment; a file must
            not be able to have modules imported.
    """
    from macro_gym.demonstrations.video import video as film

    if module is not None:
        _import(module)
    if fps is not None and video is None:
        raise EnvironmentSettingError(f"fps is {fps}, but no film is to be made; give --video")
    if file.suffix == ".bk2":
        if movies is not None:
            raise EnvironmentSettingError(f"{file} is a movie already; leave --movies out")
        _replay_movie(file, video, zoom, FRAMES_PER_SECOND if fps is None else fps)
        return
    demonstration = Demonstration.load(file)
    settings = settings_to_replay(demonstration)
    if movies is not None:
        demonstration = replace(demonstration, settings=_recording(settings, movies))
    rate = FRAMES_PER_SECOND / (demonstration.frameskip or 2) if fps is None else fps
    with nullcontext() if video is None else film(video, rate, zoom) as add:
        rewards = replay_demonstration(demonstration, on_screen=add, progress_bar=True)
    print(f"{file}  {settings['id']}, seed {settings.get('seed', 0)}")
    if video is not None:
        print(f"{video}  {len(rewards) + 1} screens")
    print(_verdict(demonstration, rewards))


def _import(module: str) -> None:
    """Import a module, the user's own included.

    Raises:
        EnvironmentSettingError: It cannot be imported.
    """
    find_modules_here()
    try:
        import_module(module)
    except (ImportError, ValueError) as error:
        raise EnvironmentSettingError(
            f"module is {module!r}, which cannot be imported ({error})"
        ) from error


def _recording(settings: Mapping[str, Any], movies: Path) -> dict[str, Any]:
    """Settings that also record a movie while replaying.

    Raises:
        EnvironmentSettingError: They are not for a MacroRetro game.
    """
    if not str(settings["id"]).startswith("MacroRetro/"):
        raise EnvironmentSettingError(
            f"movies can be made of recordings of MacroRetro's games, and this is of "
            f"{settings['id']}; for a film give --video"
        )
    return {**settings, "kwargs": settings.get("kwargs", {}) | {"record": str(movies)}}


def _replay_movie(file: Path, video: Path | None, zoom: int, fps: float) -> None:
    """Replay a movie and report the outcome.

    Raises:
        DemonstrationError: The replay departs from the recording, or the movie was changed.
    """
    from macro_gym.demonstrations.replay_movie import replay_movie
    from macro_gym.demonstrations.video import video as film

    with nullcontext() if video is None else film(video, fps, zoom) as add:
        replayed = replay_movie(file, on_screen=add, progress_bar=True)
    print(f"{file}  {replayed.game}, from {replayed.state or 'a state that is none of the game'}")
    if video is not None:
        print(f"{video}  {len(replayed.rewards) + 1} screens")
    if replayed.departed is not None or replayed.edited:
        raise DemonstrationError(f"{file}: {replayed}")
    print(replayed)


def _verdict(demonstration: Demonstration, rewards: NDArray[np.float32]) -> str:
    """The message if the rewards match those recorded.

    Raises:
        DemonstrationError: They do not.
    """
    steps, score = len(demonstration.actions), float(rewards.sum())
    if demonstration.rewards is None:
        return f"{len(rewards)} of {steps} steps replayed, score {score:g}; none was recorded"
    step = first_difference(demonstration.rewards, rewards)
    if step is None:
        return f"the rewards of all {steps} steps are as recorded, score {score:g}"
    paid = f"paid {rewards[step]:g}" if step < len(rewards) else "came after the game was over"
    cause = (
        "was it recorded with another version of the emulator?"
        if demonstration.settings
        else "the file does not say with which seed and sticky actions it was recorded"
    )
    raise DemonstrationError(
        f"the rewards are NOT as recorded: step {step} of {steps} paid "
        f"{demonstration.rewards[step]:g}, and now {paid}; the score was {demonstration.score:g}, "
        f"and now is {score:g}. Possible cause: {cause}"
    )
