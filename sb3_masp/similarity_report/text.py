"""Σ as text."""

from macro_gym.report.strips import LEGEND, SYMBOLS, strip
from sb3_masp.similarity_report.clusters import neighbours
from sb3_masp.similarity_report.contents import SimilarityReport


def describe(report: SimilarityReport, top: int = 20, most: int = 3) -> str:
    """Describe Σ in figures, and list the first ``top`` actions with their neighbours.

    Args:
        report: What to describe.
        top: Number of actions to list.
        most: Nearest neighbours per action.
    """
    facts = [f"{name:<36}{value}" for name, value in report.facts.items()]
    drawn = {name for steps in report.steps for name in steps} <= set(SYMBOLS)
    labels = [strip(steps) for steps in report.steps] if drawn else list(report.names)
    nearest = neighbours(report.similarity, most)
    width = max(len("action"), *map(len, labels)) + 2
    head = f"{'action':<{width}}nearest others, with their entry of Σ"
    rows = [
        f"{labels[action]:<{width}}"
        + "".join(
            f"{labels[other]:<{width}}{report.similarity[action, other]:<9.3g}"
            for other in nearest[action]
        ).rstrip()
        for action in range(min(top, len(labels)))
    ]
    rest = len(labels) - len(rows)
    more = [f"and {rest} more"] if rest else []
    parts = [[report.title], facts, [LEGEND] * drawn, [head, *rows, *more]]
    return "\n\n".join("\n".join(lines) for lines in parts if lines)
