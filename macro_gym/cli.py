"""The command ``macro-gym``: show macro sets, plan play, extract macros from it."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import tyro

from macro_gym.banks import bank_names, load_bank
from macro_gym.demonstrations import Demonstration
from macro_gym.demonstrations.gather import gather
from macro_gym.demonstrations.sources import Format
from macro_gym.errors import InvalidMacroError, MacroGymError
from macro_gym.extraction import METHODS, ExtractionSettings
from macro_gym.macro_set import MacroSet


def show(
    name: str = "banks",
    /,
    top: int = 20,
    plot: Path | None = None,
) -> None:
    """Show a macro set: where it comes from, its lengths, its most frequent macros.

    Args:
        name: A game that has a bank, a macro-set file, or "banks" for a list of the banks.
        top: How many macros to show.
        plot: A picture to draw them into, such as macros.png.
    """
    from macro_gym import report

    if name == "banks":
        for bank in bank_names():
            macro_set = load_bank(bank)
            print(f"{bank:<20}{len(macro_set.macros):>5} macros  {macro_set.hash[:12]}")
        return
    is_file = Path(name).suffix == ".json" or Path(name).is_file()
    macro_set = MacroSet.load(name) if is_file else load_bank(name)
    print(report.describe(macro_set, top))
    if plot is not None:
        report.plot(macro_set, plot, top)
        print(f"\npicture    {plot}")


def plan(
    game: str,
    /,
    output: Path,
    steps: int = 6000,
    episode_steps: int = 1200,
    seed: int = 0,
    workers: int = 1,
) -> None:
    """Let the planner play a game; an interrupted run goes on where it stopped.

    Args:
        game: The game: breakout, Breakout or ALE/Breakout-v5.
        output: Folder for the episodes, one file each; what is there already is kept.
        steps: Steps (of 4 frames) to play in all, at least.
        episode_steps: Steps after which an episode is cut.
        seed: Seed of the first episode; the others count up from it.
        workers: Episodes to plan at the same time, each on one core.
    """
    from macro_gym.demonstrations.planner import PlannerSettings
    from macro_gym.play import plan_play

    settings = PlannerSettings(steps=episode_steps)
    for path in plan_play(game, output, steps, settings=settings, seed=seed, workers=workers):
        demonstration = Demonstration.load(path)
        print(f"{path}  {len(demonstration.actions)} steps  score {demonstration.score:g}")


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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line ``argv``, the process's own if None; return its exit code."""
    commands: dict[str, Callable[..., None]] = {"show": show, "plan": plan, "extract": extract}
    try:
        tyro.extras.subcommand_cli_from_dict(
            commands, prog="macro-gym", description=__doc__, args=argv
        )
    except (MacroGymError, OSError) as error:
        print(f"macro-gym: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; run the same command again to go on", file=sys.stderr)
        return 130
    return 0


def _by_episode(weights: Sequence[int], episodes: Sequence[int]) -> tuple[int, ...]:
    """The weight of each episode, from those of the paths; none if none are given."""
    if weights and len(weights) != len(episodes):
        raise InvalidMacroError(
            f"{len(weights)} weights for {len(episodes)} paths of play; give one for each"
        )
    pairs = zip(weights, episodes, strict=True) if weights else ()
    return tuple(weight for weight, n in pairs for _ in range(n))


if __name__ == "__main__":
    sys.exit(main())
