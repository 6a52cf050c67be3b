"""DeviceReplayBuffer: a replay buffer whose observations are on the network's device."""

import warnings
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch as th
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor

from sb3_masp.buffers import MacroReplayBuffer, MacroReplaySamples
from sb3_masp.memory import available_memory, readable
from sb3_masp.observation_store import WHOLE, parts_by_key
from sb3_masp.samples import sent

HEADROOM = 2 * 2**30
"""Bytes of device memory that are left to networks, their optimizer and the batches."""


class DeviceReplayBuffer(MacroReplayBuffer):
    """`MacroReplayBuffer` with its observations on the device, where batches are gathered.

    ``MASPDQN(..., replay_buffer_class=DeviceReplayBuffer)`` samples the same values as with
    `MacroReplayBuffer`. Sampling a batch sends the device a few numbers per decision and reads
    nothing back. Observations are not compressed: a million stacks of four screens take 26 GiB. If
    they do not fit, it warns and keeps them in main memory, as `MacroReplayBuffer` does.

    Args:
        args: As for `MacroReplayBuffer`.
        kwargs: As for `MacroReplayBuffer`; ``compress`` applies only if they do not fit.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Check that the device has the memory, which is allocated at the first decision."""
        super().__init__(*args, **kwargs)
        needed = self.buffer_size * self.n_envs * _entry_nbytes(self.observation_space, self)
        free = free_memory(self.device)
        if free is not None and needed + HEADROOM > free:
            fitting = max(free - HEADROOM, 0) * self.buffer_size * self.n_envs // needed
            warnings.warn(
                f"replay buffer: {self.buffer_size * self.n_envs:,} decisions take "
                f"{readable(needed)} of {self.device}, which has {readable(free)} free, of which "
                f"{readable(HEADROOM)} are left to the networks. They are held as "
                f"MacroReplayBuffer does, in main memory; buffer_size={fitting} would fit.",
                stacklevel=2,
            )
            return
        store = DeviceStore(self.observation_space, self.obs_shape, self.buffer_size, self.n_envs)
        self._store = store  # type: ignore[assignment]  # the same interface

    @property
    def on_device(self) -> bool:
        """Whether observations are on the device."""
        return isinstance(self._store, DeviceStore)

    def memory_statement(self) -> str:
        """One line on the memory that the buffer takes, and where."""
        if not self.on_device:
            return super().memory_statement()
        decisions = self.buffer_size * self.n_envs
        held = f"{readable(self._store.nbytes)} on {self.device}"
        return f"replay buffer: {decisions:,} decisions, {held} from the first on"

    def _gather(
        self, indices: NDArray[np.int64], weights: NDArray[np.float64], env: VecNormalize | None
    ) -> MacroReplaySamples:
        """The samples at flat ``indices``, on the learner's current device."""
        self._place()
        return super()._gather(indices, weights, env)

    def add(self, *args: Any, **kwargs: Any) -> None:
        """Store one decision per environment, overwriting the oldest if full."""
        self._place()
        super().add(*args, **kwargs)

    def _place(self) -> None:
        """Allocate device memory on first use: a model that does not learn takes none."""
        if isinstance(self._store, DeviceStore) and self._store.device != self.device:
            self._store.to(self.device)

    def _tensors(self, arrays: Mapping[str, Any], env: VecNormalize | None) -> Any:
        """Observations, normalised by ``env``, which works only in main memory."""
        if env is not None and env.norm_obs:
            arrays = {key: np.asarray(th.as_tensor(a).cpu()) for key, a in arrays.items()}
            return super()._tensors(arrays, env)
        if not self.on_device:
            return super()._tensors(dict(arrays), env)
        return arrays.get(WHOLE, arrays)


class DeviceStore:
    """Observations before and after each entry of a ring, each stored once, as tensors.

    The observation after an entry is the one before the next entry, as long as the environment
    continued from it. All others are in a separate pool, which grows as episodes end. Its first
    ``n_envs`` slots are for the newest entries, whose next ones are not known yet.

    Args:
        space: Observation space; the keys of a Dict space are kept.
        shape: Its shape by SB3's ``get_obs_shape``; by key for a Dict space.
        capacity: Rows of the ring.
        n_envs: Entries per row, one per environment.
    """

    compressed = False

    device: Any
    """Device of the tensors; None until `to` allocates the memory for observations."""

    def __init__(self, space: spaces.Space[Any], shape: Any, capacity: int, n_envs: int) -> None:
        """Allocate next to nothing yet."""
        parts = parts_by_key(space, shape)
        self.capacity, self.n_envs, self.device = capacity, n_envs, None
        self._dtypes = {key: np.dtype(part.dtype) for key, (part, _) in parts.items()}
        self._shapes = {key: own_shape for key, (_, own_shape) in parts.items()}
        self._ring = self._room(0)
        self.clear()

    @property
    def nbytes(self) -> int:
        """Memory on the device in bytes; only the pool grows, as episodes end."""
        pooled = len(next(iter(self._pool.values())))
        entry = sum(tensor[0].numel() * tensor.element_size() for tensor in self._pool.values())
        return (self.capacity * self.n_envs + pooled) * entry

    def clear(self) -> None:
        """Discard all entries."""
        self.newest, self.filled = -1, 0
        self._left: dict[str, NDArray[Any]] = {}
        self._pool = self._room(2 * self.n_envs)
        self._spare = list(range(self.n_envs, 2 * self.n_envs))
        # Pool slot of the observation after each entry; -1 where the next entry holds it.
        self._apart = np.full(self.capacity * self.n_envs, -1)

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
        before, after = self._arrays(obs), self._arrays(next_obs)
        went_on = np.full(self.n_envs, self.newest >= 0)
        for key, left in self._left.items():
            went_on &= (_bytes(left) == _bytes(before[key])).all(axis=1)
        row = (self.newest + 1) % self.capacity
        entries = row * self.n_envs + np.arange(self.n_envs)
        if self.newest >= 0:
            self._part(went_on)
        self._forget(entries)
        begun = np.flatnonzero(~went_on)
        for key, ring in self._ring.items():
            rows, newest = ring[entries[0] : entries[-1] + 1], self._pool[key][: self.n_envs]
            rows.copy_(newest)
            if len(begun):
                rows.index_copy_(0, self._sent(begun), self._sent(before[key][begun]))
            newest.copy_(self._sent(after[key]))
        self._apart[entries] = np.arange(self.n_envs)
        self._left = after
        self.newest, self.filled = row, max(self.filled, row + 1)
        return went_on

    def before(self, entries: NDArray[np.int64]) -> dict[str, Tensor]:
        """Observations before ``entries``, by key, shape ``(batch, *shape)``.

        Args:
            entries: Flat indices ``row · n_envs + environment``, which wrap around.
        """
        places = self._sent(entries % len(self._apart))
        return {key: ring.index_select(0, places) for key, ring in self._ring.items()}

    def after(self, entries: NDArray[np.int64]) -> dict[str, Tensor]:
        """Observations after ``entries``, by key, shape ``(batch, *shape)``."""
        observations = self.before(entries + self.n_envs)
        apart = self._apart.take(entries, mode="wrap")
        positions = np.flatnonzero(apart >= 0)
        if len(positions):
            where, places = self._sent(positions), self._sent(apart[positions])
            for key, tensor in observations.items():
                tensor.index_copy_(0, where, self._pool[key].index_select(0, places))
        return observations

    def _forget(self, entries: NDArray[np.int64]) -> None:
        """Free the pool slots of entries that are about to be overwritten."""
        apart = self._apart[entries]
        self._spare.extend(apart[apart >= self.n_envs].tolist())

    def _part(self, went_on: NDArray[np.bool_]) -> None:
        """Let the next row hold the newest row's observations, or move them in the pool."""
        newest = self.newest * self.n_envs + np.arange(self.n_envs)
        self._apart[newest] = -1
        stopped = np.flatnonzero(~went_on)
        if not len(stopped):
            return
        while len(self._spare) < len(stopped):
            self._grow()
        places = np.array([self._spare.pop() for _ in stopped])
        self._apart[newest[stopped]] = places
        where, there = self._sent(stopped), self._sent(places)
        for pool in self._pool.values():
            pool.index_copy_(0, there, pool.index_select(0, where))

    def _grow(self) -> None:
        """Double the pool."""
        size = len(next(iter(self._pool.values())))
        self._spare.extend(range(size, 2 * size))
        for key, room in self._room(size).items():
            self._pool[key] = th.cat((self._pool[key], room))

    def _room(self, entries: int) -> dict[str, Tensor]:
        """Zeros for ``entries`` observations."""
        return {
            key: th.zeros(
                (entries, *shape), dtype=_torch_dtype(self._dtypes[key]), device=self.device
            )
            for key, shape in self._shapes.items()
        }

    def _arrays(self, obs: Mapping[str, ArrayLike]) -> dict[str, NDArray[Any]]:
        """Copies of each environment's observation, in the store's dtype and shape."""
        return {
            key: np.array(obs[key], dtype=dtype, order="C").reshape(self.n_envs, *self._shapes[key])
            for key, dtype in self._dtypes.items()
        }

    def _sent(self, array: NDArray[Any]) -> Tensor:
        """``array`` on the device."""
        return sent(array, self.device)

    def __getstate__(self) -> dict[str, Any]:
        """The state in main memory, without rows that were never written."""
        filled = self.filled * self.n_envs
        heads = {key: ring[:filled].cpu() for key, ring in self._ring.items()}
        pool = {key: tensor.cpu() for key, tensor in self._pool.items()}
        return self.__dict__ | {"_ring": heads, "_pool": pool, "device": None}

    def to(self, device: th.device) -> Self:
        """Move everything to a device, at full capacity; an unpickled store is on none."""
        heads, pool = self._ring, self._pool
        self.device = device
        self._ring = self._room(self.capacity * self.n_envs)
        for key, ring in self._ring.items():
            ring[: len(heads[key])] = heads[key]
        self._pool = {key: tensor.to(device) for key, tensor in pool.items()}
        return self


def free_memory(device: th.device) -> int | None:
    """Free memory of a device in bytes; None if unknown."""
    if device.type == "cuda":
        # Memory that torch caches counts as taken there, but can be reused.
        kept = th.cuda.memory_reserved(device) - th.cuda.memory_allocated(device)
        return th.cuda.mem_get_info(device)[0] + kept
    return available_memory() if device.type == "cpu" else None


def _entry_nbytes(space: spaces.Space[Any], buffer: MacroReplayBuffer) -> int:
    """Bytes of one observation."""
    return sum(
        int(np.prod(shape)) * np.dtype(part.dtype).itemsize
        for part, shape in parts_by_key(space, buffer.obs_shape).values()
    )


def _bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Each environment's observation as bytes, to be compared bit by bit."""
    return array.reshape(len(array), -1).view(np.uint8)


def _torch_dtype(dtype: np.dtype[Any]) -> th.dtype:
    """Torch's equivalent of a NumPy dtype."""
    return th.from_numpy(np.empty(0, dtype)).dtype
