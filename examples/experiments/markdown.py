"""Markdown for docs/evidence.md."""

from textwrap import fill


def paragraph(text: str) -> str:
    """Wrap text at 100 columns."""
    return fill(text.replace("\n", " "), 100, break_long_words=False, break_on_hyphens=False) + "\n"
