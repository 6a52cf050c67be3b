"""Slabs: byte strings of any size, packed one after the other into a few large blocks of memory."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, repeat
from operator import add, itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

PLACE = np.dtype([("slab", np.uint32), ("start", np.uint32), ("length", np.uint32)])
"""Location of a byte string."""
Place = tuple[int, int, int]

LARGEST = 4 * 2**20
SMALLEST = 16 * 2**10
SHARE = 64
"""A new slab is 1/64 of the size of all slabs, so that little is lost if two are half empty."""

InUse = Callable[[], Iterable[NDArray[Any]]]


class Slabs:
    """Byte strings by their places, in memory that is reused once nothing in it is in use.

    A slab in which nothing is in use any more is overwritten, so that a full ring takes hardly any
    new memory as long as its strings have about the same sizes; no slab is freed before the whole
    is. A single string in use keeps its slab. There is no object for each string: millions of them,
    allocated and freed among an update's tensors, would fragment the heap (docs/decisions.md,
    "Memory of an hour's learning").
    """

    def __init__(self) -> None:
        """Start empty."""
        self._slabs = [memoryview(bytearray())]
        self._newest = 0
        self._used = 0
        self.written = 0

    @property
    def nbytes(self) -> int:
        """Memory in bytes."""
        return sum(map(len, self._slabs))

    def put(self, strings: Sequence[bytes], in_use: InUse) -> list[Place]:
        """Store byte strings.

        Args:
            strings: Any number of byte strings.
            in_use: Called when a slab is full: the numbers of slabs that are in use, which are
                left as they are, in arrays of any shape.

        Returns:
            Their places, as in `PLACE`. No Python code runs for each string.
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
        """The byte strings at ``places``, shape ``(strings,)``; valid until they are overwritten.

        No Python code runs for each string.
        """
        ends = places["start"] + places["length"]
        parts = map(slice, places["start"].tolist(), ends.tolist())
        slabs = map(self._slabs.__getitem__, places["slab"].tolist())
        return map(memoryview.__getitem__, slabs, parts)

    def _room(self) -> int:
        """Bytes that are left in the newest slab."""
        return len(self._slabs[self._newest]) - self._used

    def _write(self, string: bytes) -> None:
        """Append to the newest slab."""
        end = self._used + len(string)
        self._slabs[self._newest][self._used : end] = string
        self._used = end
        self.written += len(string)

    def _begin(self, least: int, wanted: int, taken: Iterable[NDArray[Any]]) -> None:
        """Continue in the largest slab that is not in use.

        Args:
            least: Bytes that it must have room for; if there is none such, one is made.
            wanted: Least size of a new slab, in bytes.
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
        """The state, without copies, and without the unwritten end of the newest slab."""
        slabs: list[Any] = [slab.obj for slab in self._slabs]
        slabs[self._newest] = slabs[self._newest][: self._used]
        return self.__dict__ | {"_slabs": slabs, "room": self._room()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the slabs at their full sizes."""
        room = state.pop("room")
        self.__dict__.update(state)
        slabs: list[bytearray] = state["_slabs"]
        slabs[self._newest] += bytes(room)
        self._slabs = [memoryview(slab) for slab in slabs]
