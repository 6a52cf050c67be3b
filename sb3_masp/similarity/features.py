"""Features of macros, the same for any macro set over the same primitives."""

import torch as th
from torch import Tensor

from macro_gym import MacroSet

PARTS = 4
"""Parts of equal duration that encode the order of a macro's primitives."""


def macro_features(macro_set: MacroSet) -> Tensor:
    """Encode each action's primitives: how many, which share of each, and when.

    Args:
        macro_set: Macro set of the actions, over P primitives.

    Returns:
        Features, shape ``(actions, 1 + P + PARTS·P)``. *Length*: a quarter of the base-2 logarithm
        of the number of primitives that it runs. *Histogram*: each primitive's share of the action.
        *Order*: in each quarter of the action, the share of each primitive minus its share of the
        whole; zero for an action that repeats one primitive.
    """
    shares = th.stack([_shares(macro_set, action) for action in range(macro_set.n_actions)])
    histogram = shares.mean(dim=1, keepdim=True)
    sequences = [macro_set.expand(action) for action in range(macro_set.n_actions)]
    lengths = th.tensor([float(len(sequence)) for sequence in sequences])
    return th.cat(
        [lengths.log2()[:, None] / 4, histogram.flatten(1), (shares - histogram).flatten(1)], dim=1
    )


def primitive_columns(positions: list[int], n_primitives: int) -> Tensor:
    """Columns of the features of some primitives, and of the length, among those of all.

    Args:
        positions: The primitives, in the requested order.
        n_primitives: P, the number of all primitives.

    Returns:
        Indices, shape ``(1 + (1 + PARTS)·len(positions),)``.
    """
    blocks = th.arange(1 + PARTS)[:, None] * n_primitives + th.tensor(positions)
    return th.cat([th.zeros(1, dtype=th.int64), 1 + blocks.flatten()])


def _shares(macro_set: MacroSet, action: int) -> Tensor:
    """Share of each primitive in each part of an action, shape ``(PARTS, primitives)``."""
    sequence = th.tensor(macro_set.expand(action))
    # A primitive across the border of two parts counts in both by its share.
    begins = th.arange(len(sequence)) * PARTS / len(sequence)
    ends = begins + PARTS / len(sequence)
    parts = th.arange(PARTS)[:, None]
    within = (ends.clamp(max=parts + 1) - begins.clamp(min=parts)).clamp(min=0)
    return within @ th.nn.functional.one_hot(sequence, len(macro_set.primitives)).to(within)
