"""Σ as a self-contained HTML page."""

import base64
import json
import os
import re
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np

from macro_gym.errors import MissingDependencyError
from macro_gym.files import replacing
from macro_gym.report.strips import LEGEND, SYMBOLS
from sb3_masp.similarity_report import svg
from sb3_masp.similarity_report.clusters import cluster, neighbours
from sb3_masp.similarity_report.contents import SimilarityReport
from sb3_masp.similarity_report.history import MEANINGS
from sb3_masp.similarity_report.pictures import colour_range, short


def write_page(report: SimilarityReport, path: str | os.PathLike[str], most: int = 5) -> None:
    """Write the page, atomically.

    Args:
        report: What to show.
        path: File to write.
        most: Nearest neighbours per action in the table; choosing an action shows ten.

    Raises:
        MissingDependencyError: matplotlib or SciPy is not installed.
    """
    report = report.for_pictures()
    parts = {
        "title": escape(report.title),
        "facts": _facts(report),
        "symbols": "".join(map(svg.strip_symbol, range(len(report.steps)), report.steps)),
        "legend": escape(LEGEND) if _has_arrows(report) else "",
        "options": "".join(f'<option value="{escape(name)}"></option>' for name in report.names),
        "history": _history(report),
        "table": _table(report, most),
        "data": json.dumps(_data(report), separators=(",", ":")).replace("<", "\\u003c"),
        "style": _own("page.css"),
        "script": _own("page.js"),
    }
    # In one pass, so that a name is never taken for a placeholder.
    page = re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _own("page.html"))
    with replacing(path) as file:
        file.write(page.encode())


def _data(report: SimilarityReport) -> dict[str, Any]:
    """Data for the page's script."""
    clusters = cluster(report.similarity)
    colours, low, high = colour_range(report.similarity)
    off_diagonal = report.similarity.sum(axis=1) - report.similarity.diagonal()
    return {
        "names": report.names,
        "labels": [short(name) for name in report.names],
        "values": base64.b64encode(report.similarity.astype("<f4").tobytes()).decode(),
        "order": clusters.order.tolist(),
        "forks": clusters.forks.round(8).tolist(),
        "colours": _colours(colours),
        "low": low,
        "high": high,
        "root": colours == "viridis",
        "uniform": (off_diagonal / (len(off_diagonal) - 1)).tolist(),
        "history": [
            [None if np.isnan(value) else value for value in row] for row in report.history
        ],
    }


def _colours(name: str) -> str:
    """256 colours of one of matplotlib's colour maps, six hexadecimal digits each."""
    try:
        from matplotlib import colormaps
    except ImportError as error:
        raise MissingDependencyError(
            "the page's colours need matplotlib; install it with: pip install 'macro-gym[plots]'"
        ) from error
    colours: bytes = colormaps[name](np.arange(256), bytes=True)[:, :3].tobytes()
    return colours.hex()


def _facts(report: SimilarityReport) -> str:
    """The figures of Σ."""
    return "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in report.facts.items()
    )


def _history(report: SimilarityReport) -> str:
    """A curve for each known figure, and a table of all."""
    if not report.history:
        return (
            "<p>This similarity has no history. <code>masp train</code> keeps one; in "
            "a script, the callback <code>SimilarityHistory</code> does.</p>"
        )
    decisions = [row.decisions for row in report.history]
    figures = []
    for column, (name, (title, meaning)) in enumerate(MEANINGS.items(), 1):
        values = np.array([getattr(row, name) for row in report.history])
        known = values[~np.isnan(values)]
        if not known.size:
            continue
        label = f"{title}: from {known[0]:.3g} to {known[-1]:.3g} in {decisions[-1]:,} decisions"
        figures.append(
            f'<figure data-column="{column}"><figcaption><b>{escape(title)}</b> '
            f"<output></output><br><small>{escape(meaning)}</small></figcaption>"
            f"{svg.curve(decisions, values, label)}</figure>"
        )
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title, _ in MEANINGS.values())
    rows = "".join(
        f"<tr><td>{row[0]:,}</td>"
        + "".join(f"<td>{'' if np.isnan(value) else f'{value:.4g}'}</td>" for value in row[1:])
        + "</tr>"
        for row in report.history
    )
    return (
        f'<div class="curves">{"".join(figures)}</div><details><summary>The numbers</summary>'
        f'<div class="scroll"><table><thead><tr><th scope="col">Decisions</th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div></details>"
    )


def _table(report: SimilarityReport, most: int) -> str:
    """Each action and its nearest neighbours, one action per row."""
    nearest = neighbours(report.similarity, most)
    strips = [
        svg.strip(action, steps, name)
        for action, (steps, name) in enumerate(zip(report.steps, report.names, strict=True))
    ]
    ranks = range(1, nearest.shape[1] + 1)
    head = "".join(f'<th scope="col">{"nearest" if r == 1 else f"{r}."}</th>' for r in ranks)
    rows = "".join(
        f'<tr id="row{action}" data-action="{action}"><th scope="row">'
        f'<button type="button" data-action="{action}">{strips[action]}'
        f'<span title="{escape(name)}">{escape(short(name))}</span></button></th>'
        + "".join(
            f'<td data-action="{other}" title="{escape(report.names[other])}">{strips[other]} '
            f"{report.similarity[action, other]:.3g}</td>"
            for other in nearest[action]
        )
        + "</tr>"
        for action, name in enumerate(report.names)
    )
    return (
        f'<table id="neighbours"><thead><tr><th scope="col">action</th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def _has_arrows(report: SimilarityReport) -> bool:
    """Whether the strips are of the emulator's actions."""
    return all(name in SYMBOLS for steps in report.steps for name in steps)


def _own(name: str) -> str:
    """Read a file of this folder."""
    return (files("sb3_masp.similarity_report") / name).read_text(encoding="utf-8")
