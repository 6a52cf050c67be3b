"""``masp similarity show``: a similarity, as text, as pictures and as a page."""

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
    """Show a similarity: which actions it holds for alike, and how it moved during training.

    Args:
        path: Folder of a run, or a similarity file; of a run under way the last checkpoint's is
            shown.
        output: Folder for pictures (PNG and SVG): the heat map, each action's nearest
            neighbours and, for a run, how the similarity moved.
        html: A page to write; it opens from disk and fetches nothing.
        top: How many actions to list as text.
        neighbours: How many nearest neighbours of each action to show.
    """
    from sb3_masp import similarity_report as report

    require_setting("top", top, top >= 0, "at least 0")
    require_setting("neighbours", neighbours, neighbours >= 1, "at least 1")
    similarity, about = similarity_of(path) if path.is_dir() else load_similarity(path)
    folder = path if path.is_dir() else path.parent
    # A file by another name beside a run's table need not be that run's.
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
