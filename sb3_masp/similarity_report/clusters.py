"""Actions ordered so that similar ones are adjacent, and the dendrogram of this order."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from macro_gym.errors import MissingDependencyError


class Clusters(NamedTuple):
    """The average-linkage tree of Σ's rows.

    Args:
        order: Actions along the leaves, shape ``(actions,)``.
        forks: For each fork of the dendrogram, the positions of its two stems among the leaves
            (0 is the first leaf) and the heights of first stem, fork and second stem, shape
            ``(actions - 1, 5)``: first position, second position, first height, height, second
            height.
    """

    order: NDArray[np.int64]
    forks: NDArray[np.float64]


def cluster(similarity: NDArray[Any]) -> Clusters:
    """Cluster the actions by the distances of their rows in the symmetrised Σ.

    Args:
        similarity: Σ, shape ``(actions, actions)``, left unchanged.

    Raises:
        MissingDependencyError: SciPy is not installed.
    """
    try:
        from scipy.cluster.hierarchy import leaves_list, linkage
    except ImportError as error:
        raise MissingDependencyError(
            "ordering actions needs SciPy; install it with: pip install 'macro-gym[plots]'"
        ) from error
    # An action's own entry does not tell which actions it resembles.
    rows = (similarity + similarity.T) / 2
    np.fill_diagonal(rows, rows.max())
    tree = linkage(rows, "average", optimal_ordering=True)
    order = leaves_list(tree)
    return Clusters(order, _forks(tree, order))


def neighbours(similarity: NDArray[Any], most: int) -> NDArray[np.int64]:
    """Each action's ``most`` nearest others, nearest first: the largest entries of its row.

    Returns:
        Actions, shape ``(actions, min(most, actions - 1))``; ties are in order of their index.
    """
    others = np.where(np.eye(len(similarity), dtype=np.bool_), -np.inf, similarity)
    return np.argsort(-others, axis=1, kind="stable")[:, : min(most, len(similarity) - 1)]


def _forks(tree: NDArray[np.float64], order: NDArray[np.int64]) -> NDArray[np.float64]:
    """Forks of the dendrogram, without recursion, whose limit SciPy's own drawing exceeds."""
    leaves = len(order)
    places, heights = np.zeros(2 * leaves - 1), np.zeros(2 * leaves - 1)
    places[order] = np.arange(leaves)
    forks = np.zeros((leaves - 1, 5))
    for node, (first, second, height, _) in enumerate(tree):
        stems = [int(first), int(second)]
        places[leaves + node], heights[leaves + node] = places[stems].mean(), height
        forks[node] = (*places[stems], heights[stems[0]], height, heights[stems[1]])
    return forks
