"""ObservationStore: stores each observation once, although two transitions contain it."""

import math
from collections.abc import Iterator, Mapping
from functools import partial, reduce
from itertools import filterfalse
from operator import and_, itemgetter
from sys import getsizeof
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from sb3_masp.packing import Compressed, packing_of
from sb3_masp.slabs import PLACE, Place, Slabs

Array = NDArray[Any]
Arrays = dict[str, Array]

# Key of the only observation where the space is not a Dict.
WHOLE = ""


class ObservationStore:
    """Observations before and after each entry of a ring, each stored once.

    Args:
        space: Observation space; the keys of a Dict space are kept.
        shape: Its shape by SB3's ``get_obs_shape``; by key for a Dict space.
        capacity: Rows of the ring.
        n_envs: Entries per row, one per environment.
        compress: Whether observations are compressed; None compresses images only.
    """

    def __init__(
        self,
        space: spaces.Space[Any],
        shape: Any,
        capacity: int,
        n_envs: int,
        compress: bool | None = None,
    ) -> None:
        """Allocate places; observations take memory as they are added."""
        self._rings = {
            key: ObservationRing(part, own_shape, capacity, n_envs, compress)
            for key, (part, own_shape) in parts_by_key(space, shape).items()
        }

    @property
    def compressed(self) -> bool:
        """Whether anything is compressed, so that its size is known only once it is stored."""
        return any(ring.compressed for ring in self._rings.values())

    @property
    def nbytes(self) -> int:
        """Memory in bytes once full, extrapolated from what is stored.

        If empty, it is computed as if nothing could be shared or compressed.
        """
        return sum(ring.nbytes for ring in self._rings.values())

    def add(
        self, obs: Mapping[str, ArrayLike], next_obs: Mapping[str, ArrayLike]
    ) -> NDArray[np.bool_]:
        """Write the next row of the ring, overwriting the oldest if it is full.

        Args:
            obs: Observations before the decision, by key, one per environment.
            next_obs: Observations after it; the final one where an episode ended.

        Returns:
            Whether each environment continued from where the previous row left it, shape
            ``(environments,)``.
        """
        parts = (ring.add(obs[key], next_obs[key]) for key, ring in self._rings.items())
        return reduce(and_, parts)

    def before(self, entries: NDArray[np.int64]) -> Arrays:
        """Observations before ``entries``, by key, shape ``(batch, *shape)``.

        Args:
            entries: Flat indices ``row · n_envs + environment``, which wrap around.
        """
        return {key: ring.before(entries) for key, ring in self._rings.items()}

    def after(self, entries: NDArray[np.int64]) -> Arrays:
        """Observations after ``entries``, by key, shape ``(batch, *shape)``."""
        return {key: ring.after(entries) for key, ring in self._rings.items()}

    def clear(self) -> None:
        """Discard all entries."""
        for ring in self._rings.values():
            ring.clear()


class ObservationRing:
    """The store of a space that is not a Dict: places of pieces of observations.

    The observation after an entry and the one before the next entry have the same places, as long
    as the environment continued from it. Otherwise (the episode ended, or the environment was reset
    from outside) both are stored. Pieces that no entry refers to any more are overwritten.

    Writing a row runs no Python code per environment, however many there are.

    Args:
        space: Observation space.
        shape: Its shape by SB3's ``get_obs_shape``.
        capacity: Rows of the ring.
        n_envs: Entries per row, one per environment.
        compress: Whether observations are compressed; None compresses images only.
    """

    def __init__(
        self,
        space: spaces.Space[Any],
        shape: tuple[int, ...],
        capacity: int,
        n_envs: int,
        compress: bool | None,
    ) -> None:
        """Allocate places and the newest row's observations."""
        self.capacity = capacity
        self.n_envs = n_envs
        self.newest = -1
        self.filled = 0
        self._shape = shape
        self._dtype = np.dtype(space.dtype)
        nbytes = int(np.prod(shape)) * self._dtype.itemsize
        self._word = np.dtype(f"u{math.gcd(nbytes, 8)}")  # the widest that divides it
        self._packing = packing_of(space, shape, compress)
        self._before, self._after = (
            np.zeros((capacity, n_envs, self._packing.pieces), PLACE) for _ in range(2)
        )
        self._slabs = Slabs()
        self._shown: dict[bytes, Place] = {}
        self._left = np.zeros((n_envs, nbytes // self._word.itemsize), self._word)

    @property
    def compressed(self) -> bool:
        """Whether observations are compressed."""
        return isinstance(self._packing, Compressed)

    @property
    def nbytes(self) -> int:
        """Memory in bytes once full, as in `ObservationStore.nbytes`."""
        shown = sum(map(getsizeof, self._shown))
        fixed = self._before.nbytes + self._after.nbytes + self._left.nbytes + shown
        if not self.filled:
            return fixed + self._left.nbytes * self.capacity
        if self.filled < self.capacity:
            return fixed + self._slabs.written * self.capacity // self.filled
        return fixed + self._slabs.nbytes

    def add(self, obs: ArrayLike, next_obs: ArrayLike) -> NDArray[np.bool_]:
        """Write the next row; return which environments continued from the previous one."""
        begun, left = self._words(obs), self._words(next_obs)
        went_on: NDArray[np.bool_] = (self.newest >= 0) & (begun == self._left).all(axis=1)
        before = self._after[self.newest].copy()
        known = self._shown
        if not went_on.all():
            before[~went_on], _ = self._places(begun[~went_on], known)
        after, self._shown = self._places(left, known)
        self.newest = (self.newest + 1) % self.capacity
        self.filled = max(self.filled, self.newest + 1)
        self._before[self.newest] = before
        self._after[self.newest] = after
        self._left[:] = left
        return went_on

    def before(self, entries: NDArray[np.int64]) -> Array:
        """Observations before ``entries``, shape ``(batch, *shape)``."""
        return self._unpacked(self._before, entries)

    def after(self, entries: NDArray[np.int64]) -> Array:
        """Observations after ``entries``, shape ``(batch, *shape)``."""
        return self._unpacked(self._after, entries)

    def clear(self) -> None:
        """Discard all entries."""
        self.newest = -1
        self.filled = 0
        self._slabs = Slabs()
        self._shown = {}

    def _words(self, obs: ArrayLike) -> Array:
        """Each environment's observation in the store's dtype and shape, as a row of integers.

        As integers, NaNs equal themselves; wide integers are compared faster.
        """
        array = np.asarray(obs, dtype=self._dtype, order="C").reshape(self.n_envs, *self._shape)
        return array.reshape(self.n_envs, -1).view(self._word)

    def _places(self, words: Array, known: dict[bytes, Place]) -> tuple[Array, dict[bytes, Place]]:
        """Places of observations' pieces, in which equal pieces share one.

        Args:
            words: As `_words` gives them, shape ``(batch, ...)``.
            known: Pieces with known places, to which those of ``words`` are added.

        Returns:
            The places, shape ``(batch, pieces)``; and all of these pieces with their places.
        """
        pieces = self._packing.pack(words)
        fresh = list(filterfalse(known.__contains__, dict.fromkeys(pieces)))
        places = self._slabs.put(fresh, partial(self._in_use, known))
        known.update(zip(fresh, places, strict=True))
        found = list(map(known.__getitem__, pieces))
        return np.array(found, PLACE).reshape(len(words), -1), dict(zip(pieces, found, strict=True))

    def _in_use(self, known: Mapping[bytes, Place]) -> Iterator[Array]:
        """Numbers of the slabs that entries or ``known`` refer to."""
        yield self._before["slab"][: self.filled]
        yield self._after["slab"][: self.filled]
        yield np.fromiter(map(itemgetter(0), known.values()), np.int64, len(known))

    def _unpacked(self, places: Array, entries: NDArray[np.int64]) -> Array:
        """The observations at ``places`` of ``entries``, as a new array."""
        rows = places.reshape(-1, places.shape[-1])
        packed = self._slabs.get(rows.take(entries, axis=0, mode="wrap").ravel())
        whole = bytearray().join(self._packing.unpack(packed))
        return np.frombuffer(whole, self._dtype).reshape(len(entries), *self._shape)

    def __getstate__(self) -> dict[str, Any]:
        """The state, without rows that were never written."""
        filled = {name: getattr(self, name)[: self.filled] for name in ("_before", "_after")}
        return self.__dict__ | filled

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the ring at its full capacity."""
        self.__dict__.update(state)
        for name in ("_before", "_after"):
            setattr(self, name, padded(getattr(self, name), self.capacity))


def parts_by_key(
    space: spaces.Space[Any], shape: Any
) -> dict[str, tuple[spaces.Space[Any], tuple[int, ...]]]:
    """A Dict space's subspaces, or the whole of another, each with its `get_obs_shape`."""
    if isinstance(space, spaces.Dict):
        return {key: (part, tuple(shape[key])) for key, part in space.spaces.items()}
    return {WHOLE: (space, tuple(shape))}


def by_key(obs: ArrayLike | Mapping[str, ArrayLike]) -> Mapping[str, ArrayLike]:
    """Observations by key, whether of a Dict space or not."""
    return obs if isinstance(obs, Mapping) else {WHOLE: obs}


def padded(array: Array, rows: int) -> Array:
    """``array`` padded with zeros to ``rows`` rows, which take no memory until written."""
    whole = np.zeros((rows, *array.shape[1:]), dtype=array.dtype)
    whole[: len(array)] = array
    return whole
