"""The banks: macro sets shipped with macro-gym, mined from a planner's play.

``python -m macro_gym.banks.make`` makes one for every game that has none. Handcrafted sets, which
come with no play, are in ``handcrafted``.
"""

from importlib.resources import as_file, files
from importlib.resources.abc import Traversable

from macro_gym.demonstrations.demonstration import Demonstration
from macro_gym.errors import MissingBankError
from macro_gym.games import bare_name, did_you_mean, find_game
from macro_gym.macro_set import MacroSet

__all__ = ["bank_names", "handcrafted_names", "has_bank", "load_bank", "load_play"]


def bank_names() -> tuple[str, ...]:
    """Return the games that have a mined bank, by file name, sorted."""
    return _names(files(__name__))


def handcrafted_names() -> tuple[str, ...]:
    """Return the games that have a handcrafted set, by file name, sorted."""
    return _names(files(__name__) / "handcrafted")


def has_bank(game: str) -> bool:
    """Return whether a macro set is shipped for ``game``, mined or handcrafted."""
    return find_game(game, (*bank_names(), *handcrafted_names())) is not None


def load_bank(game: str) -> MacroSet:
    """Return the macro set shipped for ``game``, at frameskip 4: the mined one if there is one.

    Args:
        game: The game, such as ``breakout``, ``Breakout``, ``ALE/Breakout-v5``,
            ``Airstriker-Genesis-v0`` or ``MacroRetro/Airstriker-Genesis-v0``.

    Raises:
        MissingBankError: There is none; the message says how to make one.
    """
    folder, rom = files(__name__), find_game(game, bank_names())
    if rom is None:
        folder, rom = folder / "handcrafted", find_game(game, handcrafted_names())
    if rom is None:
        name = bare_name(game)
        raise MissingBankError(
            f"there is no bank for {game!r}.{did_you_mean(game, bank_names())} `macro-gym bank "
            "list` names those that there are. For another game make your own in some "
            "minutes: run "
            f"`macro-gym plan {name} --steps 6000 --output play/{name}`, then "
            f"`macro-gym extract play/{name} --k 512 --output {name}.json`, and give the "
            f'environment macros="{name}.json".'
        )
    with as_file(folder / f"{rom}.json") as path:
        return MacroSet.load(path)


def load_play(game: str) -> tuple[Demonstration, ...]:
    """Return the play that the bank of ``game`` was mined from, by seed; empty if handcrafted.

    Raises:
        MissingBankError: There is no bank.
    """
    rom = find_game(load_bank(game).provenance.game, bank_names())
    if rom is None:
        return ()
    with as_file(files(__name__) / "play") as folder:
        paths = folder.glob(f"{rom}-*.npz")
        by_seed = sorted(paths, key=lambda path: int(path.stem.rpartition("-")[2]))
        return tuple(Demonstration.load(path) for path in by_seed)


def _names(folder: Traversable) -> tuple[str, ...]:
    """Names of the macro sets in a folder, sorted."""
    entries = (entry.name for entry in folder.iterdir())
    return tuple(sorted(name.removesuffix(".json") for name in entries if name.endswith(".json")))
