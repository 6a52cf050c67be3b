"""Categorical return distributions (C51): pure functions on tensors, one equation each."""

import torch as th
from torch import Tensor
from torch.nn import functional as F


def project(probabilities: Tensor, positions: Tensor, n_atoms: int) -> Tensor:
    """Project probability mass onto atoms 0..n_atoms−1, each share to its two neighbours.

    Args:
        probabilities: Mass, shape ``(batch, points)``.
        positions: Positions of the mass, measured from the first atom in units of the atoms'
            spacing, shape ``(batch, points)``. Mass beyond the ends is moved to them.
        n_atoms: Number of atoms.

    Returns:
        Mass of the atoms, shape ``(batch, n_atoms)``; every row keeps its sum.

    Source: arXiv 1707.06887, equation 7.
    """
    atoms = th.arange(n_atoms, dtype=positions.dtype, device=positions.device)
    distances = positions.clamp(0, n_atoms - 1).unsqueeze(2) - atoms
    shares = (1 - distances.abs()).clamp(min=0)
    return (probabilities.unsqueeze(1) @ shares).squeeze(1)


def categorical_target(
    rewards: Tensor,
    dones: Tensor,
    discounts: Tensor | float,
    next_probabilities: Tensor,
    support: Tensor,
) -> Tensor:
    """Distribution of ``R + γ^τ Z⁻(s′, a′)`` on the atoms of the support.

    Args:
        rewards: R, the discounted rewards within the decisions, shape ``(batch, 1)``.
        dones: 1 where the episode terminated, shape ``(batch, 1)``.
        discounts: γ^τ, shape ``(batch, 1)``, or γ where every decision lasts one step.
        next_probabilities: Probabilities of Z⁻(s′, a′), shape ``(batch, atoms)``.
        support: Values of the atoms, evenly spaced and rising, shape ``(atoms,)``.

    Returns:
        Probabilities, shape ``(batch, atoms)``.

    Source: arXiv 1707.06887, algorithm 1, for decisions that last τ steps.
    """
    returns = rewards + (1 - dones) * discounts * support
    distance = (support[-1] - support[0]) / (len(support) - 1)
    return project(next_probabilities, (returns - support[0]) / distance, len(support))


def categorical_losses(log_probabilities: Tensor, targets: Tensor) -> Tensor:
    """Kullback-Leibler divergence of each distribution from its target: ``Σ t (ln t − ln p)``.

    It has the gradients of the cross-entropy, from which it differs by the target's entropy, and
    is zero where the target is met. Rainbow samples decisions by it.

    Args:
        log_probabilities: ln p, shape ``(batch, atoms)``.
        targets: t, probabilities of the same shape.

    Returns:
        Divergences, shape ``(batch,)``.

    Source: arXiv 1710.02298, "Distributional RL" and "The Integrated Agent".
    """
    return F.kl_div(log_probabilities, targets, reduction="none").sum(dim=1)


def dueling(values: Tensor, advantages: Tensor) -> Tensor:
    """``V + A − mean A``, atom by atom.

    Args:
        values: V, shape ``(batch, 1, atoms)``.
        advantages: A, shape ``(batch, actions, atoms)``.

    Returns:
        Shape ``(batch, actions, atoms)``.

    Source: arXiv 1511.06581, equation 9; over atoms as in arXiv 1710.02298.
    """
    return values + advantages - advantages.mean(dim=1, keepdim=True)
