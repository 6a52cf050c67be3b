"""Shrink screens bit for bit as OpenCV does, without its cost to the emulator."""

import math
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Image: TypeAlias = NDArray[np.uint8]


class Resizer(Protocol):
    """Resizes images one after the other; one similar to the previous image may take less time."""

    def __call__(self, image: Image, out: Image) -> None:
        """Write ``image``, resized to the shape of ``out``, to ``out``."""


class OpenCVResizer:
    """``cv2.resize`` with ``INTER_AREA``, as ``AtariPreprocessing`` calls it."""

    def __call__(self, image: Image, out: Image) -> None:
        """Write ``image``, resized to the shape of ``out``, to ``out``."""
        import cv2

        out[:] = cv2.resize(image, out.shape[1::-1], interpolation=cv2.INTER_AREA)


class AreaResizer:
    """The same for greyscale images that shrink, in NumPy, working only where an image changed.

    A result pixel is a sum of source pixels, weighted by how much of each it covers: first within a
    row, then over rows, in float32 and in OpenCV's order, so the bits are the same. The first,
    larger part is done only for rows that differ from the previous image: in many games most of the
    screen stands still. Moreover, ``cv2.resize`` leaves the emulator 7% slower for the two
    milliseconds after it (on the CPU where this was measured); NumPy does not.

    Args:
        raw_shape: Height and width of the images.
        shape: Height and width of the results, both smaller.
    """

    def __init__(self, raw_shape: tuple[int, int], shape: tuple[int, int]) -> None:
        """Compute the weights."""
        self._across = _Weights(raw_shape[1], shape[1])
        self._down = _Weights(raw_shape[0], shape[0])
        # Black stays black when resized: a consistent place to start.
        self._last = np.zeros(raw_shape, np.uint8)
        self._narrowed = np.zeros((raw_shape[0], shape[1]), np.float32)

    def __call__(self, image: Image, out: Image) -> None:
        """Write ``image``, resized to the shape of ``out``, to ``out``."""
        changed = np.flatnonzero((image != self._last).any(axis=1))
        if len(changed):
            rows = self._last[changed] = image.take(changed, axis=0)
            columns = np.ascontiguousarray(rows.astype(np.float32).T)
            self._narrowed[changed] = self._across.sum(columns).T
        np.rint(self._down.sum(self._narrowed), out=out, casting="unsafe")


class _Weights:
    """The source pixels that each target pixel covers, and their weights.

    ``index`` and ``weight`` list the first term of every target pixel, then every second, and so
    on: shapes ``(terms · target,)`` and ``(terms · target, 1)``. Pixels that cover fewer than
    ``terms`` are padded with zero weights, which change no sum.
    """

    def __init__(self, source: int, target: int) -> None:
        covered = [_covered(position, source, target) for position in range(target)]
        self.terms = max(len(pixels) for pixels in covered)
        padded = [pixels + [(0, 0.0)] * (self.terms - len(pixels)) for pixels in covered]
        table = [pixels[term] for term in range(self.terms) for pixels in padded]
        self.index = np.array([pixel for pixel, _ in table], np.intp)
        self.weight = np.array([[weight] for _, weight in table], np.float32)

    def sum(self, lines: NDArray[np.float32]) -> NDArray[np.float32]:
        """Weighted sums of lines, term after term: ``(source, n)`` to ``(target, n)``."""
        products = lines.take(self.index, axis=0)
        products *= self.weight
        total, *terms = products.reshape(self.terms, -1, lines.shape[1])
        for term in terms:
            total += term
        return total


def _covered(position: int, source: int, target: int) -> list[tuple[int, float]]:
    """The pixels of ``source`` that pixel ``position`` of ``target`` covers, with their weights.

    Overlaps under a thousandth of a pixel are rounding errors, and ignored.
    """
    scale = source / target
    start, end = position * scale, min((position + 1) * scale, source)
    first, last = math.ceil(start), math.floor(end)
    pixels = [(pixel, 1.0) for pixel in range(first, last)]
    if first - start > 1e-3:
        pixels.insert(0, (first - 1, first - start))
    if end - last > 1e-3:
        pixels.append((last, end - last))
    return [(pixel, overlap / min(scale, source - start)) for pixel, overlap in pixels]


def resizer(raw_shape: tuple[int, ...], shape: tuple[int, int]) -> Resizer:
    """Return a resizer from ``raw_shape`` to ``shape`` that agrees exactly with OpenCV.

    That is `AreaResizer` for greyscale images that shrink, if it agrees on noise (OpenCV may be
    built to fuse multiplications and additions, which rounds differently); else OpenCV itself.
    """
    opencv = OpenCVResizer()
    if len(raw_shape) != 2 or not (shape[0] < raw_shape[0] and shape[1] < raw_shape[1]):
        return opencv
    area = AreaResizer((raw_shape[0], raw_shape[1]), shape)
    noise = np.random.default_rng(0).integers(0, 256, raw_shape, dtype=np.uint8)
    expected, found = np.empty((2, *shape), np.uint8)
    opencv(noise, expected)
    area(noise, found)
    return area if np.array_equal(expected, found) else opencv
