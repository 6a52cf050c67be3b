"""``macro-gym extract``: macros from play."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from macro_gym.demonstrations.gather import gather
from macro_gym.demonstrations.sources import Format
from macro_gym.errors import InvalidMacroError
from macro_gym.extraction import METHODS, ExtractionSettings


def extract(
    play: tuple[Path, ...],
    /,
    output: Path,
    k: int = 512,
    max_length: int = 8,
    min_length: int = 2,
    method: Literal["ngrams", "byte-pairs", "grammar", "compression"] = "ngrams",
    min_count: int = 1,
    weights: tuple[int, ...] = (),
    format: Format | None = None,
    game: str = "",
    frameskip: int | None = None,
    skip_bad: bool = False,
    full_action_space: bool = False,
) -> None:
    """Extract macros from play: its most frequent action sequences, or by another method.

    Args:
        play: Files of play or folders of them; for Minari, ids of datasets will do.
        output: The macro-set file (.json) to write.
        k: How many macros to extract.
        max_length: Steps in the longest macro.
        min_length: Steps in the shortest macro.
        method: The paper's frequent sequences; byte-pair merges; the rules of Sequitur's grammar;
            or those of the frequent ones that save most decisions, without near-duplicates.
        min_count: How often a macro must have occurred at least.
        weights: A whole number for each of the paths, all 1 if omitted; what play of weight w
            holds counts w times.
        format: The format of the play; recognised by the names of files if omitted.
        game: The game; play that says it is of another is left out, and play that names no game is
            taken to be of this one.
        frameskip: Frames per step to resample the play to, such as people's at 60 Hz.
        skip_bad: Go on past malformed files, and count them.
        full_action_space: Keep all 18 Atari actions instead of translating play to the game's
            minimal set.
    """
    gathered = gather(
        play,
        format,
        game,
        frameskip,
        skip_bad=skip_bad,
        full_action_space=full_action_space,
        progress_bar=True,
    )
    settings = ExtractionSettings(
        k, max_length, min_length, min_count, weights=_by_episode(weights, gathered.episodes)
    )
    macro_set = METHODS[method](gathered.play, settings)
    macro_set.save(output)
    for error in gathered.skipped:
        print(f"macro-gym: skipped: {error}", file=sys.stderr)
    print(gathered)
    print(f"{output}  {len(macro_set.macros)} macros from {macro_set.provenance.steps} steps")


def _by_episode(weights: Sequence[int], episodes: Sequence[int]) -> tuple[int, ...]:
    """The weight of each episode, from those of the paths; none if none are given."""
    if weights and len(weights) != len(episodes):
        raise InvalidMacroError(
            f"{len(weights)} weights for {len(episodes)} paths of play; give one for each"
        )
    pairs = zip(weights, episodes, strict=True) if weights else ()
    return tuple(weight for weight, n in pairs for _ in range(n))
