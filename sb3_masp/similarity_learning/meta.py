"""Σ by the paper's meta-gradient: the change that would have improved the network's step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import torch as th
from stable_baselines3.common.type_aliases import PyTorchObs
from stable_baselines3.common.utils import FloatSchedule, update_learning_rate
from torch import Tensor, nn
from torch.func import functional_call

from sb3_masp.batch_norm import untracked
from sb3_masp.metagradient import meta_loss
from sb3_masp.optimizer_vjp import clip_vjp, optimizer_vjp, require_supported
from sb3_masp.samples import MacroReplaySamples
from sb3_masp.similarity.diagnostics import Agreement
from sb3_masp.similarity.health import Collapse
from sb3_masp.similarity_learning.base import InnerStep, SimilarityLearning

if TYPE_CHECKING:
    from sb3_masp.masp import MASP


class MetaLearning(SimilarityLearning):
    """Learns Σ by Adam on the TD loss, on a held-out batch, after the inner step.

    Its settings are the learner's: ``meta_learning_rate``, ``meta_interval``, ``meta_average``,
    ``meta_gradient`` and ``outer_batch_size``.

    Source: arXiv 2506.13690, algorithm 1.
    """

    way = "meta"
    parts: ClassVar[tuple[str, ...]] = ("optimizer", "gradients", "agreement")
    needs_parameters = True
    keeps_graph: ClassVar[bool] = False
    """Whether the outer loss is differentiated again later."""
    remedies: ClassVar[Mapping[Collapse, str]] = {
        "identity": "Lower or decay meta_learning_rate, or choose a similarity without a "
        "diagonal, such as 'softmax'",
        "uniform": "Lower or decay meta_learning_rate, or begin at another similarity_start",
    }

    optimizer: th.optim.Adam
    gradients: nn.ParameterList
    """Partial averages of gradients, in the order of Σ's parameters."""
    agreement: Agreement
    """Agreement of the gradients along which Σ moved."""

    def set_up(self, learner: MASP) -> None:
        """Build Σ's optimizer."""
        parameters = list(learner.similarity.parameters())
        # Meta-gradients have norms of 1e-7 to 1e-5 over A² entries; Adam's usual ε would hide
        # them.
        self.optimizer = th.optim.Adam(parameters, lr=1.0, eps=1e-15)
        self.gradients = nn.ParameterList(
            nn.Parameter(th.zeros_like(p), requires_grad=False) for p in parameters
        )
        self.agreement = Agreement(sum(p.numel() for p in parameters)).to(learner.device)

    def require_support(self, learner: MASP) -> None:
        """Reject optimizers that cannot be differentiated through.

        Raises:
            UnsupportedOptimizerError: The network's is one of them.
        """
        require_supported(learner.policy.optimizer, "similarity_frozen=True")

    def is_due(self, learner: MASP) -> bool:
        """Whether it is the first update or a ``meta_interval``-th one after it."""
        return learner._n_updates % learner.meta_interval == 0

    def step(self, learner: MASP, inner: InnerStep) -> None:
        """Take an outer step on a newly sampled batch."""
        self.require_support(learner)  # similarity_frozen may have been lifted since
        size = learner.outer_batch_size or len(inner.batch.actions)
        self.outer_step(learner, inner, learner._sample(size))

    def outer_step(self, learner: MASP, inner: InnerStep, outer: MacroReplaySamples) -> None:
        """Add the exact gradient to the average, and move Σ along it once it is complete."""
        learner._run(self._average, learner, inner, outer)
        if (learner._n_updates // learner.meta_interval + 1) % learner.meta_average == 0:
            rate = FloatSchedule(learner.meta_learning_rate)(learner._current_progress_remaining)
            update_learning_rate(self.optimizer, rate)
            learner._run.hold(self.optimizer)
            learner._run(self._move, learner)

    def figures(self) -> dict[str, float]:
        """``meta/cosine``, the mean cosine between gradients, once there are enough."""
        return self.agreement.told()

    def _average(self, learner: MASP, inner: InnerStep, outer: MacroReplaySamples) -> None:
        """Add the exact gradient to the average."""
        with untracked(learner._norms):
            loss = self._outer_loss(learner, outer)
            gradients = _gradients(learner, inner, loss, self.keeps_graph)
        for total, gradient in zip(self.gradients, gradients, strict=True):
            total += gradient / learner.meta_average
        learner._run.note("meta/outer_loss", loss)

    def _outer_loss(self, learner: MASP, outer: MacroReplaySamples) -> Tensor:
        """The TD loss."""
        return learner._td_loss(outer).loss

    def _move(self, learner: MASP) -> None:
        """Take Adam's step along the average, and reset it."""
        self.agreement.add(list(self.gradients))
        norm = nn.utils.get_total_norm(list(self.gradients))
        learner._run.note("meta/gradient_norm", norm)
        for parameter, total in zip(learner.similarity.parameters(), self.gradients, strict=True):
            parameter.grad = total.detach().clone()
            total.zero_()
        self.optimizer.step()


def _gradients(
    learner: MASP, inner: InnerStep, outer_loss: Tensor, keep_graph: bool
) -> tuple[Tensor, ...]:
    """Gradients of the outer loss with respect to Σ's parameters."""
    names = [name for name, _ in learner._network.named_parameters()]
    chosen = _chosen_parameters(learner, names)
    parameters = [p for name, p in learner._network.named_parameters() if name in chosen]
    before = dict(zip(names, inner.before, strict=True))

    cotangents = th.autograd.grad(
        outer_loss, parameters, retain_graph=keep_graph, materialize_grads=True
    )
    past_step = optimizer_vjp(
        learner.policy.optimizer, parameters, cotangents, [before[name] for name in chosen]
    )
    past_clipping = _past_clipping(learner, past_step, parameters, inner)
    surrogate = meta_loss(
        lambda point: _q_values_at(learner, point, inner.batch.observations),
        before,
        dict(zip(chosen, past_clipping, strict=True)),
        learner.similarity.mixer(inner.features),
        learner._run.scalar("eta", learner.current_eta),
        learner.penalty_reduction,
        inner.outputs,
    )
    return th.autograd.grad(
        surrogate, list(learner.similarity.parameters()), materialize_grads=True
    )


def _chosen_parameters(learner: MASP, names: list[str]) -> list[str]:
    """Parameters whose part of the meta-gradient is computed: all, or the last layer's."""
    if learner.meta_gradient == "exact":
        return names
    layers = [name.rpartition(".")[0] for name in names]
    last = {layer.partition(".")[0]: layer for layer in layers}
    chosen = [last[part] for part in learner.value_parts if part in last]
    return [name for name, layer in zip(names, layers, strict=True) if layer in chosen]


def _past_clipping(
    learner: MASP, cotangents: list[Tensor], parameters: list[nn.Parameter], inner: InnerStep
) -> list[Tensor]:
    """Pull cotangents of the clipped gradients back to before the clipping."""
    norm, limit = inner.gradient_norm, learner.max_grad_norm
    if norm is None or limit is None:
        return cotangents
    # Asking a device whether it clipped would wait for it.
    if norm.is_cpu and norm + 1e-6 <= limit:
        return cotangents
    clipped = [th.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    return clip_vjp(cotangents, clipped, norm, limit)


def _q_values_at(
    learner: MASP, parameters: Mapping[str, Tensor], observations: PyTorchObs
) -> Tensor:
    """Q(s, ·) of the network at given parameters, shape ``(batch, actions)``."""
    outputs = functional_call(learner._network, dict(parameters), (observations,))
    return learner._expected_values(outputs)
