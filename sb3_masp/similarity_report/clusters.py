"""Actions ordered so that like stands by like, and the tree that says so."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from macro_gym.errors import MissingDependencyError


class Clusters(NamedTuple):
    """The average-linkage tree of Σ's rows.

    Args:
        order: Actions along the leaves, shape ``(actions,)``.
        forks: For each fork of the dendrogram, the places of its two stems among the leaves
            (0 is the first leaf) and the heights of first stem, fork and second stem, shape
            ``(actions - 1, 5)``: first place, second place, first height, height, second height.
    """

    order: NDArray[np.int64]
    forks: NDArray[np.float64]


def cluster(similarity: NDArray[Any]) -> Clusters:
    """Cluster the actions by the distances of their rows in the symmetrised Σ.

    Args:
        similarity: Σ, shape ``(actions, actions)``, which is left as it is.

    Raises:
        MissingDependencyError: SciPy is not installed.
    """
    try:
        from scipy.cluster.hierarchy import leaves_list, linkage
    except ImportError as error:
        raise MissingDependencyError(
            "ordering actions needs SciPy; install it with: pip install 'macro-gym[plots]'"
        ) from error
    # An action's own entry says nothing of whom it is like.
    rows = (similarity + similarity.T) / 2
    np.fill_diagonal(rows, rows.max())
    tree = linkage(rows, "average", optimal_ordering=True)
    order = leaves_list(tree)
    return Clusters(order, _forks(tree, order))


def neighbours(similarity: NDArray[Any], most: int) -> NDArray[np.int64]:
    """Each action's ``most`` nearest others, nearest first: the largest entries of its row.

    Returns:
        Actions, shape ``(actions, min(most, actions - 1))``; among equals the first come first.
    """
    others = np.where(np.eye(len(similarity), dtype=np.bool_), -np.inf, similarity)
    return np.argsort(-others, axis=1, kind="stable")[:, : min(most, len(similarity) - 1)]


def _forks(tree: NDArray[np.float64], order: NDArray[np.int64]) -> NDArray[np.float64]:
    """Where the dendrogram forks; without recursion, which SciPy's own drawing runs out of."""
    leaves = len(order)
    places, heights = np.zeros(2 * leaves - 1), np.zeros(2 * leaves - 1)
    places[order] = np.arange(leaves)
    forks = np.zeros((leaves - 1, 5))
    for node, (first, second, height, _) in enumerate(tree):
        stems = [int(first), int(second)]
        places[leaves + node], heights[leaves + node] = places[stems].mean(), height
        forks[node] = (*places[stems], heights[stems[0]], height, heights[stems[1]])
    return forks
