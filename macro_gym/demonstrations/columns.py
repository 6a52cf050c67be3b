"""Delimited text as NumPy columns, at millions of rows per second: no Python runs per row."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from macro_gym.errors import DemonstrationError

NEWLINE, RETURN, SPACE, MINUS, ZERO = b"\n\r -0"
DIGITS = 18
"""Digits that always fit 64 bits."""
LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Lines of text and the positions of their fields.

    Args:
        name: Name of the text in errors: a path.
        content: The text, shape ``(bytes,)``.
        lines: Line number of each row, counted from 1, shape ``(rows,)``.
        starts: First byte of each field, shape ``(fields, rows)``.
        ends: The byte after each field, shape ``(fields, rows)``.
    """

    name: str
    content: NDArray[np.uint8]
    lines: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]

    def integers(self, field: int, what: str, low: int, high: int) -> NDArray[np.int64]:
        """Return a column of integers, shape ``(rows,)``.

        Args:
            field: Index of the column.
            what: Name of the column in errors.
            low: Smallest integer allowed.
            high: Largest integer allowed.

        Raises:
            DemonstrationError: A field is not an integer within range; the error names its line.
        """
        values, plain = self._plain_integers(field)
        self._require(plain & (values >= low) & (values <= high), field, what, f"{low}..{high}")
        return values

    def numbers(self, field: int, what: str, *, null: bool = False) -> NDArray[np.float64]:
        """Return a column of numbers, shape ``(rows,)``.

        Args:
            field: Index of the column.
            what: Name of the column in errors.
            null: Whether a field may be ``null``, which becomes NaN.

        Raises:
            DemonstrationError: A field is not a finite number that fits 32 bits; the error names
                its line.
        """
        integers, plain = self._plain_integers(field)
        values = integers.astype(np.float64)
        missing = self._equals(field, b"null") if null else np.zeros_like(plain)
        values[missing] = np.nan
        for row in np.flatnonzero(~(plain | missing)):
            values[row] = _number(self.text(field, int(row)))
        fits = missing | (np.abs(values) <= LARGEST)
        self._require(fits, field, what, "a number" + (" or null" if null else ""))
        return values

    def flags(self, field: int, what: str) -> NDArray[np.bool_]:
        """Return a column of booleans, written 0/1, True/False or true/false.

        Raises:
            DemonstrationError: A field is none of these; the error names its line.
        """
        true, false = (
            np.logical_or.reduce([self._equals(field, word) for word in words])
            for words in ((b"1", b"True", b"true"), (b"0", b"False", b"false"))
        )
        self._require(true | false, field, what, "0/1 or True/False")
        return np.asarray(true, dtype=np.bool_)

    def text(self, field: int, row: int) -> str:
        """Return one field as written, with non-ASCII bytes escaped."""
        span = slice(int(self.starts[field, row]), int(self.ends[field, row]))
        return self.content[span].tobytes().decode("ascii", "backslashreplace")

    def refuse(self, row: int, problem: str) -> DemonstrationError:
        """Return an error about a row."""
        return DemonstrationError(f"{self.name}, line {self.lines[row]}: {problem}")

    def _plain_integers(self, field: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The column's integers, and which fields consist of digits and a sign only."""
        starts, ends = self.starts[field], self.ends[field]
        negative = self._bytes(starts) == MINUS
        starts = starts + negative
        widths = ends - starts
        plain = (widths > 0) & (widths <= DIGITS)
        values = np.zeros(len(starts), dtype=np.int64)
        for position in range(min(int(widths.max(initial=0)), DIGITS)):
            inside = position < widths
            digits = self._bytes(starts + position) - np.uint8(ZERO)
            plain &= (digits < 10) | ~inside
            values = np.where(inside, values * 10 + digits, values)
        return np.where(negative, -values, values), plain

    def _equals(self, field: int, word: bytes) -> NDArray[np.bool_]:
        """Which fields of a column are exactly ``word``."""
        starts = self.starts[field]
        same = np.asarray(self.ends[field] - starts == len(word), dtype=np.bool_)
        for position, letter in enumerate(word):
            if not same.any():
                break
            same &= self._bytes(starts + position) == letter
        return same

    def _bytes(self, positions: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The bytes at ``positions``; past the text's end, its last byte."""
        return self.content.take(positions, mode="clip")

    def _require(self, good: NDArray[np.bool_], field: int, what: str, allowed: str) -> None:
        """Raise for the first row that is not good."""
        if not good.all():
            row = int(np.argmin(good))
            raise self.refuse(row, f"{what} is {self.text(field, row)!r}; it must be {allowed}")


def split_rows(
    name: str,
    content: bytes,
    fields: int,
    *,
    delimiter: bytes = b",",
    first_line: int = 1,
    exact: bool = True,
) -> Rows:
    """Find the fields of each non-blank line, without the spaces around them.

    Args:
        name: Name of the text in errors: a path.
        content: The lines, without a header.
        fields: Number of fields to find per row, from the first.
        delimiter: The byte that separates fields.
        first_line: Number of the first line, for errors.
        exact: Whether further fields in a row are an error.

    Raises:
        DemonstrationError: There is no row, or one has too few or too many fields.
    """
    text = np.frombuffer(content, dtype=np.uint8)
    starts, ends, lines = _lines(text, first_line)
    if len(lines) == 0:
        raise DemonstrationError(f"{name} holds no rows; was it cut short while copying?")
    marks = np.flatnonzero(text == delimiter[0])
    inner, found = _field_ends(marks, starts, ends, fields)
    bad = (found != fields) if exact else (found < fields)
    if bad.any():
        row = int(np.argmax(bad))
        raise DemonstrationError(
            f"{name}, line {lines[row]}: {found[row]} fields where {fields} are due; "
            "was the file cut short, or is it of another format?"
        )
    field_starts = np.concatenate([starts[None], inner[:-1] + 1])
    field_ends = np.minimum(inner, ends)
    if SPACE in content:
        _strip(text, field_starts, field_ends)
    return Rows(name, text, lines, field_starts, field_ends)


def _field_ends(
    marks: NDArray[np.int64], starts: NDArray[np.int64], ends: NDArray[np.int64], fields: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each row's fields end, and how many fields it has.

    Args:
        marks: Positions of the delimiters, ascending, shape ``(delimiters,)``.
        starts: Starts of the rows, shape ``(rows,)``.
        ends: Ends of the rows, shape ``(rows,)``.
        fields: Number of fields to find.

    Returns:
        Ends, shape ``(fields, rows)``, beyond the row's own end for a missing field; and numbers of
        fields, shape ``(rows,)``.
    """
    if fields > 1 and len(marks) == len(starts) * (fields - 1):
        inner = marks.reshape(len(starts), fields - 1).T
        if (inner[0] >= starts).all() and (inner[-1] < ends).all():
            return np.concatenate([inner, ends[None]]), np.full(len(starts), fields)
    marks = np.append(marks, np.iinfo(np.int64).max)
    first = np.searchsorted(marks, starts)
    found = np.searchsorted(marks, ends) - first + 1
    return marks.take(first + np.arange(fields)[:, None], mode="clip"), found


def _lines(
    text: NDArray[np.uint8], first_line: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Start, end and number of each non-blank line."""
    ends = np.flatnonzero(text == NEWLINE)
    if len(text) and text[-1] != NEWLINE:
        ends = np.append(ends, len(text))
    starts = np.concatenate([[0], ends[:-1] + 1])[: len(ends)]
    ends = ends - ((ends > starts) & (text.take(ends - 1, mode="clip") == RETURN))
    kept = ends > starts
    return starts[kept], ends[kept], np.flatnonzero(kept) + first_line


def _strip(text: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
    """Trim the spaces around every field, in place."""
    while (blank := (starts < ends) & (text.take(starts, mode="clip") == SPACE)).any():
        starts += blank
    while (blank := (starts < ends) & (text.take(ends - 1, mode="clip") == SPACE)).any():
        ends -= blank


def _number(text: str) -> float:
    """``text`` as a number, or NaN."""
    try:
        return float(text)
    except ValueError:
        return float("nan")
