"""``masp weights show``: show pairwise weights as text and as a picture."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sb3_masp.commands.weights_export import FoundWeights, weights_in
from sb3_masp.macro_model import require_setting
from sb3_masp.pairwise import WeightsFileError

FORMATS = (".png", ".svg", ".pdf")


def show(path: Path, /, output: Path | None = None) -> None:
    """Show pairwise weights: their form, settings and sizes, and a heat map of tables.

    For an unfinished run, its last checkpoint's are shown; weights that a network computes from
    states are drawn for its last rollout.

    Args:
        path: Folder of a run, or a weights.safetensors file.
        output: Picture to write (PNG, SVG or PDF): a heat map whose rows get credit for the rewards
            of its columns.
    """
    fits = output is None or output.suffix in FORMATS
    require_setting("output", str(output), fits, f"a file that ends in {', '.join(FORMATS)}")
    shown = weights_in(path)
    print("\n".join(described(shown)))
    if output is not None:
        if not shown.maps:
            raise WeightsFileError(
                f"{shown.source} holds {shown.said.form}, of which there is no table to draw: they "
                "are drawn on a rollout, as a run does when it ends (plots/weights.png), or "
                "trajectory_map for any other"
            )
        from sb3_masp.pairwise.pictures import draw_weights

        draw_weights(output, shown.maps)
        print(f"picture   {output}")


def described(shown: FoundWeights) -> Iterator[str]:
    """Lines that describe weights."""
    form, settings, tensors = shown.said
    yield f"file      {shown.source}"
    yield f"form      {form}"
    yield from (f"{name:9} {value:g}" for name, value in settings.items())
    for name, part in tensors.items():
        yield f"numbers   {name}, {' x '.join(map(str, part.shape)) or 'one'}"
    for title, (weights, axes) in shown.maps.items():
        known = weights[~np.isnan(weights)]
        yield f"map       {title}: a row for each {axes.rows}, a column for each {axes.columns}"
        if known.size:
            spread = f"{known.min():.3g} to {known.max():.3g}, mean {known.mean():.3g}"
            yield f"weights   {known.size} of {weights.size} pairs: {spread}"
        else:
            yield f"weights   none of {weights.size} pairs was ever met: all are still initial"
