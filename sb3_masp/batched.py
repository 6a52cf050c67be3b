"""Split what Gymnasium's vector environments return into one part per environment."""

from collections.abc import Mapping
from typing import Any

import numpy as np


class ResetMask(dict[str, Any]):
    """Reset options whose ``pop`` keeps the value: wrappers read the mask after the environment."""

    def pop(self, key: str, *default: Any) -> Any:
        """Return a value without removing it."""
        return self.get(key, *default)


def infos_of_each(infos: Mapping[str, Any], number: int) -> list[dict[str, Any]]:
    """Split a vector environment's infos into one dict per environment.

    Args:
        infos: Values of all environments by key; ``_key``, if present, masks those that have one.
        number: Number of environments.

    Returns:
        Python numbers, and rows of arrays as views; values not given per environment go to all.

    Example:
        >>> infos = {"lives": np.array([5, 0, 3]), "_lives": np.array([True, False, True])}
        >>> infos_of_each(infos, 3)
        [{'lives': 5}, {}, {'lives': 3}]
    """
    each: list[dict[str, Any]] = [{} for _ in range(number)]
    for key, values in infos.items():
        if key[:1] == "_" and key[1:] in infos:
            continue
        having = each
        values = _one_each(values, number)
        if (mask := infos.get(f"_{key}")) is not None and not mask.all():
            chosen = np.flatnonzero(mask).tolist()
            having, values = [each[i] for i in chosen], [values[i] for i in chosen]
        for info, value in zip(having, values, strict=True):
            info[key] = value
    return each


def _one_each(values: Any, number: int) -> Any:
    """A sequence with one value per environment."""
    if isinstance(values, Mapping):
        return infos_of_each(values, number)
    if isinstance(values, np.ndarray) and values.shape[:1] == (number,):
        return values.tolist() if values.ndim == 1 else values
    if isinstance(values, (list, tuple)) and len(values) == number:
        return values
    return [values] * number


def of(batch: Any, environments: Any) -> Any:
    """Index ``batch``, an array or a dict of arrays, by one environment or several."""
    if isinstance(batch, Mapping):
        return {key: of(part, environments) for key, part in batch.items()}
    return batch[environments]


def equal(first: Any, second: Any) -> bool:
    """Whether two batches, arrays or dicts of arrays, are equal."""
    if isinstance(first, Mapping):
        return all(equal(part, second[key]) for key, part in first.items())
    return np.array_equal(first, second)


def share_memory(first: Any, second: Any) -> bool:
    """Whether two batches, arrays or dicts of arrays, may share memory."""
    if isinstance(first, Mapping):
        return any(share_memory(part, second[key]) for key, part in first.items())
    return np.may_share_memory(first, second)
