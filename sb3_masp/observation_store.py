"""ObservationStore: each observation once, though two transitions show it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, DTypeLike, NDArray

Array = NDArray[Any]
Arrays = dict[str, Array]

# Key of the only observation where the space is not a Dict.
WHOLE = ""


class ObservationStore:
    """Observations before and after each entry of a ring, with no observation held twice.

    The observation after an entry is the one before the next entry, as long as the environment
    went on from it. Where it did not (the episode ended, or someone reset the environment), the
    observation after is kept aside until the entry is overwritten; that of the newest entry is
    kept until the next one tells. Every entry is whole at any time.

    Args:
        shapes: Shape of one observation, by key.
        dtypes: Its dtype, by the same keys.
        capacity: Rows of the ring.
        n_envs: Entries in a row, one of each environment.
    """

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        dtypes: Mapping[str, DTypeLike],
        capacity: int,
        n_envs: int,
    ) -> None:
        """Reserve the ring; pages of memory are taken as rows are written."""
        self.capacity = capacity
        self.n_envs = n_envs
        self.newest = -1
        self.filled = 0
        self._ring: Arrays = {
            key: np.zeros((capacity, n_envs, *shape), dtypes[key]) for key, shape in shapes.items()
        }
        self._head: Arrays = {key: np.zeros_like(ring[0]) for key, ring in self._ring.items()}
        # Place 0 stays empty: a zero in _place says that nothing is kept aside for an entry.
        self._aside: Arrays = {key: np.zeros_like(head[:1]) for key, head in self._head.items()}
        self._place = np.zeros((capacity, n_envs), dtype=np.int32)
        self._vacant: list[int] = []

    @classmethod
    def of(
        cls, space: spaces.Space[Any], shape: Any, capacity: int, n_envs: int
    ) -> "ObservationStore":
        """A store for the observations of ``space``.

        Args:
            space: A Dict space, whose keys are kept, or any other.
            shape: What SB3's ``get_obs_shape`` says of it; by key for a Dict space.
            capacity: Rows of the ring.
            n_envs: Entries in a row.
        """
        if isinstance(space, spaces.Dict):
            dtypes = {key: np.dtype(part.dtype) for key, part in space.spaces.items()}
            return cls(shape, dtypes, capacity, n_envs)
        return cls({WHOLE: shape}, {WHOLE: np.dtype(space.dtype)}, capacity, n_envs)

    @property
    def nbytes(self) -> int:
        """Memory in bytes once full, with as many observations aside as there are now."""
        arrays = (*self._ring.values(), *self._head.values(), *self._aside.values(), self._place)
        return sum(array.nbytes for array in arrays)

    def add(self, obs: Mapping[str, ArrayLike], next_obs: Mapping[str, ArrayLike]) -> None:
        """Write the next row of the ring, over the oldest one if it is full.

        Args:
            obs: Observations before the decision, by key, one of each environment.
            next_obs: Observations after it; of an episode that ended, the last one.
        """
        before = self._conformed(obs)
        if self.newest >= 0:
            self._keep_aside(self.newest, self._differs_from_head(before))
        row = (self.newest + 1) % self.capacity
        self._vacate(row)
        for key, ring in self._ring.items():
            ring[row] = before[key]
        for key, array in self._conformed(next_obs).items():
            self._head[key][...] = array
        self.newest = row
        self.filled = max(self.filled, row + 1)

    def before(self, entries: NDArray[np.int64]) -> Arrays:
        """Observations before ``entries``, by key, shape ``(batch, *shape)``.

        Args:
            entries: Which ones, counting row by row: ``row · n_envs + environment``.
        """
        return {
            key: ring.reshape(-1, *ring.shape[2:]).take(entries, axis=0)
            for key, ring in self._ring.items()
        }

    def after(self, entries: NDArray[np.int64]) -> Arrays:
        """Observations after ``entries``, by key, shape ``(batch, *shape)``."""
        place = self._place.reshape(-1).take(entries)
        aside = place.nonzero()
        newest = (entries // self.n_envs == self.newest).nonzero()
        arrays = self.before((entries + self.n_envs) % self._place.size)
        for key, array in arrays.items():
            array[aside] = self._aside[key][place[aside]]
            array[newest] = self._head[key][entries[newest] % self.n_envs]
        return arrays

    def goes_on(self, entries: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether the next entry starts where each one ended, in the shape of ``entries``."""
        followed = entries // self.n_envs != self.newest
        ended_here = self._place.reshape(-1).take(entries) != 0
        begins: NDArray[np.bool_] = followed & ~ended_here
        return begins

    def clear(self) -> None:
        """Forget all entries."""
        self.newest = -1
        self.filled = 0
        self._place[:] = 0
        self._vacant = list(range(1, len(next(iter(self._aside.values())))))

    def _conformed(self, obs: Mapping[str, ArrayLike]) -> Arrays:
        """The observations with the store's dtype and shape, which lacks no axis."""
        return {
            key: np.asarray(obs[key], dtype=head.dtype).reshape(head.shape)
            for key, head in self._head.items()
        }

    def _differs_from_head(self, obs: Arrays) -> NDArray[np.bool_]:
        """Whether any byte of an environment's observation is not what it was left at."""
        differs = np.zeros(self.n_envs, dtype=np.bool_)
        for key, head in self._head.items():
            differs |= (_as_bytes(head) != _as_bytes(obs[key])).any(axis=1)
        return differs

    def _keep_aside(self, row: int, envs: NDArray[np.bool_]) -> None:
        """Keep the latest observations after ``row`` of the environments marked in ``envs``."""
        for env in np.flatnonzero(envs):
            place = self._take_place()
            self._place[row, env] = place
            for key, aside in self._aside.items():
                aside[place] = self._head[key][env]

    def _take_place(self) -> int:
        """A vacant place aside, made if need be."""
        if not self._vacant:
            for key, aside in self._aside.items():
                self._aside[key] = np.concatenate([aside, np.zeros_like(aside)])
            self._vacant.extend(range(len(aside), 2 * len(aside)))
        return self._vacant.pop()

    def _vacate(self, row: int) -> None:
        """Give up the places aside of a row that is about to be overwritten."""
        places = self._place[row]
        self._vacant.extend(places[places > 0].tolist())
        places[:] = 0

    def __getstate__(self) -> dict[str, Any]:
        """Everything, without the rows that were never written."""
        ring = {key: array[: self.filled] for key, array in self._ring.items()}
        return self.__dict__ | {"_ring": ring, "_place": self._place[: self.filled]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the ring at its full capacity."""
        self.__dict__.update(state)
        self._ring = {key: padded(array, self.capacity) for key, array in self._ring.items()}
        self._place = padded(self._place, self.capacity)


def by_key(obs: ArrayLike | Mapping[str, ArrayLike]) -> Mapping[str, ArrayLike]:
    """Observations by key, of Dict spaces or not."""
    return obs if isinstance(obs, Mapping) else {WHOLE: obs}


def padded(array: Array, rows: int) -> Array:
    """``array`` at the head of ``rows`` rows that are zero, and cost no memory until written."""
    whole = np.zeros((rows, *array.shape[1:]), dtype=array.dtype)
    whole[: len(array)] = array
    return whole


def _as_bytes(array: Array) -> NDArray[np.uint8]:
    """The bytes of each row, so that NaN equals itself and −0 is not 0."""
    return np.ascontiguousarray(array).reshape(len(array), -1).view(np.uint8)
