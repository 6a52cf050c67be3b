"""Animate a macro in the emulator, frame by frame."""

import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from macro_gym.demonstrations.actions import ALE_ACTIONS
from macro_gym.demonstrations.allowed import known_retro_game
from macro_gym.demonstrations.atari_sandbox import known_rom
from macro_gym.demonstrations.demonstration import Demonstration
from macro_gym.demonstrations.environments import frameskip_of
from macro_gym.demonstrations.planner import PlannerSettings
from macro_gym.demonstrations.replay import begin
from macro_gym.demonstrations.retro_sandbox import RetroGame
from macro_gym.demonstrations.translate import union
from macro_gym.errors import InvalidMacroError, MacroGymError
from macro_gym.files import replacing, require_file
from macro_gym.macro_set import MacroSet
from macro_gym.report.pictures import draw_strip, new_figure

if TYPE_CHECKING:
    from PIL.Image import Image

    from macro_gym.retro import MacroRetroEnv

Screen = NDArray[np.uint8]

FRAMESKIP = 4
"""Frames per step if neither a set nor its play states them."""
SOON = 60
"""Steps of play to skip, if possible, before filming a macro: games take a while to get going."""
FRAME_MS, PAUSE_MS = 20, 600
"""A frame lasts 20 ms, not 1000/60: GIFs count in 10 ms, and viewers slow down 10 ms."""
SCALE = 2
STRIP_HEIGHT = 44
"""Pixels under the screen."""


@dataclass(frozen=True, slots=True)
class Moment:
    """The point in play at which a macro is filmed.

    Args:
        before: The steps that lead there, with settings to replay them; without settings if these
            are unknown.
        words: Description of the point.
    """

    before: Demonstration
    words: str


def animate(
    macro_set: MacroSet,
    rank: int,
    path: str | os.PathLike[str],
    play: Sequence[Demonstration] = (),
) -> str:
    """Film a macro in the emulator: every frame, with the macro's strip underneath.

    It is filmed where it first occurs in ``play`` after 60 steps, or else where it first occurs at
    all; the game is replayed up to there with the play's seed, sticky actions and other settings. A
    macro that does not occur is run after the first 60 steps. Without play, those are FIRE, if
    there is one, and NOOP. Play without settings to replay it, or whose steps were resampled, is
    run from the game's start, with sticky actions off.

    Args:
        macro_set: The set, for a game of ale-py or stable-retro.
        rank: Rank of the macro, from 1.
        path: The animation to write, a ``.gif``.
        play: Play of the game.

    Returns:
        Where it is filmed, in words.

    Raises:
        InvalidMacroError: There is no such macro, or a primitive is not one of the emulator's.
        UnknownGameError: The set is not for a game of ale-py or stable-retro.
        MissingRomError: The game's ROM was not imported to stable-retro.
        EnvironmentSettingError: The game's console lacks a button.
        DemonstrationError: The play cannot be replayed as its settings say.
        MacroGymError: ``path`` does not end in ``.gif``.
        OutputError: ``path`` is a folder, or within a file.
        MissingDependencyError: matplotlib is not installed.
    """
    names = require_animation(macro_set, rank, path)
    moment = find_moment(names, play) if play else _opening(macro_set)
    before, origin = moment.before, macro_set.provenance
    if not before.settings:
        frameskip = origin.frameskip or before.frameskip or FRAMESKIP
        before = replace(before, game=origin.game, frameskip=frameskip)
    screens = _screens(before, names)
    strips: dict[int, Image] = {}
    pictures = []
    for step, screen in screens:
        if step not in strips:
            strips[step] = _strip(names, step, SCALE * screen.shape[1])
        pictures.append(_picture(screen, strips[step]))
    _write(pictures, path)
    return moment.words


def require_animation(
    macro_set: MacroSet, rank: int, path: str | os.PathLike[str]
) -> tuple[str, ...]:
    """Return the names of a macro's steps, after checking that it can be filmed.

    Raises:
        InvalidMacroError: There is no such macro, or a primitive is not one of the emulator's.
        UnknownGameError: The set is not for a game of ale-py or stable-retro.
        MissingRomError: The game's ROM was not imported to stable-retro.
        EnvironmentSettingError: The game's console lacks a button.
        MacroGymError: ``path`` does not end in ``.gif``.
        OutputError: ``path`` is a folder, or within a file.
        MissingDependencyError: matplotlib is not installed.
    """
    if Path(path).suffix.lower() != ".gif":
        raise MacroGymError(f"{path} is no animation to write; it must end in .gif")
    require_file(path)
    if not 1 <= rank <= len(macro_set.macros):
        raise InvalidMacroError(f"there is no macro {rank}; the set has 1..{len(macro_set.macros)}")
    game = macro_set.provenance.game
    names = tuple(macro_set.primitives[p] for p in macro_set.macros[rank - 1])
    new_figure(1, 1)
    if known_retro_game(game):
        RetroGame(game, buttons=tuple(dict.fromkeys(names)))
        return names
    known_rom(game)
    unknown = sorted(set(names) - set(ALE_ACTIONS))
    if unknown:
        raise InvalidMacroError(
            f"the primitives {', '.join(unknown)} are no actions of the emulator, which has "
            f"{', '.join(ALE_ACTIONS)}"
        )
    return names


def find_moment(names: Sequence[str], play: Sequence[Demonstration]) -> Moment:
    """Return where in ``play`` to film the steps ``names``, as `animate` describes."""
    found = [(episode, at) for episode, d in enumerate(play) for at in _occurrences(names, d)]
    late = (place for place in found if place[1] >= SOON)
    episode, at = next(late, found[0] if found else (0, min(SOON, len(play[0].actions))))
    how = "as played there" if found else "though not played there"
    before = replace(play[episode], actions=play[episode].actions[:at], rewards=None)
    if not _says_how(before):
        before = replace(before, settings={})
        how = "played anew without sticky actions" + ("" if found else f", {how}")
    return Moment(before, f"after step {at} of episode {episode + 1} of the play, {how}")


def _says_how(demonstration: Demonstration) -> bool:
    """Whether play states how to replay it in the emulator, and was not resampled."""
    id, kwargs = (demonstration.settings.get(name) for name in ("id", "kwargs"))
    return (
        str(id).startswith(("ALE/", "MacroALE/", "MacroRetro/"))
        and isinstance(kwargs, dict)
        and kwargs.get("frameskip") == demonstration.frameskip
    )


def _opening(macro_set: MacroSet) -> Moment:
    """A point by which a game without play should have begun."""
    first = "FIRE" if "FIRE" in macro_set.primitives else "NOOP"
    before = Demonstration((first, "NOOP"), np.minimum(np.arange(SOON, dtype=np.uint8), 1))
    return Moment(before, f"after {first} and {SOON - 1} NOOPs")


def _occurrences(names: Sequence[str], demonstration: Demonstration) -> Iterator[int]:
    """The steps at which ``names`` begin in a demonstration."""
    if len(demonstration.actions) < len(names) or not set(names) <= set(demonstration.primitives):
        return iter(())
    macro = [demonstration.primitives.index(name) for name in names]
    windows = sliding_window_view(demonstration.actions, len(names))
    return iter(np.flatnonzero((windows == macro).all(axis=1)).tolist())


def _screens(before: Demonstration, names: Sequence[str]) -> Iterator[tuple[int, Screen]]:
    """Yield the screen after each frame of the steps ``names``, up to the game's end, by step.

    The first screen is the one before them, with step -1.
    """
    with _console(before, names) as (console, frameskip):
        for action in before.actions.tolist():
            for _ in range(frameskip):
                console.act(before.primitives[action])
        yield -1, console.screen()
        for step, name in enumerate(names):
            for _ in range(frameskip):
                if console.over():
                    return
                console.act(name)
                yield step, console.screen()


class _Console(NamedTuple):
    """Frame-by-frame access to an emulator: act by name, get the screen, check for the end."""

    act: Callable[[str], object]
    screen: Callable[[], Screen]
    over: Callable[[], bool]


@contextmanager
def _console(before: Demonstration, names: Sequence[str]) -> Iterator[tuple[_Console, int]]:
    """The emulator at the start of play, and the number of frames per step.

    Its frames are run directly, one at a time, since the environment runs whole steps.
    """
    if known_retro_game(before.game):
        buttons = union([before.primitives, names])
        with closing(begin(_with_buttons(before, buttons))[0]) as env:
            emulator = cast("MacroRetroEnv", env)._emulator
            index = {name: code for code, name in enumerate(buttons)}
            console = _Console(
                lambda name: emulator.act(index[name]), emulator.screen, emulator.over
            )
            yield console, before.frameskip
        return
    from ale_py import Action

    env, _ = begin(before)
    ale, codes = env.get_wrapper_attr("ale"), Action.__members__
    console = _Console(lambda name: ale.act(codes[name]), ale.getScreenRGB, ale.game_over)
    yield console, frameskip_of(env)


def _with_buttons(before: Demonstration, buttons: tuple[str, ...]) -> Demonstration:
    """Play of a stable-retro game, with settings to replay it with these actions."""
    settings = before.settings or RetroGame(before.game).to_replay(
        PlannerSettings(frameskip=before.frameskip), seed=0
    )
    kwargs = {**settings["kwargs"], "k": 0, "buttons": buttons}
    return replace(before, settings={**settings, "kwargs": kwargs})


def _strip(names: Sequence[str], now: int, width: int) -> "Image":
    """The macro's strip with the step ``now`` framed, ``width`` pixels wide."""
    from PIL import Image

    figure = new_figure(width / 100, STRIP_HEIGHT / 100)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    cells = max(len(names), 8)
    draw_strip(axes, names, cell=0.68 * width / cells, now=now)
    axes.set(xlim=(-0.6, cells - 0.4), ylim=(0.6, -0.6))
    axes.set_axis_off()
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=100)
    return Image.open(stream).convert("RGB")


def _picture(screen: Screen, strip: "Image") -> "Image":
    """The screen, enlarged, above the strip."""
    from PIL import Image

    height, width, _ = screen.shape
    picture = Image.new("RGB", (SCALE * width, SCALE * height + STRIP_HEIGHT))
    enlarged = Image.fromarray(screen).resize((SCALE * width, SCALE * height), Image.Resampling.BOX)
    picture.paste(enlarged, (0, 0))
    picture.paste(strip, (0, SCALE * height))
    return picture


def _write(pictures: "Sequence[Image]", path: str | os.PathLike[str]) -> None:
    """Write the animation, looping forever, with a pause at its first and last picture."""
    durations = [FRAME_MS] * len(pictures)
    durations[0] = durations[-1] = PAUSE_MS
    with replacing(path) as file:
        pictures[0].save(
            file,
            format="GIF",
            save_all=True,
            append_images=pictures[1:],
            duration=durations,
            loop=0,
        )
