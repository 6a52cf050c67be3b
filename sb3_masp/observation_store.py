"""ObservationStore: each observation once, though two transitions show it."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from sys import getsizeof
from typing import Any, cast

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from sb3_masp.packing import Compressed, Packing, packing_of

Array = NDArray[Any]
Arrays = dict[str, Array]

# Key of the only observation where the space is not a Dict.
WHOLE = ""


class ObservationStore:
    """Observations before and after each entry of a ring, with no observation held twice.

    The observation after an entry and the one before the next are one object, as long as the
    environment went on from it. Where it did not (the episode ended, or someone reset the
    environment), they are two. What no entry refers to any more is freed.

    Args:
        space: A Dict space, whose keys are kept, or any other.
        shape: What SB3's ``get_obs_shape`` says of it; by key for a Dict space.
        capacity: Rows of the ring.
        n_envs: Entries in a row, one of each environment.
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
        """Make room for references; observations take memory as they come."""
        parts = space.spaces if isinstance(space, spaces.Dict) else {WHOLE: space}
        self.capacity = capacity
        self.n_envs = n_envs
        self.newest = -1
        self.filled = 0
        self._shapes = dict(shape) if isinstance(space, spaces.Dict) else {WHOLE: tuple(shape)}
        self._dtypes = {key: np.dtype(part.dtype) for key, part in parts.items()}
        self._packings: dict[str, Packing] = {
            key: packing_of(part, self._shapes[key], compress) for key, part in parts.items()
        }
        # Arrays of references, into which the garbage collector does not look, unlike lists.
        self._before: Arrays = {key: np.empty((capacity, n_envs), object) for key in parts}
        self._after: Arrays = {key: np.empty((capacity, n_envs), object) for key in parts}

    @property
    def compressed(self) -> bool:
        """Whether anything is compressed, so that its size is known only when it is held."""
        return any(isinstance(packing, Compressed) for packing in self._packings.values())

    @property
    def nbytes(self) -> int:
        """Memory in bytes once full, if what is to come takes as much as what is held.

        While nothing is held, as if nothing could be shared or compressed. What entries refer to
        is looked through, which takes seconds for a million of them.
        """
        references = sum(
            array.nbytes for array in chain(self._before.values(), self._after.values())
        )
        if not self.filled:
            entry = sum(
                int(np.prod(shape)) * self._dtypes[key].itemsize
                for key, shape in self._shapes.items()
            )
            return references + entry * self.capacity * self.n_envs
        held = {id(held): getsizeof(held) for held in self._held()}
        return references + sum(held.values()) * self.capacity // self.filled

    def add(
        self, obs: Mapping[str, ArrayLike], next_obs: Mapping[str, ArrayLike]
    ) -> NDArray[np.bool_]:
        """Write the next row of the ring, over the oldest one if it is full.

        Args:
            obs: Observations before the decision, by key, one of each environment.
            next_obs: Observations after it; of an episode that ended, the last one.

        Returns:
            Whether each environment went on from where the row before left it, shape
            ``(environments,)``.
        """
        row = (self.newest + 1) % self.capacity
        went_on = np.full(self.n_envs, self.newest >= 0)
        for key, packing in self._packings.items():
            before, after = self._rows(key, obs), self._rows(key, next_obs)
            for env in range(self.n_envs):
                left = None if self.newest < 0 else self._after[key][self.newest, env]
                same = left is not None and b"".join(packing.unpack([left])) == before[env]
                begun = left if same else packing.pack(before[env], left)
                self._before[key][row, env] = begun
                self._after[key][row, env] = packing.pack(after[env], begun)
                went_on[env] &= same
        self.newest = row
        self.filled = max(self.filled, row + 1)
        return went_on

    def before(self, entries: NDArray[np.int64]) -> Arrays:
        """Observations before ``entries``, by key, shape ``(batch, *shape)``.

        Args:
            entries: Which ones, counting round the ring: ``row · n_envs + environment``.
        """
        return self._unpacked(self._before, entries)

    def after(self, entries: NDArray[np.int64]) -> Arrays:
        """Observations after ``entries``, by key, shape ``(batch, *shape)``."""
        return self._unpacked(self._after, entries)

    def clear(self) -> None:
        """Forget all entries."""
        self.newest = -1
        self.filled = 0
        for references in chain(self._before.values(), self._after.values()):
            references.fill(None)

    def _rows(self, key: str, obs: Mapping[str, ArrayLike]) -> list[bytes]:
        """The bytes of each environment's observation, in the store's dtype and shape."""
        array = np.asarray(obs[key], dtype=self._dtypes[key])
        return [row.tobytes() for row in array.reshape(self.n_envs, *self._shapes[key])]

    def _unpacked(self, columns: Arrays, entries: NDArray[np.int64]) -> Arrays:
        """What ``columns`` refer to at ``entries``, as arrays of their own."""
        arrays = {}
        for key, references in columns.items():
            packed = references.reshape(-1).take(entries, mode="wrap").tolist()
            whole = bytearray().join(self._packings[key].unpack(packed))
            array = np.frombuffer(whole, self._dtypes[key])
            arrays[key] = array.reshape(len(entries), *self._shapes[key])
        return arrays

    def _held(self) -> Iterator[object]:
        """Every object that entries refer to, as often as they do."""
        for references in chain(self._before.values(), self._after.values()):
            for packed in cast(Iterable[Any], references[: self.filled].flat):
                yield packed
                if isinstance(packed, tuple):
                    yield from packed

    def __getstate__(self) -> dict[str, Any]:
        """Everything, without the rows that were never written."""
        filled = {name: _heads(getattr(self, name), self.filled) for name in ("_before", "_after")}
        return self.__dict__ | filled

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the ring at its full capacity."""
        self.__dict__.update(state)
        for references in (self._before, self._after):
            for key, array in references.items():
                references[key] = padded(array, self.capacity)


def by_key(obs: ArrayLike | Mapping[str, ArrayLike]) -> Mapping[str, ArrayLike]:
    """Observations by key, of Dict spaces or not."""
    return obs if isinstance(obs, Mapping) else {WHOLE: obs}


def padded(array: Array, rows: int) -> Array:
    """``array`` at the head of ``rows`` rows that are empty, and cost no memory until written."""
    whole = np.zeros((rows, *array.shape[1:]), dtype=array.dtype)
    if array.dtype == object:
        whole.fill(None)
    whole[: len(array)] = array
    return whole


def _heads(arrays: Arrays, rows: int) -> Arrays:
    """The first rows of each array."""
    return {key: array[:rows] for key, array in arrays.items()}
