"""Σ as a kernel on features of macros: what is learned on some macros applies to others too."""

import math
from typing import Self

import torch as th
from torch import Tensor, nn

from macro_gym import MacroSet
from sb3_masp.similarity.base import off_diagonal
from sb3_masp.similarity.described import DescribedSimilarity
from sb3_masp.similarity.matrices import beside_diagonal, spread

FITTED = 512
"""Most actions on which the start is fitted."""

FURTHEST = 0.01
"""Share of its range that the initial sharpness keeps from both ends, where gradients vanish."""


class KernelSimilarity(DescribedSimilarity):
    """``Σ_ij ∝ exp(−s·d²_ij/m_i)`` off the diagonal, with ``d²_ij = ‖W(φ_i − φ_j)‖²``.

    φ are the features of the actions' primitives (`macro_features`); the metric W and the
    sharpness s, the inverse of a temperature, are learned; m_i is the mean of d²_ij over j. With a
    free scale, a kernel sharpens until each action has one neighbour. Here the scale is bounded:
    the division by m_i removes it from W, and s is a sigmoid times `largest_sharpness`, at which no
    row, whatever its distances, has an entropy below ``entropy_floor``.

    Cost, with d features: d² + 1 parameters, none of them per action; A²·d operations for Σ.

    Args:
        initial: Initial matrix, shape ``(actions, actions)``, non-negative with positive row sums
            off the diagonal. W and s are fitted to it by the rows' cross-entropy, from ``W = I``,
            on at most 512 actions, so that a matrix unrelated to features (a random one) ends near
            uniform.
        macro_set: The environment's macros.
        entropy_floor: Least entropy of each row as a share of a uniform row's, in (0, 1): at h, an
            action effectively has at least ``(A−1)^h`` neighbours.
        fit_steps: Most steps of the fit.

    Raises:
        SimilarityError: ``initial`` or ``entropy_floor`` is invalid, or the macro set has
            another number of actions.
    """

    form = "kernel"

    def __init__(
        self,
        initial: Tensor,
        macro_set: MacroSet,
        entropy_floor: float = 0.2,
        fit_steps: int = 50,
    ) -> None:
        """Encode the macros and fit the metric to the start."""
        super().__init__(initial, macro_set, entropy_floor)
        self.largest_sharpness = largest_sharpness(self.n_actions, entropy_floor)
        self.metric = nn.Parameter(th.eye(self.features.shape[1]).to(initial))
        self.sharpness_logit = nn.Parameter(initial.new_zeros(()))
        if fit_steps:
            self._fit(initial, fit_steps)
        self.keep_start()

    def forward(self) -> Tensor:
        """Return Σ, shape ``(actions, actions)``; rows sum to one, the diagonal is zero."""
        return self._log_similarity(self.features).exp()

    def carried_to(self, macro_set: MacroSet) -> Self:
        """Return the same metric and sharpness on other macros, with primitives matched by name.

        Args:
            macro_set: Other macros, over some or all of the same primitives in any order.

        Raises:
            SimilarityError: It has primitives about which nothing was learned.
        """
        columns = self._columns_of(macro_set)
        size = macro_set.n_actions
        uniform = self.metric.new_full((size, size), 1 / size).detach()
        carried = type(self)(uniform, macro_set, self.entropy_floor, fit_steps=0)
        with th.no_grad():
            carried.metric.copy_(_square_root(self.metric[:, columns]))
            carried.sharpness_logit.copy_(self.sharpness_logit)
        carried.keep_start()
        return carried

    def _log_similarity(self, features: Tensor) -> Tensor:
        """Logarithm of Σ over the actions with these features; minus infinity on the diagonal."""
        points = (features - features.mean(dim=0)) @ self.metric.mT
        squares = points.square().sum(dim=1)
        distances = (squares[:, None] + squares - 2 * points @ points.mT).clamp(min=0)
        diagonal = ~off_diagonal(distances)
        distances = distances.masked_fill(diagonal, 0.0)
        means = distances.sum(dim=1, keepdim=True) / (len(features) - 1)
        sharpness = self.largest_sharpness * self.sharpness_logit.sigmoid()
        logits = -sharpness * distances / means.clamp(min=th.finfo(means.dtype).tiny)
        return logits.masked_fill(diagonal, float("-inf")).log_softmax(dim=1)

    def _fit(self, initial: Tensor, steps: int) -> None:
        """Fit the metric and the sharpness to the rows of a matrix off its diagonal."""
        chosen = spread(len(initial), FITTED)
        wanted = beside_diagonal(initial[chosen][:, chosen], self.form)
        diagonal = ~off_diagonal(wanted)
        optimizer = th.optim.LBFGS(self.parameters(), max_iter=steps, line_search_fn="strong_wolfe")

        def cross_entropy() -> Tensor:
            optimizer.zero_grad()
            logs = self._log_similarity(self.features[chosen]).masked_fill(diagonal, 0.0)
            loss = -(wanted * logs).sum(dim=1).mean()
            th.autograd.backward(loss)
            return loss

        with th.enable_grad():
            optimizer.step(cross_entropy)  # type: ignore[no-untyped-call]
        optimizer.zero_grad()
        limit = math.log(1 / FURTHEST - 1)
        self.sharpness_logit.data.clamp_(-limit, limit)


def largest_sharpness(n_actions: int, entropy_floor: float) -> float:
    """Largest s at which no softmax row of ``−s·x`` falls below a share of the full entropy.

    The n = A−1 numbers x of a row are non-negative with mean one. By Jensen's inequality the
    row's largest entry is at most ``1/(1 + (n−1)·exp(−s·n/(n−1)))``, reached if one x is zero and
    the others are equal; and an entropy is at least minus the logarithm of the largest entry.

    Args:
        n_actions: A, the number of actions.
        entropy_floor: The share, within (0, 1).
    """
    others = n_actions - 1
    if others == 1:
        return 1.0  # A row of one entry, whatever s.
    return (others - 1) / others * math.log((others - 1) / (others**entropy_floor - 1))


def _square_root(metric: Tensor) -> Tensor:
    """A square W, ``(features, features)``, with the same distances as a W of any shape."""
    values: Tensor
    vectors: Tensor
    values, vectors = th.linalg.eigh(metric.mT @ metric)
    return values.clamp(min=0).sqrt()[:, None] * vectors.mT
