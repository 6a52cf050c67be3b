"""``macro-gym show``: show a macro set as text, as a picture and as an animation."""

from pathlib import Path

from macro_gym.banks import bank_names, handcrafted_names, load_bank, load_play
from macro_gym.demonstrations import Demonstration, gather
from macro_gym.demonstrations.actions import ALE_ACTIONS
from macro_gym.errors import MacroGymError
from macro_gym.extraction.coverage import play_coverage, spread_sizes
from macro_gym.macro_set import MacroSet


def show(
    name: str = "banks",
    /,
    top: int = 20,
    plot: Path | None = None,
    gif: int | None = None,
    output: Path | None = None,
    play: tuple[Path, ...] = (),
) -> None:
    """Show a macro set: its origin, its lengths, its macros and how much of play they cover.

    Args:
        name: A game that has a bank, a macro-set file, or "banks" for a list of the banks.
        top: Number of macros to show.
        plot: Picture file to draw the set into, such as macros.png or macros.svg.
        gif: Rank of a macro to run in the emulator and film, at a place where it occurs in the play
            if there is one.
        output: The animation to write; <game>-<rank>.gif if omitted.
        play: Files or folders of play to measure coverage on and to film macros in; for a bank, by
            default the play it was mined from.
    """
    from macro_gym import report
    from macro_gym.report.animation import require_animation
    from macro_gym.report.pictures import require_picture

    if output is not None and gif is None:
        raise MacroGymError(f"output is {output}, but no macro is to be filmed; say which: --gif 1")
    if name == "banks":
        list_banks()
        return
    is_file = Path(name).suffix == ".json" or Path(name).is_file()
    macro_set = MacroSet.load(name) if is_file else load_bank(name)
    animation = output or Path(f"{macro_set.provenance.game or 'macro'}-{gif}.gif")
    # Impossible requests fail before the play is read and anything is printed.
    if plot is not None:
        require_picture(plot)
    if gif is not None:
        require_animation(macro_set, gif, animation)
    stored = () if is_file or play else load_play(name)
    demonstrations = _gathered(macro_set, play) if play else stored
    covered = None
    if demonstrations:
        sizes = spread_sizes(len(macro_set.macros))
        covered = play_coverage(macro_set, demonstrations, sizes, progress_bar=True)
    print(report.describe(macro_set, top, covered))
    if plot is not None:
        report.plot(macro_set, plot, top, covered)
        print(f"\npicture    {plot}")
    if gif is not None:
        where = report.animate(macro_set, gif, animation, demonstrations)
        print(f"\nanimation  {animation}: macro {gif}, {where}")


def list_banks() -> None:
    """List the macro sets shipped with macro-gym: game, mean score and steps of the play, hash.

    Those without play, at the end, were written by hand.
    """
    from macro_gym import report

    names = (*bank_names(), *handcrafted_names())
    print(report.list_banks({bank: load_bank(bank) for bank in names}))


def _gathered(macro_set: MacroSet, paths: tuple[Path, ...]) -> tuple[Demonstration, ...]:
    """Play of the set's game, converted to its action set and frameskip."""
    origin = macro_set.provenance
    return gather(
        paths,
        game=origin.game,
        frameskip=origin.frameskip or None,
        full_action_space=set(macro_set.primitives) == set(ALE_ACTIONS),
        progress_bar=True,
    ).play
