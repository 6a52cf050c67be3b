"""What can go wrong with Σ: a figure, a threshold, and the argument to change.

Figures are named as in the log. Thresholds are ours: beyond them, a run should be looked at, but is
not lost.
"""

import math
from collections.abc import Mapping, Sequence

import torch as th
from torch import Tensor, nn

from sb3_masp.losses import Reduction
from sb3_masp.similarity.health import LEAST_MASS, LEAST_UNEVENNESS, Collapse

MOST_PULL = 9.0
"""Pull at which differences between actions keep a tenth of their size."""

LEAST_AGREEMENT = 0.01
"""Mean cosine between meta-gradients below which they are noise; .03 occurs early in training."""

GRADIENTS = 50
"""Number of meta-gradients from which their agreement is reported."""


class Agreement(nn.Module):
    """Whether gradients point the same way: the mean cosine between any two of them.

    Args:
        size: Size of a gradient.
    """

    total: Tensor
    count: Tensor

    def __init__(self, size: int) -> None:
        """Start without gradients."""
        super().__init__()
        self.register_buffer("total", th.zeros(size))
        self.register_buffer("count", th.zeros((), dtype=th.int64))

    def add(self, gradients: Sequence[Tensor]) -> None:
        """Add a gradient, given in parts; a zero gradient has no direction and is left out."""
        gradient = th.cat([part.detach().flatten() for part in gradients])
        norm = gradient.norm()
        points = norm > 0  # never read on the host, which would wait for the device
        self.total += gradient / norm.where(points, 1.0)
        self.count += points

    def told(self) -> dict[str, float]:
        """Return ``meta/cosine``, the mean cosine of at least `GRADIENTS` gradients; start over.

        With fewer, return nothing and keep counting.
        """
        count = int(self.count)
        if count < GRADIENTS:
            return {}
        squared = float(self.total.square().sum())
        self.total.zero_()
        self.count.zero_()
        return {"meta/cosine": (squared - count) / (count * (count - 1))}


def penalty_pull(penalty: float, eta: float, n_actions: int, reduction: Reduction) -> float:
    """Strength of the penalty's pull on an action's value, relative to the TD error's.

    If all actions are tried equally and Σ is uniform, the squared TD error pulls a value by its
    distance from the target, and the penalty by 2η (A/(A − 1))² times its distance from the mean
    (times A for the sum over actions), so that differences shrink to 1/(1 + pull) of their size.
    The Huber loss pulls by 1 at most, so where values are further apart, the penalty is relatively
    stronger.

    Args:
        penalty: Mean of the penalty; its root is the spread of Q that the penalty sees.
        eta: η.
        n_actions: A.
        reduction: Reduction of the penalty over actions.
    """
    count = n_actions if reduction == "sum" else 1
    others = n_actions / (n_actions - 1)  # a gap to the mean of the others, per gap to that of all
    spread = math.sqrt(penalty / count) / others
    return 2 * eta * count * others**2 * max(1.0, spread)


def findings(
    figures: Mapping[str, float],
    collapsed: Collapse | None,
    remedy: str,
    eta: float,
    reduction: Reduction,
) -> dict[str, str]:
    """Warnings to give, by name.

    Args:
        figures: What the log shows; missing figures are not judged.
        collapsed: What Σ has collapsed to, if it has.
        remedy: What to change in that case.
        eta: η.
        reduction: Reduction of the penalty over actions.

    Returns:
        Sentences with the figure, its threshold, what it means, and the argument to change.
    """
    found = {}
    if collapsed == "identity":
        found["identity"] = (
            f"similarity/off_diagonal_mass is {figures['similarity/off_diagonal_mass']:.3g}, below "
            f"{LEAST_MASS}: Σ has collapsed to identity, and the penalty penalises nothing. "
            f"{remedy}"
        )
    if collapsed == "uniform":
        found["uniform"] = (
            f"similarity/unevenness is {figures['similarity/unevenness']:.3g}, below "
            f"{LEAST_UNEVENNESS}: Σ has collapsed to uniform, and the penalty treats all actions "
            f"alike. {remedy}"
        )
    pull = figures.get("similarity/pull", 0.0)
    if pull > MOST_PULL:
        other = ", or let penalty_reduction be 'mean'" if reduction == "sum" else ""
        found["pull"] = (
            f"similarity/pull is {pull:.3g}, above {MOST_PULL:g}: η is too strong for the spread "
            f"of Q, whose differences between actions shrink to 1/{1 + pull:.3g} of their size. "
            f"Lower eta to {eta * MOST_PULL / pull:.2g} or less{other}"
        )
    agreement = figures.get("meta/cosine", 1.0)
    if agreement < LEAST_AGREEMENT:
        found["noise"] = (
            f"meta/cosine is {agreement:.2g}, below {LEAST_AGREEMENT}: meta-gradients point "
            "anywhere, so Σ wanders and learns nothing. Decay meta_learning_rate, raise "
            "outer_batch_size or meta_average, or set similarity_frozen"
        )
    return found
