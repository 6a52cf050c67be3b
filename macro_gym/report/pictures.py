"""Draw a macro set as a picture; only this module loads matplotlib."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from macro_gym.errors import MacroGymError, MissingDependencyError
from macro_gym.extraction.coverage import Coverage
from macro_gym.files import replacing, require_file
from macro_gym.macro_set import MacroSet
from macro_gym.report.strips import presses_button, symbol
from macro_gym.report.text import first_names, lengths

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BUTTON, JOYSTICK, REST = "#ffb74d", "#dbe9f6", "#f2f2f2"
"""Colours of steps: with a button pressed, without, and NOOP."""
ROW, ROWS = 0.33, 20
"""Height of a strip in inches, and the minimum number of strips to leave room for."""


def plot(
    macro_set: MacroSet,
    path: str | os.PathLike[str],
    top: int = 20,
    covered: Coverage | None = None,
) -> None:
    """Draw the first ``top`` macros with their counts, and all lengths, coverage and overlap.

    Args:
        macro_set: The set.
        path: The picture to write; its suffix determines the format.
        top: Number of macros to draw as strips.
        covered: The macros' coverage of some play; not drawn if None.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        MacroGymError: matplotlib does not write such files.
        OutputError: ``path`` is a folder, or within a file.
        InvalidMacroError: ``top`` is negative.
    """
    names = first_names(macro_set, top)
    suffix = require_picture(path)
    rest = ROW * max(0, len(names) - ROWS)
    picture = new_figure(14, 1 + ROW * ROWS + rest)
    picture.suptitle(f"{macro_set.provenance.game or 'Macro set'}: {len(macro_set.macros)} macros")
    panels = picture.subplot_mosaic(
        [
            ["strips", "counts", "lengths", "coverage"],
            ["strips", "counts", "overlap", "overlap"],
            ["strips", "counts", ".", "."],
        ],
        width_ratios=[4, 1.5, 2.5, 3],
        height_ratios=[0.4 * ROW * ROWS, 0.6 * ROW * ROWS, max(rest, 1e-3)],
    )
    _draw_strips(panels["strips"], macro_set, len(names))
    _draw_counts(panels["counts"], macro_set, len(names))
    _draw_lengths(panels["lengths"], macro_set)
    _draw_coverage(panels["coverage"], covered)
    _draw_overlap(picture, panels["overlap"], macro_set)
    with replacing(path) as file:
        picture.savefig(file, format=suffix, dpi=120)


def require_picture(path: str | os.PathLike[str]) -> str:
    """Return the image format that a file name's suffix stands for, if it can be written.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        MacroGymError: matplotlib does not write such files.
        OutputError: ``path`` is a folder, or within a file.
    """
    known = new_figure(1, 1).canvas.get_supported_filetypes()
    suffix = Path(path).suffix.removeprefix(".").lower()
    if suffix not in known:
        raise MacroGymError(f"{path} is no picture to write; it must end in .{', .'.join(known)}")
    require_file(path)
    return suffix


def new_figure(width: float, height: float) -> "Figure":
    """Return a figure of a size in inches that needs no screen.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError(
            "pictures need matplotlib; install it with: pip install 'macro-gym[plots]'"
        ) from error
    return Figure(figsize=(width, height), layout="constrained")


def draw_strip(
    axes: "Axes", names: Sequence[str], row: float = 0, cell: float = 36, now: int | None = None
) -> None:
    """Draw a macro's steps as cells at x = 0, 1, ...: arrows, orange where a button is pressed.

    Args:
        axes: Axes to draw on; y points down.
        names: Names of the steps.
        row: The y of the cells' centres.
        cell: Width of a cell in points, to which text is fitted.
        now: The step to frame, fading the others; None for neither.
    """
    from matplotlib.patches import Rectangle

    for step, name in enumerate(names):
        text = symbol(name)
        colour = BUTTON if presses_button(name) else REST if name == "NOOP" else JOYSTICK
        alpha = 1.0 if now in (None, step) else 0.35
        edge = "black" if now == step else "none"
        box = Rectangle((step - 0.46, row - 0.42), 0.92, 0.84, fc=colour, ec=edge, lw=2)
        axes.add_patch(box).set_alpha(alpha)
        size = min(13, cell / (0.62 * len(text)))
        axes.text(step, row, text, size=size, alpha=alpha, ha="center", va="center")


def _draw_strips(axes: "Axes", macro_set: MacroSet, top: int) -> None:
    """The first macros, one per row."""
    width = max(macro_set.max_length, 8)
    for row, macro in enumerate(macro_set.macros[:top]):
        draw_strip(axes, [macro_set.primitives[p] for p in macro], row, 270 / width)
    axes.set(
        xlim=(-0.6, width - 0.4),
        ylim=(max(top, ROWS) - 0.4, -0.6),
        title=f"The first {top}",
    )
    axes.set_xticks(range(width), [f"{step}" for step in range(1, width + 1)])
    axes.set_yticks(range(top), [f"{rank}" for rank in range(1, top + 1)], fontsize="small")
    axes.set(xlabel="step (orange: with a button pressed)", ylabel="rank")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def _draw_counts(axes: "Axes", macro_set: MacroSet, top: int) -> None:
    """How often the first macros were played."""
    axes.barh(range(top), macro_set.counts[:top], color="#6a9fca")
    axes.set(ylim=(max(top, ROWS) - 0.4, -0.6), xlabel="times played", title="Counts")
    axes.set_yticks([])


def _draw_lengths(axes: "Axes", macro_set: MacroSet) -> None:
    """The number of macros of each length."""
    counts = lengths(macro_set)
    axes.bar(list(counts), list(counts.values()), color="#6a9fca")
    axes.set_xticks(list(counts))
    axes.set(xlabel="length in steps", ylabel="macros", title="Lengths")


def _draw_coverage(axes: "Axes", covered: Coverage | None) -> None:
    """Coverage of play by the first n macros."""
    axes.set_title("Coverage")
    if covered is None:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "no play is given", ha="center", transform=axes.transAxes)
        return
    axes.plot(covered.sizes, covered.covered, label="share of steps covered")
    axes.plot(covered.sizes, covered.decisions, label="decisions per step")
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set(xlabel=f"first n macros ({covered.steps} steps of play)", ylim=(0, 1.02))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize="small")


def _draw_overlap(picture: "Figure", axes: "Axes", macro_set: MacroSet) -> None:
    """The share of primitives that two actions have in common, in order."""
    image = axes.imshow(macro_set.overlap(), vmin=0, vmax=1, interpolation="nearest")
    picture.colorbar(image, ax=axes)
    first = f"0 to {len(macro_set.primitives) - 1} are the primitives"
    axes.set(xlabel=f"action; {first}", ylabel="action", title="Overlap")
