"""Make the banks, reproducible bit for bit: ``python -m macro_gym.banks.make``.

For each game, a planner plays several episodes, kept in ``play/``, and the bank is mined from them.
Existing files are kept, so an interrupted run resumes; ``--fresh`` starts over.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from macro_gym.demonstrations.demonstration import Demonstration
from macro_gym.demonstrations.planner import DEFAULTS
from macro_gym.demonstrations.retro_sandbox import RetroGame
from macro_gym.extraction.ngrams import frequent_ngrams
from macro_gym.macro_set import MacroSet
from macro_gym.registration import atari_games

FOLDER = Path(__file__).parent
STEPS = 20_000
"""Minimum steps of play per game."""

BUTTONS = {"Airstriker-Genesis-v0": ("NOOP", "LEFT", "RIGHT", "B", "LEFT+B", "RIGHT+B")}
"""stable-retro games with a free ROM, and the combinations that have an effect in them."""

EPISODE_STEPS = {"Airstriker-Genesis-v0": 1300}
"""Episode lengths that differ from the default: this game is beaten by then, but not over."""

FEWER_STEPS = {"Airstriker-Genesis-v0": 10_000}
"""Step counts that differ from the default: a Genesis frame takes ten times as long as Atari's."""

GAMES = (*atari_games(), *BUTTONS)
MACROS = 512

SKIPPED_SEEDS = {"video_chess": (1, 5)}
"""Seeds of episodes in which ale-py 0.12.1 crashes."""


@dataclass(frozen=True, slots=True)
class Options:
    """Make the banks that macro-gym ships.

    Args:
        games: Games to make banks for, by ale-py's or stable-retro's ids.
        folder: Folder for the banks; their play goes into play/ within it.
        workers: Episodes to plan in parallel.
        fresh: Replan what already exists.
    """

    games: tuple[str, ...] = GAMES
    folder: Path = FOLDER
    workers: int = 1
    fresh: bool = False


def make(options: Options) -> None:
    """Plan and mine each game's bank, in order."""
    from macro_gym.play import plan_play

    for game in options.games:
        buttons = BUTTONS.get(game)
        if options.fresh:
            for path in (options.folder / "play").glob(f"{game}-*"):
                path.unlink()
        play = plan_play(
            game if buttons is None else RetroGame(game, buttons=buttons),
            options.folder / "play",
            FEWER_STEPS.get(game, STEPS),
            settings=replace(DEFAULTS, steps=EPISODE_STEPS.get(game, DEFAULTS.steps)),
            skip_seeds=SKIPPED_SEEDS.get(game, ()),
            workers=options.workers,
        )
        mine(map(Demonstration.load, play)).save(options.folder / f"{game}.json")


def mine(play: Iterable[Demonstration]) -> MacroSet:
    """Return the bank mined from play."""
    return frequent_ngrams(play, MACROS)


if __name__ == "__main__":
    import tyro

    make(tyro.cli(Options))
