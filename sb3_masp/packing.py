"""How observations are stored: whole, split into frames, or compressed.

On Breakout, LZ4 compresses a stack of four screens to 1/75 of a transition's bytes in SB3's buffer,
on other games to between 1/40 (Gopher) and 1/8 (YarsRevenge; 500 random decisions each), and
sampling a batch takes about as long as copying uncompressed screens out of an array. zlib takes ten
times as long and Zstandard twice, for three fifths of the bytes at best. Compressing each screen by
itself, so that compressed stacks could share screens, takes more than twice the bytes
(docs/decisions.md, ``benchmarks/buffer.py``).

Observations are packed and unpacked many at a time, without Python code for each of them: `map`
calls the compressor from C, which takes no longer than a single call for all would.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any, Protocol

import lz4.block
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

# Frames smaller than this are not worth a place (24 bytes for both sides) of their own.
SMALLEST_FRAME = 1024

Bytes = bytes | memoryview


class Packing(Protocol):
    """Converts observations to byte strings, which can be shared if equal, and back.

    Args:
        pieces: Number of byte strings per observation.
    """

    pieces: int

    def pack(self, observations: NDArray[Any]) -> list[bytes]:
        """Return the pieces of all ``observations``, in order.

        Args:
            observations: C-contiguous, shape ``(batch, ...)``.
        """

    def unpack(self, packed: Iterable[Bytes]) -> Iterable[Bytes]:
        """Return the bytes of many observations from their pieces, in consecutive parts."""


class Uncompressed:
    """Uncompressed observations, whole or split into frames that neighbours may share.

    Args:
        piece_nbytes: Size of a piece.
        pieces: Pieces per observation.
    """

    def __init__(self, piece_nbytes: int, pieces: int = 1) -> None:
        """Store the sizes."""
        self.pieces = pieces
        self._piece = np.dtype((np.void, piece_nbytes))

    def pack(self, observations: NDArray[Any]) -> list[bytes]:
        """Return copies of the pieces."""
        pieces: list[Any] = observations.reshape(-1).view(self._piece).tolist()
        return pieces

    def unpack(self, packed: Iterable[Bytes]) -> Iterable[Bytes]:
        """Return the pieces themselves."""
        return packed


class Compressed:
    """Observations compressed losslessly by LZ4.

    Args:
        nbytes: Size of an observation.
    """

    pieces = 1

    def __init__(self, nbytes: int) -> None:
        """Store the size of an observation."""
        self.nbytes = nbytes

    def pack(self, observations: NDArray[Any]) -> list[bytes]:
        """Return the compressed observations."""
        return list(map(partial(lz4.block.compress, store_size=False), observations))

    def unpack(self, packed: Iterable[Bytes]) -> Iterable[Bytes]:
        """Return the observations, each in one part."""
        return map(partial(lz4.block.decompress, uncompressed_size=self.nbytes), packed)


def packing_of(space: spaces.Space[Any], shape: tuple[int, ...], compress: bool | None) -> Packing:
    """Choose how observations of ``space`` are stored.

    Args:
        space: Any space but a Dict.
        shape: Its shape by SB3's ``get_obs_shape``.
        compress: Whether to compress; None compresses images: bytes with three axes or more.
    """
    dtype = np.dtype(space.dtype)
    nbytes = int(np.prod(shape)) * dtype.itemsize
    if compress or (compress is None and dtype == np.uint8 and len(shape) >= 3):
        return Compressed(nbytes)
    if len(shape) >= 2 and nbytes // shape[0] >= SMALLEST_FRAME:
        return Uncompressed(nbytes // shape[0], shape[0])
    return Uncompressed(nbytes)
