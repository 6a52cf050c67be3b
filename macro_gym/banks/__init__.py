"""The banks: macro sets shipped for Atari games, mined from a planner's play.

``python -m macro_gym.banks.make`` makes one for every game that has none.
"""

from importlib.resources import as_file, files

from macro_gym.demonstrations.demonstration import Demonstration
from macro_gym.errors import MissingBankError
from macro_gym.games import bare_name, did_you_mean, find_game
from macro_gym.macro_set import MacroSet

__all__ = ["bank_names", "load_bank", "load_play"]


def bank_names() -> tuple[str, ...]:
    """Return the games that have a bank, by ale-py's ids, sorted."""
    entries = (entry.name for entry in files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(".json") for name in entries if name.endswith(".json")))


def load_bank(game: str) -> MacroSet:
    """Return the macro set shipped for ``game``: minimal action set, frameskip 4.

    Args:
        game: The game, as in ``breakout``, ``Breakout`` or ``ALE/Breakout-v5``.

    Raises:
        MissingBankError: There is none; the message says how to make one.
    """
    rom = find_game(game, bank_names())
    if rom is None:
        name = bare_name(game)
        raise MissingBankError(
            f"there is no bank for {game!r}.{did_you_mean(game, bank_names())} `macro-gym bank "
            "list` names those that there are. For another Atari game make your own in a few "
            "minutes: run "
            f"`macro-gym plan {name} --steps 6000 --output play/{name}`, then "
            f"`macro-gym extract play/{name} --k 512 --output {name}.json`, and give the "
            f'environment macros="{name}.json".'
        )
    with as_file(files(__name__) / f"{rom}.json") as path:
        return MacroSet.load(path)


def load_play(game: str) -> tuple[Demonstration, ...]:
    """Return the play that the bank of ``game`` was mined from, by seed.

    Raises:
        MissingBankError: There is no bank.
    """
    rom = find_game(load_bank(game).provenance.game, bank_names())
    with as_file(files(__name__) / "play") as folder:
        paths = folder.glob(f"{rom}-*.npz")
        by_seed = sorted(paths, key=lambda path: int(path.stem.rpartition("-")[2]))
        return tuple(Demonstration.load(path) for path in by_seed)
