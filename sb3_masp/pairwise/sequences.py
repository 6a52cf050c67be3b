"""Recurrent networks over the stretches of a trajectory, each of one episode."""

import torch as th
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from sb3_masp.pairwise.trajectory import Trajectory


def read_in_order(network: nn.GRU, inputs: Tensor, trajectory: Trajectory) -> Tensor:
    """What the network gives for each decision, beginning anew with each stretch.

    Args:
        network: With ``batch_first``.
        inputs: For each decision, shape ``(envs * time, inputs)``.
        trajectory: Where the stretches are.

    Returns:
        Shape ``(envs * time, outputs)``.
    """
    places, lengths = trajectory.segments()
    packed = pack_padded_sequence(
        inputs[places], lengths.cpu(), batch_first=True, enforce_sorted=False
    )
    padded, _ = pad_packed_sequence(network(packed)[0], batch_first=True)
    steps = th.arange(padded.shape[1], device=lengths.device)
    # Stretches follow each other without gaps.
    return padded[steps < lengths[:, None]]
