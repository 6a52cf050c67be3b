"""Prioritised replay on binary trees in Python, as in CleanRL's ``rainbow_atari.py``.

An independent re-implementation, as a contender in ``benchmarks/buffer.py``. It agrees with the
original (github.com/vwxyzjn/cleanrl) in what is stored and computed: a sum tree and a minimum tree
of float32 in heap order, where an update walks to the root of each, one entry at a time; a batch of
one draw from each equal slice of the total, each a walk from the root; weights divided by the
batch's highest; tensors of observations, actions, rewards, next observations and ends. It leaves
out what is not timed: adding decisions one by one and their n-step returns.
"""

from typing import Any

import numpy as np
import torch as th
from numpy.typing import NDArray


class SumTree:
    """A binary tree whose inner nodes are the sums of their two children.

    Args:
        leaves: Values of the leaves, at least one.
    """

    def __init__(self, leaves: NDArray[np.float32]) -> None:
        """Build the inner nodes from the leaves, the last ones first."""
        self.first_leaf = len(leaves) - 1
        self.nodes = np.concatenate([np.zeros(self.first_leaf, np.float32), leaves])
        for node in reversed(range(self.first_leaf)):
            self.nodes[node] = self.nodes[2 * node + 1] + self.nodes[2 * node + 2]

    def update(self, leaf: int, value: float) -> None:
        """Set a leaf, and update every node above it."""
        node = leaf + self.first_leaf
        self.nodes[node] = value
        while node > 0:
            node = (node - 1) // 2
            self.nodes[node] = self.nodes[2 * node + 1] + self.nodes[2 * node + 2]

    def find(self, mass: float) -> int:
        """The leaf that holds ``mass`` of the running sum of leaves."""
        node = 0
        while 2 * node + 1 < len(self.nodes):
            left = 2 * node + 1
            if mass <= self.nodes[left]:
                node = left
            else:
                mass -= self.nodes[left]
                node = left + 1
        return node - self.first_leaf


class MinimumTree:
    """A binary tree whose inner nodes are the minima of their two children; see `SumTree`."""

    def __init__(self, leaves: NDArray[np.float32]) -> None:
        """Build the inner nodes from the leaves, the last ones first."""
        self.first_leaf = len(leaves) - 1
        self.nodes = np.concatenate([np.zeros(self.first_leaf, np.float32), leaves])
        for node in reversed(range(self.first_leaf)):
            self.nodes[node] = min(self.nodes[2 * node + 1], self.nodes[2 * node + 2])

    def update(self, leaf: int, value: float) -> None:
        """Set a leaf, and update every node above it."""
        node = leaf + self.first_leaf
        self.nodes[node] = value
        while node > 0:
            node = (node - 1) // 2
            self.nodes[node] = min(self.nodes[2 * node + 1], self.nodes[2 * node + 2])


class PythonReplay:
    """A full replay buffer on two such trees.

    Args:
        fields: Observations, actions, rewards, next observations and ends of every entry.
        td_errors: TD error of every entry.
        alpha: Exponent of priorities.
        beta: Exponent of importance weights.
        eps: Added to the absolute errors.
    """

    def __init__(
        self,
        fields: tuple[NDArray[Any], ...],
        td_errors: NDArray[np.float64],
        alpha: float,
        beta: float,
        eps: float = 1e-6,
    ) -> None:
        """Build both trees."""
        self.device = th.device("cpu")
        self.fields = fields
        self.size = len(td_errors)
        self.alpha, self.beta, self.eps = alpha, beta, eps
        priorities = ((np.abs(td_errors) + eps) ** alpha).astype(np.float32)
        self.sums = SumTree(priorities)
        self.minima = MinimumTree(priorities)
        self.max_priority = 1.0

    def sample(self, batch_size: int) -> tuple[list[int], th.Tensor, list[th.Tensor]]:
        """Draw entries; return their indices, weights and fields."""
        total = self.sums.nodes[0]
        slice_of = total / batch_size
        drawn = [
            self.sums.find(np.random.uniform(slice_of * i, slice_of * (i + 1)))
            for i in range(batch_size)
        ]
        fields = [th.from_numpy(field[drawn]).to(self.device) for field in self.fields]
        shares = np.array([self.sums.nodes[entry + self.sums.first_leaf] for entry in drawn])
        weights = (self.size * shares / total) ** -self.beta
        return drawn, th.from_numpy(weights / weights.max()).to(self.device).unsqueeze(1), fields

    def update_priorities(self, entries: list[int], td_errors: NDArray[np.float64]) -> None:
        """Set the priorities of entries, one after the other."""
        sizes = np.abs(td_errors) + self.eps
        self.max_priority = max(self.max_priority, sizes.max())
        for entry, size in zip(entries, sizes, strict=True):
            priority = size**self.alpha
            self.sums.update(entry, priority)
            self.minima.update(entry, priority)
