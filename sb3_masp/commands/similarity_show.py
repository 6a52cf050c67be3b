"""``masp similarity show``: show a similarity as text, pictures and an HTML page."""

from pathlib import Path

from sb3_masp.commands.similarity_export import similarity_of
from sb3_masp.macro_model import require_setting
from sb3_masp.run_results import SIMILARITY
from sb3_masp.similarity import load_similarity
from sb3_masp.similarity_callbacks import HISTORY


def show(
    path: Path,
    /,
    output: Path | None = None,
    html: Path | None = None,
    top: int = 20,
    neighbours: int = 5,
) -> None:
    """Show a similarity: which actions it considers alike, and how it changed during training.

    Args:
        path: Folder of a run (its last checkpoint, if unfinished), or a similarity file.
        output: Folder for pictures (PNG and SVG): the heat map, each action's nearest
            neighbours and, for a run, how the similarity changed.
        html: HTML page to write; it is self-contained.
        top: Number of actions to list as text.
        neighbours: Number of nearest neighbours to show for each action.
    """
    from sb3_masp import similarity_report as report

    require_setting("top", top, top >= 0, "at least 0")
    require_setting("neighbours", neighbours, neighbours >= 1, "at least 1")
    similarity, about = similarity_of(path) if path.is_dir() else load_similarity(path)
    folder = path if path.is_dir() else path.parent
    # A file of another name beside a run's table need not belong to that run.
    of_run = path.is_dir() or path.name == SIMILARITY
    history = report.read_history(folder / HISTORY) if of_run else ()
    contents = report.make_report(similarity, about, history)
    print(report.describe(contents, top, neighbours))
    if output is not None:
        for picture in report.draw_report(contents, output, neighbours, progress_bar=True):
            print(f"picture  {picture}")
    if html is not None:
        report.write_page(contents, html, neighbours)
        print(f"page     {html}")
