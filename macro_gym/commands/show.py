"""``macro-gym show``: a macro set, as text and as a picture."""

from pathlib import Path

from macro_gym.banks import bank_names, load_bank
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
