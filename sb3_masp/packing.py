"""How observations are held in memory: whole, cut into frames, compressed.

On Breakout LZ4 takes a stack of four screens to a 75th of a transition's bytes in SB3's buffer, on
other games to between a 40th (Gopher) and an 8th (YarsRevenge; 500 random decisions each), and
drawing a batch takes about as long as copying uncompressed screens out of an array. zlib takes ten
times as long and Zstandard twice, for three fifths of the bytes at best. Compressing each screen by
itself, so that compressed stacks could share screens, takes more than twice the bytes
(docs/decisions.md, ``benchmarks/buffer.py``).

Many observations are packed and unpacked at once, without Python code for each of them: `map` calls
the compressor from C, which takes no longer than one call that compresses all would.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any, Protocol

import lz4.block
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

# Frames smaller than this are not worth a place (24 bytes for both sides) each.
SMALLEST_FRAME = 1024

Bytes = bytes | memoryview


class Packing(Protocol):
    """Turns observations into byte strings that can be held, shared where they are equal, and back.

    Args:
        pieces: Byte strings that one observation is held as.
    """

    pieces: int

    def pack(self, observations: NDArray[Any]) -> list[bytes]:
        """The pieces of all ``observations``, one after the other.

        Args:
            observations: C-contiguous, shape ``(batch, ...)``.
        """

    def unpack(self, packed: Iterable[Bytes]) -> Iterable[Bytes]:
        """The bytes of many observations from their pieces, in parts that follow each other."""


class Uncompressed:
    """Observations as they are, whole or cut into frames, which neighbours may show too.

    Args:
        piece_nbytes: Size of a piece.
        pieces: Of one observation.
    """

    def __init__(self, piece_nbytes: int, pieces: int = 1) -> None:
        """Take the sizes."""
        self.pieces = pieces
        self._piece = np.dtype((np.void, piece_nbytes))

    def pack(self, observations: NDArray[Any]) -> list[bytes]:
        """The pieces, copied."""
        pieces: list[Any] = observations.reshape(-1).view(self._piece).tolist()
        return pieces

    def unpack(self, packed: Iterable[Bytes]) -> Iterable[Bytes]:
        """The pieces themselves."""
        return packed


class Compressed:
    """Observations compressed by LZ4, without loss.

    Args:
        nbytes: Size of an observation.
    """

    pieces = 1

    def __init__(self, nbytes: int) -> None:
        """Take the size of an observation."""
        self.nbytes = nbytes

    def pack(self, observations: NDArray[Any]) -> list[bytes]:
        """The compressed observations."""
        return list(map(partial(lz4.block.compress, store_size=False), observations))

    def unpack(self, packed: Iterable[Bytes]) -> Iterable[Bytes]:
        """The observations, each in one part."""
        return map(partial(lz4.block.decompress, uncompressed_size=self.nbytes), packed)


def packing_of(space: spaces.Space[Any], shape: tuple[int, ...], compress: bool | None) -> Packing:
    """How observations of ``space`` are held.

    Args:
        space: Not a Dict space.
        shape: What SB3's ``get_obs_shape`` says of it.
        compress: Whether to compress; None compresses images: bytes with three axes or more.
    """
    dtype = np.dtype(space.dtype)
    nbytes = int(np.prod(shape)) * dtype.itemsize
    if compress or (compress is None and dtype == np.uint8 and len(shape) >= 3):
        return Compressed(nbytes)
    if len(shape) >= 2 and nbytes // shape[0] >= SMALLEST_FRAME:
        return Uncompressed(nbytes // shape[0], shape[0])
    return Uncompressed(nbytes)
