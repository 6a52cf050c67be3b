"""Combine play from any number of sources: one game, one action set, one frameskip."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from macro_gym.demonstrations.actions import ALE_ACTIONS, atari_actions, known_game
from macro_gym.demonstrations.allowed import as_allowed, is_of_pads, known_retro_game
from macro_gym.demonstrations.demonstration import Demonstration
from macro_gym.demonstrations.effects import same_effects
from macro_gym.demonstrations.reading import refuse
from macro_gym.demonstrations.resample import resample
from macro_gym.demonstrations.sources import Format, read_play
from macro_gym.demonstrations.translate import Changes, translate, union
from macro_gym.errors import DemonstrationError
from macro_gym.games import bare_name

SOURCES_NAMED = 5
"""Maximum number of sources of one kind to list; more are only counted."""
CHANGES_NAMED = 18
"""Maximum number of changes between actions to list; the rarer ones are only counted."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """Comparable play, and what was done to make it comparable.

    Args:
        play: Demonstrations of one game, action set and frameskip.
        steps: Number of recorded steps, before resampling.
        changes: Counts of recorded steps whose action was changed, by old and new name.
        skipped: Errors of the files that were skipped.
        episodes: Number of demonstrations from each path.
    """

    play: tuple[Demonstration, ...]
    steps: int
    changes: Changes
    skipped: tuple[DemonstrationError, ...]
    episodes: tuple[int, ...]

    def __str__(self) -> str:
        """The counts in words, one per line."""
        kept = sum(len(demonstration.actions) for demonstration in self.play)
        lines = [f"read        {len(self.play)} episodes, {self.steps} steps"]
        if kept != self.steps:
            lines.append(f"resampled   to {kept} steps of {self.play[0].frameskip} frames")
        if self.changes:
            most = self.changes.most_common(CHANGES_NAMED)
            listed = [f"{old} to {new} {n}" for (old, new), n in most]
            if others := len(self.changes) - len(most):
                listed.append(f"and {others} more")
            lines.append(f"translated  {self.changes.total()} steps: {', '.join(listed)}")
        if self.skipped:
            lines.append(f"skipped     {len(self.skipped)} bad files")
        return "\n".join(lines)


def gather(
    paths: Sequence[Path],
    format: Format | None = None,
    game: str = "",
    frameskip: int | None = None,
    *,
    skip_bad: bool = False,
    full_action_space: bool = False,
    player: int | None = None,
    progress_bar: bool = False,
) -> Gathered:
    """Read the play in ``paths``, translate it to the game's action set and resample it.

    Args:
        paths: Files or folders that `read_play` reads.
        format: Their format; recognised path by path if None.
        game: The game: play of other games is left out, and play that names no game is assumed to
            be of this one. All play if empty.
        frameskip: Frames per step of the result; the play's own if None.
        skip_bad: Whether to skip malformed files.
        full_action_space: Whether to use all 18 Atari actions, instead of the game's minimal set,
            to which other combinations in human play are translated. (Play of stable-retro games is
            always translated to what the game's integration allows.)
        player: The only player to take from movies, from 1; all if None.
        progress_bar: Whether to show the number of episodes read, if on a terminal.

    Raises:
        DemonstrationError: A file is malformed, or there is no play of the game, or play of
            several games.
        FrameSkipError: The play cannot be resampled to ``frameskip``.
        FileNotFoundError: There is no such path.
    """
    from tqdm import tqdm

    skipped: list[DemonstrationError] = []
    on_bad = skipped.append if skip_bad else refuse
    play: list[Demonstration] = []
    changes: Changes = Counter()
    others: Counter[str] = Counter()
    steps = 0
    episodes: list[int] = []
    with tqdm(desc="read", unit="episode", disable=None if progress_bar else True) as bar:
        for path in paths:
            before = len(play)
            for demonstration in read_play(path, format, game, on_bad, player):
                bar.update()
                if not _is_of(demonstration, game):
                    others[demonstration.game] += 1
                    continue
                translated, changed = _in_game(demonstration, game, full_action_space)
                changes += changed
                steps += len(demonstration.actions)
                play.append(translated if frameskip is None else resample(translated, frameskip))
            episodes.append(len(play) - before)
    if not play:
        raise DemonstrationError(
            f"there is no play{f' of {game}' if game else ''} in {', '.join(map(str, paths))}; "
            + "".join(f"{n} episodes are of {other}, " for other, n in sorted(others.items()))
            + f"{len(skipped)} bad files were skipped"
        )
    _require_one_game(play)
    return Gathered(tuple(_alike(play)), steps, changes, tuple(skipped), tuple(episodes))


def _is_of(demonstration: Demonstration, game: str) -> bool:
    """Whether play is of the requested game, or may be, since it names none."""
    names = [name for name in (demonstration.game, game) if name]
    games = {known_game(name) or known_retro_game(name) or bare_name(name) for name in names}
    return len(games) < 2


def _in_game(demonstration: Demonstration, game: str, full: bool) -> tuple[Demonstration, Changes]:
    """Play of a console game, in that game's action set and under its name; any other unchanged."""
    retro = known_retro_game(demonstration.game or game)
    if retro and is_of_pads(demonstration, retro):
        return as_allowed(replace(demonstration, game=retro))
    named = known_game(demonstration.game or game)
    if not named or not set(demonstration.primitives) <= set(ALE_ACTIONS):
        return demonstration, Counter()
    demonstration = replace(demonstration, game=named)
    names = atari_actions(named, full=full)
    if full or set(demonstration.primitives) <= set(names):
        return translate(demonstration, names)
    return translate(demonstration, names, same_effects(named))


def _require_one_game(play: Iterable[Demonstration]) -> None:
    """Raise if the play is of several games."""
    games = sorted({demonstration.game for demonstration in play} - {""})
    if len(games) > 1:
        raise DemonstrationError(
            f"the play is of several games, {', '.join(games)}; choose one (--game)"
        )


def _alike(play: Sequence[Demonstration]) -> Iterable[Demonstration]:
    """The play in the union of its action sets, with long lists of sources summarised."""
    names = union(demonstration.primitives for demonstration in play)
    sources = _summarised({demonstration.source for demonstration in play})
    for demonstration in play:
        same, _ = translate(demonstration, names)
        yield replace(same, source=sources[same.source])


def _summarised(sources: Iterable[str]) -> dict[str, str]:
    """Each source, or, if there are many, a count of its kind (the text before the colon)."""
    kinds = {source: source.partition(": ")[0] for source in sources}
    counts = Counter(kinds.values())
    return {
        source: source if counts[kind] <= SOURCES_NAMED else f"{kind}: {counts[kind]} parts"
        for source, kind in kinds.items()
    }
