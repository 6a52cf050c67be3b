"""SumTree: draws indices in proportion to their priority, many at a time."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

# NumPy costs by the call, so wide nodes are cheap and levels are expensive: a million leaves are
# 2 levels of rows and one list on top, where a binary tree would have 20 levels.
FANOUT = 32
TOP = 1024


class SumTree:
    """Priorities with up-to-date sums, for fast sampling by ``P(i) = p_i / Σ_k p_k``.

    Every level is an array of rows of ``FANOUT`` nodes, and each node of the next level is the sum
    of a row; the top is one list of at most ``TOP`` nodes. Sums are always recomputed from their
    terms, so that rounding errors do not accumulate.

    Args:
        size: Number of leaves; all start at priority zero, which is never drawn.

    Example:
        >>> tree = SumTree(5)
        >>> tree.update([1, 4], [3.0, 1.0])
        >>> tree.total, tree.find([0.0, 2.9, 3.0, 3.9]).tolist()
        (4.0, [1, 1, 4, 4])
    """

    def __init__(self, size: int) -> None:
        """Allocate the levels, leaves first."""
        self.size = size
        self._rows: list[NDArray[np.float64]] = []
        while not self._rows or size > TOP:
            size = -(-size // FANOUT)
            self._rows.append(np.zeros((size, FANOUT)))
        self._top = np.zeros(size)

    def __getitem__(self, indices: ArrayLike) -> NDArray[np.float64]:
        """Priorities of the leaves ``indices``, in their shape."""
        priorities: NDArray[np.float64] = self._rows[0].reshape(-1)[np.asarray(indices)]
        return priorities

    @property
    def total(self) -> float:
        """Sum of all priorities."""
        return float(self._top.sum())

    @property
    def nbytes(self) -> int:
        """Memory in bytes."""
        return self._top.nbytes + sum(rows.nbytes for rows in self._rows)

    def update(self, indices: ArrayLike, priorities: ArrayLike) -> None:
        """Set priorities; if an index is repeated, its last priority holds.

        Args:
            indices: Leaves, shape ``(batch,)``.
            priorities: Their priorities, at least 0 and finite, shape ``(batch,)``.
        """
        nodes = np.asarray(indices)
        sums = np.asarray(priorities)
        for rows in self._rows:
            rows.reshape(-1)[nodes] = sums
            nodes = nodes // FANOUT
            sums = rows.take(nodes, axis=0).sum(axis=1)
        self._top[nodes] = sums

    def find(self, masses: ArrayLike) -> NDArray[np.int64]:
        """Return the leaves at ``masses`` in the running sum of priorities.

        Args:
            masses: Positions within ``0..total``, shape ``(batch,)``; ``total`` must be positive.

        Returns:
            Leaves, shape ``(batch,)``; never one of priority zero.
        """
        sums = np.zeros(len(self._top) + 1)  # what comes before each node, and the total
        np.add.accumulate(self._top, out=sums[1:])
        rest = _short_of(sums[-1], np.asarray(masses, dtype=np.float64))
        nodes = sums.searchsorted(rest, side="right") - 1
        rest -= sums.take(nodes)
        sums = np.zeros((len(nodes), FANOUT + 1))
        firsts = np.arange(0, sums.size, FANOUT + 1)
        for rows in reversed(self._rows):
            np.add.accumulate(rows.take(nodes, axis=0), axis=1, out=sums[:, 1:])
            rest = _short_of(sums[:, -1], rest)
            child = (sums[:, 1:] > rest[:, None]).argmax(axis=1)
            rest -= sums.take(firsts + child)
            nodes = nodes * FANOUT + child
        return nodes

    def sample(self, batch_size: int) -> NDArray[np.int64]:
        """Sample leaves in proportion to their priority, one from each equal slice of the total.

        It draws from NumPy's global generator, which SB3 seeds.

        Source: arXiv 1511.05952, section 3.3 and appendix B.2.1.
        """
        slices = np.arange(batch_size) + np.random.random_sample(batch_size)
        return self.find(slices * (self.total / batch_size))


def _short_of(
    total: NDArray[np.float64] | np.float64, masses: NDArray[np.float64]
) -> NDArray[np.float64]:
    """``masses`` kept below ``total``, which rounding may have carried them past."""
    return np.minimum(masses, np.nextafter(total, 0.0))
