"""Batch normalisation in passes that only read a network: its running statistics stay put."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def batch_norms(network: nn.Module) -> list[_BatchNorm]:
    """The layers of a network that normalise batches."""
    return [module for module in network.modules() if isinstance(module, _BatchNorm)]


@contextmanager
def untracked(norms: Sequence[_BatchNorm]) -> Iterator[None]:
    """Context in which no batch enters the layers' running statistics.

    In training mode they normalise with the batch's own statistics as ever.
    """
    tracking = [norm for norm in norms if norm.track_running_stats]
    for norm in tracking:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in tracking:
            norm.track_running_stats = True
