"""Write docs/evidence.md, with every figure computed from the tables of the experiments."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from examples.experiments import atari_pixels, atari_ram, minatar_games, small_problems
from examples.experiments.ablations_page import (
    Ablations,
    ablations_section,
    draw_ablations,
    read_ablations,
)
from examples.experiments.atari_page import (
    PIXELS_FIGURE,
    RAM_FIGURE,
    atari_pixels_section,
    atari_ram_section,
    draw_pixels,
    draw_ram,
    read_pixels,
)
from examples.experiments.minatar_page import draw_minatar, minatar_section
from examples.experiments.rows import Rows, read_rows
from examples.experiments.small_problems_page import draw_small_problems, small_problems_section
from examples.experiments.transfer_page import draw_transfers
from macro_gym.files import replacing

DOCS = Path(__file__).parents[2] / "docs"

INTRODUCTION = """\
# Evidence

Written by `python examples/experiments/evidence.py` from the tables in
`examples/experiments/results`, with one row per run. Each table is stored with its settings and
with the commands, machines and versions of its runs (incomplete for early ones). What has not been
run is reported as missing, and nothing is concluded from it.
"""


def page(
    rows: Rows,
    minatar: Rows,
    ram: Rows | None = None,
    pixels: Sequence[Mapping[str, Any]] = (),
    ablations: Ablations | None = None,
) -> str:
    """Render the page.

    Args:
        rows: Rows of the experiment on small problems.
        minatar: Rows of the experiment on MinAtar.
        ram: Rows of the experiment on Atari from memory.
        pixels: Rows of the experiment on Atari from pixels.
        ablations: Tables of the ablations; without them, their section is left out.
    """
    sections = (
        INTRODUCTION,
        small_problems_section(rows),
        minatar_section(minatar),
        atari_ram_section(ram or {}),
        atari_pixels_section(pixels),
        *([ablations_section(*ablations)] if ablations else []),
    )
    return "\n".join(sections)


def tables() -> tuple[Rows, Rows, Rows, list[dict[str, Any]], Ablations]:
    """Read the tables from which the page is rendered."""
    of_runs = (read_rows(made.OUTPUT) for made in (small_problems, minatar_games, atari_ram))
    return *of_runs, read_pixels(atari_pixels.OUTPUT), read_ablations()


if __name__ == "__main__":
    found = tables()
    with replacing(DOCS / "evidence.md") as file:
        file.write(page(*found).encode())
    draw_small_problems(found[0], DOCS)
    draw_minatar(found[1], DOCS)
    draw_ram(found[2], DOCS / RAM_FIGURE)
    draw_pixels(found[3], DOCS / PIXELS_FIGURE)
    draw_ablations(*found[4][:2], DOCS)
    draw_transfers(found[4][2], DOCS)
