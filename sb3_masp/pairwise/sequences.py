"""Recurrent networks over the segments of a trajectory, each of a single episode."""

import torch as th
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from sb3_masp.pairwise.trajectory import Trajectory


def read_in_order(network: nn.GRU, inputs: Tensor, trajectory: Trajectory) -> Tensor:
    """Return the network's outputs for each decision, starting anew with each segment.

    Args:
        network: A network with ``batch_first``.
        inputs: Inputs for each decision, shape ``(envs * time, inputs)``.
        trajectory: The trajectory, which defines the segments.

    Returns:
        Outputs, shape ``(envs * time, outputs)``.
    """
    places, lengths = trajectory.segments()
    packed = pack_padded_sequence(
        inputs[places], lengths.cpu(), batch_first=True, enforce_sorted=False
    )
    padded, _ = pad_packed_sequence(network(packed)[0], batch_first=True)
    steps = th.arange(padded.shape[1], device=lengths.device)
    # Segments follow each other without gaps.
    return padded[steps < lengths[:, None]]
