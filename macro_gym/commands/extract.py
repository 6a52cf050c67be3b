"""``macro-gym extract``: extract macros from play."""

import sys
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Literal

from macro_gym.demonstrations.demonstration import Demonstration
from macro_gym.demonstrations.gather import gather
from macro_gym.demonstrations.sources import Format
from macro_gym.errors import InvalidMacroError, MacroSetFileError
from macro_gym.extraction import METHODS, ExtractionSettings, emulated_effect
from macro_gym.extraction.compression import mine_compressing
from macro_gym.files import require_file
from macro_gym.macro_set import MacroSet


def extract(
    play: tuple[Path, ...],
    /,
    output: Path,
    k: int = 512,
    lengths: tuple[int, int] = (2, 8),
    method: Literal["ngrams", "byte-pairs", "grammar", "compression"] = "ngrams",
    distinct_effects: bool = False,
    min_count: int = 1,
    weights: tuple[int, ...] = (),
    format: Format | None = None,
    game: str = "",
    frameskip: int | None = None,
    skip_bad: bool = False,
    full_action_space: bool = False,
    player: int | None = None,
) -> None:
    """Extract macros from play: its most frequent action sequences, or by another method.

    Args:
        play: Files or folders of play; for Minari, dataset ids also work.
        output: The macro-set file (.json) to write.
        k: Number of macros to extract.
        lengths: Minimum and maximum steps in a macro.
        method: ngrams, the paper's frequent sequences; byte-pairs, byte-pair merges; grammar, the
            rules of Sequitur's grammar; or compression, those frequent sequences that save most
            decisions, without near-duplicates.
        distinct_effects: Choose only one of the macros that have the same effect in the emulator;
            needs the method compression, and for a stable-retro game its ROM.
        min_count: Minimum number of occurrences of a macro.
        weights: An integer for each path, all 1 if omitted; play of weight w counts w times.
        format: The format of the play; recognised by file names if omitted.
        game: The game; play of other games is left out, and play that names no game is assumed to
            be of this one.
        frameskip: Frames per step to resample the play to, such as human play at 60 Hz.
        skip_bad: Skip malformed files, and count them.
        full_action_space: Keep all 18 Atari actions instead of translating play to the game's
            minimal set.
        player: The player to keep from two-player movies, 1 or 2; both if omitted.
    """
    if distinct_effects and method != "compression":
        raise InvalidMacroError(
            f"method is {method!r}, which does not compare what macros do; distinct effects need "
            "--method compression"
        )
    _require_macros_file(output)
    gathered = gather(
        play,
        format,
        game,
        frameskip,
        skip_bad=skip_bad,
        full_action_space=full_action_space,
        player=player,
        progress_bar=True,
    )
    settings = ExtractionSettings(
        k, lengths[1], lengths[0], min_count, weights=_by_episode(weights, gathered.episodes)
    )
    macro_set = (
        _distinct(gathered.play, settings)
        if distinct_effects
        else METHODS[method](gathered.play, settings)
    )
    macro_set.save(output)
    for error in gathered.skipped:
        print(f"macro-gym: skipped: {error}", file=sys.stderr)
    print(gathered)
    print(f"{output}  {len(macro_set.macros)} macros from {macro_set.provenance.steps} steps")


def _require_macros_file(output: Path) -> None:
    """Check, before anything is read, that macros can be written and would not overwrite play.

    Raises:
        MacroSetFileError: ``output`` is a folder, or not named .json.
        OutputError: It is within a file.
    """
    if output.is_dir() or output.suffix != ".json":
        raise MacroSetFileError(
            f"output is {output}; it must be a file of its own for the macros, named .json"
        )
    require_file(output)


def _distinct(play: Sequence[Demonstration], settings: ExtractionSettings) -> MacroSet:
    """Macros that compress play, no two of which have the same effect in the emulator."""
    from tqdm import tqdm

    if not play[0].game:
        raise InvalidMacroError(
            "the play names no game to compare what macros do in; say which it is of: --game"
        )
    # Play that does not state its frameskip is assumed to have an agent's usual one.
    frameskip = play[0].frameskip or 4
    effect = emulated_effect(play[0].game, play[0].primitives, frameskip)
    with tqdm(desc="compare", unit="macro", disable=None) as bar:

        def counted(macro: tuple[int, ...]) -> Hashable:
            bar.update()
            return effect(macro)

        return mine_compressing(play, settings, counted)


def _by_episode(weights: Sequence[int], episodes: Sequence[int]) -> tuple[int, ...]:
    """The weight of each episode, from those of the paths; empty if none are given."""
    if weights and len(weights) != len(episodes):
        raise InvalidMacroError(
            f"{len(weights)} weights for {len(episodes)} paths of play; give one for each"
        )
    pairs = zip(weights, episodes, strict=True) if weights else ()
    return tuple(weight for weight, n in pairs for _ in range(n))
