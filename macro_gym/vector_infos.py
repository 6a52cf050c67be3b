"""Infos of many environments in one dictionary of arrays, as Gymnasium has them."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np


def are_alike(infos: Iterable[dict[str, Any]]) -> bool:
    """Whether all have the same keys, with plain numbers or arrays of the same shape for them."""
    kinds = ({key: _kind(value) for key, value in info.items()} for info in infos)
    first = next(kinds)
    plain = None not in first.values() and "final_obs" not in first
    return plain and all(kind == first for kind in kinds)


def _kind(value: Any) -> Any:
    """What values that go into one array have in common; None if it is nothing plain."""
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype
    plain = type(value) in (int, float, bool) or isinstance(value, np.number)
    return type(value) if plain else None


def columns(infos: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Infos that are alike as `VectorEnv._add_info` batches them, which takes far longer."""
    batched: dict[str, Any] = {}
    for key, value in infos[0].items():
        dtype = value.dtype if isinstance(value, np.ndarray) else type(value)
        batched[key] = np.array([info[key] for info in infos], dtype)
        batched[f"_{key}"] = np.ones(len(infos), np.bool_)
    return batched
