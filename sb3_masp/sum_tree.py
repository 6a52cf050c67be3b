"""SumTree: draws indices in proportion to their priority, many at a time."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Four levels hold a million leaves. A binary tree would need twenty, and NumPy's cost is by the
# call: wide rows make the calls few.
FANOUT = 32


class SumTree:
    """Priorities whose sums are kept up to date: ``P(i) = p_i / Σ_k p_k``.

    Every level is an array of rows of ``FANOUT``; a node is the sum of one row of the level below.
    Sums are always recomputed from their children, so that rounding does not pile up.

    Args:
        size: Number of leaves; all start at priority zero, which is never drawn.

    Example:
        >>> tree = SumTree(5)
        >>> tree.update([1, 4], [3.0, 1.0])
        >>> tree.total, tree.find([0.0, 2.9, 3.0, 3.9]).tolist()
        (4.0, [1, 1, 4, 4])
    """

    def __init__(self, size: int) -> None:
        """Allocate the levels, leaves first, up to a single row."""
        self.size = size
        self._levels: list[NDArray[np.float64]] = []
        while not self._levels or size > 1:
            size = -(-size // FANOUT)
            self._levels.append(np.zeros((size, FANOUT)))

    def __getitem__(self, indices: ArrayLike) -> NDArray[np.float64]:
        """Priorities of the leaves ``indices``, in their shape."""
        priorities: NDArray[np.float64] = self._levels[0].reshape(-1)[np.asarray(indices)]
        return priorities

    @property
    def total(self) -> float:
        """Sum of all priorities."""
        return float(self._levels[-1].sum())

    @property
    def nbytes(self) -> int:
        """Memory in bytes."""
        return sum(level.nbytes for level in self._levels)

    def update(self, indices: ArrayLike, priorities: ArrayLike) -> None:
        """Set priorities; where an index is repeated, its last one holds.

        Args:
            indices: Leaves, shape ``(batch,)``.
            priorities: Their priorities, at least 0 and finite, shape ``(batch,)``.
        """
        nodes = np.asarray(indices)
        self._levels[0].reshape(-1)[nodes] = priorities
        for below, level in zip(self._levels, self._levels[1:], strict=False):
            nodes = nodes // FANOUT
            level.reshape(-1)[nodes] = below[nodes].sum(axis=1)

    def find(self, masses: ArrayLike) -> NDArray[np.int64]:
        """Return the leaves that hold ``masses`` of the running sum of priorities.

        Args:
            masses: Positions within ``0..total``, shape ``(batch,)``.

        Returns:
            Leaves, shape ``(batch,)``; never one of priority zero, unless all are.
        """
        rest = np.array(masses, dtype=np.float64)
        every = np.arange(len(rest))
        nodes = np.zeros(len(rest), dtype=np.int64)
        for level in reversed(self._levels):
            sums = level[nodes].cumsum(axis=1)
            # Rounding may carry a mass past the last child that has any.
            rest = np.minimum(rest, np.nextafter(sums[:, -1], 0.0))
            child = (sums <= rest[:, None]).sum(axis=1)
            rest -= np.where(child > 0, sums[every, child - 1], 0.0)
            nodes = nodes * FANOUT + child
        return nodes

    def sample(self, batch_size: int) -> NDArray[np.int64]:
        """Draw leaves in proportion to their priority, one from each equal slice of the total.

        The randomness is NumPy's global one, which is the one that SB3 seeds.

        Source: arXiv 1511.05952, section 3.3 and appendix B.2.1.
        """
        slices = np.arange(batch_size) + np.random.random_sample(batch_size)
        return self.find(slices * (self.total / batch_size))
