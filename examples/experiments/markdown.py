"""Markdown for docs/evidence.md."""

from collections.abc import Mapping, Sequence
from textwrap import fill


def paragraph(text: str) -> str:
    """Wrap text at 100 columns."""
    return fill(text.replace("\n", " "), 100, break_long_words=False, break_on_hyphens=False) + "\n"


def table(lines: Sequence[Mapping[str, object]]) -> str:
    """A table of lines that all have the same columns, of which there is at least one."""
    rows = [list(lines[0]), *(map(str, line.values()) for line in lines)]
    head, *body = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([head, "|---" * len(lines[0]) + "|", *body, ""])
