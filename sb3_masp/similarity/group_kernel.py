"""Σ as a kernel of linear cost: actions are similar as members of groups, by their features."""

from typing import Any, Self

import torch as th
from torch import Tensor, nn

from macro_gym import MacroSet
from sb3_masp.similarity.base import SimilarityError, off_diagonal
from sb3_masp.similarity.described import DescribedSimilarity
from sb3_masp.similarity.factored import FactoredSimilarity, Factors
from sb3_masp.similarity.matrices import beside_diagonal, spread

FITTED = 512
"""Most actions on which the start is fitted."""


class GroupKernelSimilarity(FactoredSimilarity, DescribedSimilarity):
    """``Σ_ij ∝ Σ_k M_k(φ_i)·E_k(φ_j)`` off the diagonal: a low-rank Σ read from features.

    φ are the features of the actions' primitives (`macro_features`). M is a softmax over groups of
    ``Bφ + b`` and says which groups an action belongs to. E is a softmax over actions of ``Cφ`` and
    says which actions a group holds, with a uniform share that keeps every row's entropy above
    ``entropy_floor``. B, b and C are learned; they apply to features, not to actions, so that what
    is learned holds for other macros.

    Cost, at rank r with d features: r·(2d + 1) parameters, none of them per action, and 2·A·r
    operations per row of values; nothing grows with A².

    Args:
        initial: Initial matrix, shape ``(actions, actions)``, non-negative with positive row sums
            off the diagonal. A uniform one is met exactly; to others, B, b and C are fitted by the
            rows' cross-entropy on at most 512 actions, so that a matrix unrelated to features (a
            random one) ends near uniform.
        macro_set: The environment's macros.
        rank: r, the number of groups.
        entropy_floor: Least entropy of each row as a share of a uniform row's, in (0, 1): at h, an
            action effectively has at least ``(A−1)^h`` neighbours.
        seed: Seed of the groups that the fit starts from.
        fit_steps: Most steps of the fit.

    Raises:
        SimilarityError: ``initial``, ``rank`` or ``entropy_floor`` is invalid, or the macro
            set has another number of actions.
    """

    form = "group_kernel"
    has_diagonal = False

    def __init__(
        self,
        initial: Tensor,
        macro_set: MacroSet,
        rank: int = 16,
        entropy_floor: float = 0.2,
        seed: int | None = None,
        fit_steps: int = 50,
    ) -> None:
        """Draw groups and fit them to the start."""
        super().__init__(initial, macro_set, entropy_floor)
        if rank < 1:
            raise SimilarityError(f"rank is {rank}; it is how many groups there are, at least 1")
        generator = th.Generator().manual_seed(0 if seed is None else seed)
        n_features = self.features.shape[1]
        drawn = th.randn(rank, n_features, generator=generator).to(initial)
        self.member_weights = nn.Parameter(drawn)
        self.member_biases = nn.Parameter(initial.new_zeros(rank))
        self.group_weights = nn.Parameter(initial.new_zeros(rank, n_features))
        if fit_steps and initial.min() != initial.max():
            self._fit(initial, fit_steps)
        self.keep_start()

    @classmethod
    def for_actions(
        cls, initial: Tensor, macro_set: MacroSet | None = None, seed: int | None = None
    ) -> Self:
        """Build it for the macros of an environment, with the default rank.

        Raises:
            SimilarityError: The environment has none.
        """
        if macro_set is None:
            return super().for_actions(initial)
        return cls(initial, macro_set, seed=seed)

    def factors(self) -> Factors:
        """Return M and E over the actions."""
        return self._factors(self.features)

    def carried_to(self, macro_set: MacroSet) -> Self:
        """Return the same groups over other macros, with primitives matched by name.

        Args:
            macro_set: Other macros, over some or all of the same primitives in any order.

        Raises:
            SimilarityError: It has primitives about which nothing was learned.
        """
        columns, rank = self._columns_of(macro_set), len(self.member_biases)
        uniform = self.member_weights.new_ones(()).expand(macro_set.n_actions, macro_set.n_actions)
        floor = self.entropy_floor
        carried = type(self)(uniform, macro_set, rank, floor)
        with th.no_grad():
            carried.member_weights.copy_(self.member_weights[:, columns])
            carried.member_biases.copy_(self.member_biases)
            carried.group_weights.copy_(self.group_weights[:, columns])
        carried.keep_start()
        return carried

    def settings(self) -> dict[str, Any]:
        """The rank, the macros and the entropy floor; a file's parameters need no fit."""
        return super().settings() | {"rank": len(self.member_biases)}

    def _factors(self, features: Tensor) -> Factors:
        """M and E over actions with these features."""
        members = (features @ self.member_weights.mT + self.member_biases).softmax(dim=1)
        groups = (self.group_weights @ features.mT).softmax(dim=1)
        n_actions = len(features)
        # Without its diagonal, a row is then uniform by the floor or more; entropy is concave.
        share = self.entropy_floor * n_actions / (n_actions - 1 + self.entropy_floor)
        return Factors(members, (1 - share) * groups + share / n_actions)

    def _fit(self, initial: Tensor, steps: int) -> None:
        """Fit the groups to the rows of a matrix off its diagonal."""
        chosen = spread(len(initial), FITTED).to(initial.device)
        wanted = beside_diagonal(initial[chosen][:, chosen], self.form)
        diagonal = ~off_diagonal(wanted)
        with th.no_grad():  # Groups that hold all actions equally give members no gradient.
            self.group_weights.copy_(self.member_weights)
        optimizer = th.optim.LBFGS(self.parameters(), max_iter=steps, line_search_fn="strong_wolfe")

        def cross_entropy() -> Tensor:
            optimizer.zero_grad()
            members, groups = self._factors(self.features[chosen])
            weights = (members @ groups).masked_fill(diagonal, 0.0)
            logs = (weights / weights.sum(dim=1, keepdim=True)).masked_fill(diagonal, 1.0).log()
            loss = -(wanted * logs).sum(dim=1).mean()
            th.autograd.backward(loss)
            return loss

        with th.enable_grad():
            optimizer.step(cross_entropy)  # type: ignore[no-untyped-call]
        optimizer.zero_grad()
