"""The play that the banks were mined from."""

from collections.abc import Iterable
from pathlib import Path

from macro_gym import banks
from macro_gym.banks import bank_names
from macro_gym.banks.make import MACROS
from macro_gym.demonstrations import Demonstration
from macro_gym.extraction import frequent_ngrams
from macro_gym.games import find_game
from macro_gym.macro_set import MacroSet


def load_play(game: str) -> tuple[Demonstration, ...]:
    """Return the play that a bank was mined from, by seed."""
    folder = Path(banks.__file__).parent / "play"
    paths = folder.glob(f"{find_game(game, bank_names())}-*.npz")
    by_seed = sorted(paths, key=lambda path: int(path.stem.rpartition("-")[2]))
    return tuple(Demonstration.load(path) for path in by_seed)


def mine(play: Iterable[Demonstration]) -> MacroSet:
    """Return the bank that play gives."""
    return frequent_ngrams(play, MACROS)
