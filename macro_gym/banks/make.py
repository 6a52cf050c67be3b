"""Makes the banks bit for bit: ``python -m macro_gym.banks.make``.

For each game a planner plays some episodes, kept in ``play/``; the bank is mined from them. What
is there already is kept, so that an interrupted run goes on; ``--fresh`` starts anew.
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
"""Steps of play for each game, at least."""

BUTTONS = {"Airstriker-Genesis-v0": ("NOOP", "LEFT", "RIGHT", "B", "LEFT+B", "RIGHT+B")}
"""Games of stable-retro whose ROM is free, with the buttons that do anything in them."""

EPISODE_STEPS = {"Airstriker-Genesis-v0": 1300}
"""Where episodes are cut, if not as usual: this game is beaten after so many, but not over."""

FEWER_STEPS = {"Airstriker-Genesis-v0": 10_000}
"""Steps of play, if not as usual: a frame of a Genesis takes ten times one of an Atari."""

GAMES = (*atari_games(), *BUTTONS)
MACROS = 512

SKIPPED_SEEDS = {"video_chess": (1, 5)}
"""Seeds of episodes in which ale-py 0.12.1 crashes."""


@dataclass(frozen=True, slots=True)
class Options:
    """Make the banks that macro-gym ships.

    Args:
        games: Games to make banks for, by ale-py's or stable-retro's ids.
        folder: Where the banks go; their play goes into play/ there.
        workers: Episodes to plan at the same time.
        fresh: Plan anew what is there already.
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
    """Return the bank that play gives."""
    return frequent_ngrams(play, MACROS)


if __name__ == "__main__":
    import tyro

    make(tyro.cli(Options))
