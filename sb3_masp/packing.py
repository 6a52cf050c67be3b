"""How one observation is held in memory: whole, as frames shared with its neighbours, compressed.

On Breakout LZ4 takes a stack of four screens to a 75th of a transition's bytes in SB3's buffer, on
other games to between a 40th (Gopher) and an 8th (YarsRevenge; 500 random decisions each), and
drawing a batch is as fast as copying uncompressed screens out of an array. zlib takes ten times as
long and Zstandard twice, for three fifths of the bytes at best. Compressing each screen by itself,
so that compressed stacks could share screens, takes more than twice the bytes (docs/decisions.md,
``benchmarks/buffer.py``).
"""

from collections.abc import Iterable
from itertools import chain
from typing import Any, Protocol

import lz4.block
import numpy as np
from gymnasium import spaces

# Frames smaller than this are not worth a Python object (33 bytes, and 8 for the pointer) each.
SMALLEST_FRAME = 1024


class Packing(Protocol):
    """Turns the bytes of an observation into what is held, and back."""

    def pack(self, observation: bytes, neighbour: Any) -> Any:
        """What to hold of ``observation``.

        Args:
            observation: Its bytes.
            neighbour: What is held of the observation before it; None if there is none.
        """

    def unpack(self, packed: Iterable[Any]) -> Iterable[bytes]:
        """The bytes of many observations, in pieces that follow each other."""


class Whole:
    """Observations as they are."""

    def pack(self, observation: bytes, neighbour: bytes | None) -> bytes:
        """``observation``, or its neighbour if that is the same."""
        return neighbour if neighbour == observation else observation

    def unpack(self, packed: Iterable[bytes]) -> Iterable[bytes]:
        """The observations, each in one piece."""
        return packed


class SharedFrames:
    """Stacks of frames as they are, each frame held once though many stacks show it.

    Args:
        frame_nbytes: Size of one frame.
    """

    def __init__(self, frame_nbytes: int) -> None:
        """Take the size of a frame."""
        self.frame_nbytes = frame_nbytes

    def pack(self, observation: bytes, neighbour: tuple[bytes, ...] | None) -> tuple[bytes, ...]:
        """The stack's frames; those that its neighbour shows too are the neighbour's objects."""
        starts = range(0, len(observation), self.frame_nbytes)
        frames = [observation[start : start + self.frame_nbytes] for start in starts]
        known = {frame: frame for frame in neighbour or ()}
        return tuple(known.setdefault(frame, frame) for frame in frames)

    def unpack(self, packed: Iterable[tuple[bytes, ...]]) -> Iterable[bytes]:
        """The frames of all."""
        return chain.from_iterable(packed)


class Compressed:
    """Observations compressed by LZ4, without loss.

    Args:
        nbytes: Size of an observation.
    """

    def __init__(self, nbytes: int) -> None:
        """Take the size of an observation."""
        self.nbytes = nbytes

    def pack(self, observation: bytes, neighbour: bytes | None) -> bytes:
        """The compressed observation, or its neighbour if that is the same."""
        packed: bytes = lz4.block.compress(observation, store_size=False)
        return neighbour if neighbour == packed else packed

    def unpack(self, packed: Iterable[bytes]) -> Iterable[bytes]:
        """The observations, each in one piece."""
        return (lz4.block.decompress(each, uncompressed_size=self.nbytes) for each in packed)


def packing_of(space: spaces.Space[Any], shape: tuple[int, ...], compress: bool | None) -> Packing:
    """How observations of ``space`` are held.

    Args:
        space: Not a Dict space.
        shape: What SB3's ``get_obs_shape`` says of it.
        compress: Whether to compress; None compresses images: bytes with three axes or more.
    """
    dtype = np.dtype(space.dtype)
    if compress or (compress is None and dtype == np.uint8 and len(shape) >= 3):
        return Compressed(int(np.prod(shape)) * dtype.itemsize)
    frame_nbytes = int(np.prod(shape[1:])) * dtype.itemsize
    if len(shape) >= 2 and frame_nbytes >= SMALLEST_FRAME:
        return SharedFrames(frame_nbytes)
    return Whole()
