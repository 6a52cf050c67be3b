"""Strips and curves as SVG inside a page."""

from collections.abc import Sequence
from html import escape
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from macro_gym.report.strips import presses_button, symbol

CELL = 18
"""Height of a strip in pixels, and width of a step with a symbol."""
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 360, 150, 46, 18, 8
"""A curve's size, and the space around it for numbers."""


def strip_symbol(action: int, steps: Sequence[str]) -> str:
    """The symbol that a page defines once per action: its steps as cells, for use by `strip`."""
    cells, left = [], 0
    for name in steps:
        cells.append(_cell(left, name))
        left += _width(name)
    return f'<symbol id="strip{action}" viewBox="0 0 {left} {CELL}">{"".join(cells)}</symbol>'


def strip(action: int, steps: Sequence[str], name: str) -> str:
    """An action as a strip; screen readers read ``name``."""
    width = sum(map(_width, steps))
    return (
        f'<svg class="strip" role="img" aria-label="{escape(name)}" width="{width}" '
        f'height="{CELL}" viewBox="0 0 {width} {CELL}"><use href="#strip{action}"/></svg>'
    )


def curve(decisions: Sequence[int], values: NDArray[np.float64], label: str) -> str:
    """A line over decisions, with gaps where values are NaN.

    Args:
        decisions: Ascending, at least one.
        values: As many values.
        label: Text for screen readers.
    """
    known = values[~np.isnan(values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    if high - low < 1e-6 * max(abs(low), abs(high), 1e-9):
        low, high = low - 0.5, high + 0.5
    x = LEFT + np.array(decisions) / max(decisions[-1], 1) * (WIDTH - LEFT - 8)
    y = TOP + (high - values) / (high - low) * (HEIGHT - TOP - BOTTOM)
    base = HEIGHT - BOTTOM
    return (
        f'<svg class="curve" role="img" aria-label="{escape(label)}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}">'
        f'<path class="axis" d="M{LEFT} {TOP}V{base}H{WIDTH - 8}"/>'
        f'<text x="{LEFT - 4}" y="{TOP + 8}" text-anchor="end">{high:.3g}</text>'
        f'<text x="{LEFT - 4}" y="{base}" text-anchor="end">{low:.3g}</text>'
        f'<text x="{LEFT}" y="{HEIGHT - 4}">0</text>'
        f'<text x="{WIDTH - 8}" y="{HEIGHT - 4}" text-anchor="end">'
        f"{decisions[-1]:,} decisions</text>{_lines(x, y)}</svg>"
    )


def _width(name: str) -> int:
    """Width of a step in pixels: that of a cell, or more for a name of several letters."""
    return max(CELL, 7 * len(symbol(name)) + 6)


def _cell(left: int, name: str) -> str:
    """A step: an arrow or a name on its colour."""
    kind = "button" if presses_button(name) else "rest" if name == "NOOP" else "joystick"
    width = _width(name)
    return (
        f'<rect class="{kind}" x="{left + 1}" y="1" width="{width - 2}" height="{CELL - 2}" '
        f'rx="2"/><text class="step" x="{left + width / 2:g}" y="{CELL / 2:g}">'
        f"{escape(symbol(name))}</text>"
    )


def _lines(x: NDArray[np.float64], y: NDArray[np.float64]) -> str:
    """Lines through the points whose y is not NaN; an isolated point is a dot."""
    lines = []
    for gap, run in groupby(zip(x, y, strict=True), key=lambda point: bool(np.isnan(point[1]))):
        points = [f"{across:.1f},{down:.1f}" for across, down in run]
        if len(points) == 1 and not gap:
            across, down = points[0].split(",")
            lines.append(f'<circle cx="{across}" cy="{down}" r="2.5"/>')
        elif not gap:
            lines.append(f'<polyline points="{" ".join(points)}"/>')
    return "".join(lines)
