"""Slabs: byte strings of all sizes, one after the other in a few large pieces of memory."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, repeat
from operator import add, itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

PLACE = np.dtype([("slab", np.uint32), ("start", np.uint32), ("length", np.uint32)])
"""Where a byte string is."""
Place = tuple[int, int, int]

LARGEST = 4 * 2**20
SMALLEST = 16 * 2**10
SHARE = 64
"""A slab takes a 64th of what all slabs take, so that little is lost where two are half empty."""

InUse = Callable[[], Iterable[NDArray[Any]]]


class Slabs:
    """Byte strings by their places, in memory that is written through and then written again.

    A slab in which nothing is in use any more is written again, so that a ring that is full takes
    hardly any new memory while its strings are of about the same sizes; none is given back before
    the whole is. One string in use keeps its slab. There is no object for each string, of which
    millions, made and freed among an update's tensors, leave the heap in holes (docs/decisions.md,
    "Memory of an hour's learning").
    """

    def __init__(self) -> None:
        """Hold nothing."""
        self._slabs = [memoryview(bytearray())]
        self._newest = 0
        self._used = 0
        self.written = 0

    @property
    def nbytes(self) -> int:
        """Memory in bytes."""
        return sum(map(len, self._slabs))

    def put(self, strings: Sequence[bytes], in_use: InUse) -> list[Place]:
        """Write byte strings down.

        Args:
            strings: One or several, or none.
            in_use: Called where a slab is full: the numbers of slabs that are in use, which are
                left as they are, in arrays of any shape.

        Returns:
            Their places, as `PLACE` has them. No Python code runs for each string.
        """
        lengths = list(map(len, strings))
        ends = list(accumulate(lengths, initial=0))
        places: list[Place] = []
        while (done := len(places)) < len(strings):
            fitting = bisect_right(ends, ends[done] + self._room()) - 1
            if fitting == done:
                own = np.fromiter(map(itemgetter(0), places), np.int64, done)
                self._begin(lengths[done], ends[-1] - ends[done], [own, *in_use()])
                continue
            starts = map(add, ends[done:fitting], repeat(self._used - ends[done]))
            places += zip(repeat(self._newest), starts, lengths[done:fitting])
            self._write(b"".join(strings[done:fitting]))
        return places

    def get(self, places: NDArray[Any]) -> Iterator[memoryview]:
        """The byte strings at ``places``, shape ``(strings,)``; good until they are written over.

        No Python code runs for each of them.
        """
        ends = places["start"] + places["length"]
        parts = map(slice, places["start"].tolist(), ends.tolist())
        slabs = map(self._slabs.__getitem__, places["slab"].tolist())
        return map(memoryview.__getitem__, slabs, parts)

    def _room(self) -> int:
        """Bytes that are left of the newest slab."""
        return len(self._slabs[self._newest]) - self._used

    def _write(self, string: bytes) -> None:
        """Write on in the newest slab."""
        end = self._used + len(string)
        self._slabs[self._newest][self._used : end] = string
        self._used = end
        self.written += len(string)

    def _begin(self, least: int, wanted: int, taken: Iterable[NDArray[Any]]) -> None:
        """Go on in the largest slab that is not in use.

        Args:
            least: Bytes that it must have room for; if there is none such, one is made.
            wanted: Bytes that one which is made has room for, if not for more.
            taken: Numbers of the slabs that are in use.
        """
        sizes = np.fromiter(map(len, self._slabs), np.int64)
        for numbers in taken:
            sizes[numbers] = 0
        self._newest, self._used = int(sizes.argmax()), 0
        if sizes[self._newest] < least:
            self._newest = len(self._slabs)
            size = max(wanted, SMALLEST, min(self.nbytes // SHARE, LARGEST))
            self._slabs.append(memoryview(bytearray(size)))

    def __getstate__(self) -> dict[str, Any]:
        """Everything, without copies, and without what of the newest slab was never written."""
        slabs: list[Any] = [slab.obj for slab in self._slabs]
        slabs[self._newest] = slabs[self._newest][: self._used]
        return self.__dict__ | {"_slabs": slabs, "room": self._room()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the slabs in their sizes."""
        room = state.pop("room")
        self.__dict__.update(state)
        slabs: list[bytearray] = state["_slabs"]
        slabs[self._newest] += bytes(room)
        self._slabs = [memoryview(slab) for slab in slabs]
