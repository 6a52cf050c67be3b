"""Reader of stable-retro's movies (``.bk2``); needs no ROM."""

from collections.abc import Iterator
from pathlib import Path

from macro_gym.demonstrations.allowed import known_retro_game
from macro_gym.demonstrations.demonstration import Demonstration
from macro_gym.demonstrations.movies import full_name, load_movie
from macro_gym.demonstrations.reading import OnBad, files_below, from_each, refuse
from macro_gym.errors import DemonstrationError


def read_bk2(
    path: Path, game: str = "", on_bad: OnBad = refuse, player: int | None = None
) -> Iterator[Demonstration]:
    """Yield the play of each player in each movie, sorted by name.

    An action is the combination of buttons held, such as ``DOWN+RIGHT+B`` (directions first, then
    buttons in the console's order), or ``NOOP`` for none. The first row, which sets the game up, is
    left out, so that step i is the i-th ``env.step``. Steps are frames: ``frameskip`` is 1. Rewards
    are unknown, since movies do not hold them.

    Args:
        path: A movie, or a folder of movies at any depth.
        game: The only game to read, with or without ``-v0`` or ``MacroRetro/``; all if empty.
        on_bad: What to do about a movie that is malformed or lacks the player.
        player: The only player to read, from 1; all if None.

    Raises:
        DemonstrationError: A movie is malformed, written by BizHawk itself or without the player,
            or there is no movie.
    """
    files = files_below(path, r".*\.bk2") if path.is_dir() else [path]
    if not files:
        raise DemonstrationError(f"{path} holds no movies (.bk2)")
    return from_each(files, lambda file: _play(file, game, player), on_bad)


def _play(path: Path, game: str, player: int | None) -> Iterator[Demonstration]:
    """The play of one movie, player by player."""
    movie = load_movie(path)
    asked = known_retro_game(game) or full_name(game.rpartition("/")[2])
    if game and asked != movie.game:
        return
    if player is not None and not 1 <= player <= movie.players:
        raise DemonstrationError(
            f"{path} is of {movie.players} player{'s' if movie.players > 1 else ''}, so there is "
            f"no player {player}"
        )
    for number in range(1, movie.players + 1) if player is None else (player,):
        names, actions = movie.combinations(number - 1)
        source = f"movie {path.name}, player {number} of {movie.players}"
        yield Demonstration(names, actions, None, movie.game, 1, source)
