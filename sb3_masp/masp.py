"""What every MASP learner shares: the penalty, Σ, and the outer step that learns it."""

import math
import warnings
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple, cast

import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, PyTorchObs, Schedule
from stable_baselines3.common.utils import FloatSchedule, update_learning_rate
from torch import Tensor, nn
from torch.func import functional_call

from sb3_masp.buffers import MacroReplaySamples
from sb3_masp.conditioning import ConditionedPolicy
from sb3_masp.losses import Reduction, similarity_penalty
from sb3_masp.macro_learner import MacroLearner, require_setting
from sb3_masp.metagradient import meta_loss
from sb3_masp.optimizer_vjp import clip_vjp, optimizer_vjp, require_supported
from sb3_masp.similarity import Similarity
from sb3_masp.similarity.embedding import EMBEDDINGS, Embedding
from sb3_masp.similarity.forms import make_similarity
from sb3_masp.similarity.health import collapse, similarity_health
from sb3_masp.similarity.initial import Start


class InnerStep(NamedTuple):
    """What the outer step needs of the inner one.

    Args:
        observations: Of the inner batch.
        before: The parameters before the step, in the order of the network's.
        gradient_norm: Norm of the gradient before clipping, shape ``()``; None without clipping.
    """

    observations: PyTorchObs
    before: list[Tensor]
    gradient_norm: Tensor | None


class MASP(MacroLearner):
    """Adds the similarity penalty and the meta-learned Σ to a value learner.

    Subclasses put it before the learner (``class MASPDQN(MASP, DQN)``) and say what their
    networks and their TD loss are. What is not named here goes on to the learner behind it.

    Args:
        policy: Name or class of a policy.
        env: The environment, or its id.
        policy_kwargs: Of the policy.
        eta: η, weight of the penalty.
        meta_learning_rate: β of Σ's Adam; may be a schedule.
        meta_interval: Updates for one outer step.
        meta_gradient: ``"exact"`` or ``"last_layer"``.
        penalty_reduction: ``"mean"`` or ``"sum"`` over actions.
        similarity: Form of Σ, or a `Similarity`, which is copied.
        similarity_start: What a named form starts from.
        similarity_frozen: Keep Σ as it starts.
        embedding_dim: Length of e_Σ, on which Q is conditioned; 0 for no conditioning.
        embedding: W_emb: ``"factored"`` or ``"dense"``.
        kwargs: As the learner's.

    Raises:
        LearnerSettingError: A setting is out of range.
    """

    conditioned_policies: ClassVar[Mapping[type[BasePolicy], type[ConditionedPolicy]]]
    """The learner's own policies and ours that stand for them, where a script names the class."""

    value_parts: ClassVar[tuple[str, ...]]
    """Names of the network's parts that end in the values."""

    similarity: Similarity
    meta_optimizer: th.optim.Adam
    batch_norm_stats: list[Tensor]
    batch_norm_stats_target: list[Tensor]

    _similarity_has_moved = False
    _warned_of_collapse = False

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: GymEnv | str,
        *,
        policy_kwargs: dict[str, Any] | None,
        eta: float,
        meta_learning_rate: float | Schedule,
        meta_interval: int,
        meta_gradient: Literal["exact", "last_layer"],
        penalty_reduction: Reduction,
        similarity: str | Similarity,
        similarity_start: Start,
        similarity_frozen: bool,
        embedding_dim: int,
        embedding: Embedding,
        **kwargs: Any,
    ) -> None:
        """Note what is ours, and let the learner build the rest."""
        self.eta = eta
        self.meta_learning_rate = meta_learning_rate
        self.meta_interval = meta_interval
        self.meta_gradient = meta_gradient
        self.penalty_reduction = penalty_reduction
        self.similarity_form = similarity
        self.similarity_start = similarity_start
        self.similarity_frozen = similarity_frozen
        self._require_settings()
        require_setting("embedding_dim", embedding_dim, embedding_dim >= 0, "at least 0")
        require_setting(
            "embedding", embedding, embedding in EMBEDDINGS, f"one of {', '.join(EMBEDDINGS)}"
        )
        if not isinstance(policy, str):
            policy = self.conditioned_policies.get(policy, policy)
        if isinstance(policy, str) or issubclass(policy, ConditionedPolicy):
            ours = {"embedding_dim": embedding_dim, "embedding": embedding}
            policy_kwargs = (policy_kwargs or {}) | ours
        elif embedding_dim and kwargs["_init_setup_model"]:
            module = next(iter(self.conditioned_policies.values())).__module__
            warnings.warn(
                f"{policy.__name__} is not conditioned on Σ: derive it from a policy of "
                f"{module}, or say embedding_dim=0.",
                stacklevel=3,
            )
        super().__init__(policy, env, policy_kwargs=policy_kwargs, **kwargs)

    def _require_settings(self) -> None:
        """Refuse settings that are out of range.

        Raises:
            LearnerSettingError: One is.
        """
        rate, interval = self.meta_learning_rate, self.meta_interval
        whole = isinstance(interval, int) and interval >= 1
        fits = callable(rate) or 0 <= rate < math.inf
        require_setting("eta", self.eta, 0 <= self.eta < math.inf, "at least 0, and finite")
        require_setting("meta_learning_rate", rate, fits, "at least 0, and finite, or a schedule")
        require_setting("meta_interval", interval, whole, "1, 2, 3, ...")
        for name, allowed in (
            ("meta_gradient", ("exact", "last_layer")),
            ("penalty_reduction", ("mean", "sum")),
        ):
            value = getattr(self, name)
            require_setting(name, value, value in allowed, " or ".join(map(repr, allowed)))

    def _expected_values(self, outputs: Tensor) -> Tensor:
        """Q(s, ·), shape ``(batch, actions)``, of what the network gives for observations."""
        return outputs

    def _update(self, batch_size: int) -> None:
        """Take an inner step, and an outer one where it is due."""
        meta_step_is_due = self._meta_step_is_due()
        step = self._inner_step(self._sample(batch_size), keep=meta_step_is_due)
        if meta_step_is_due:
            self._outer_step(step, self._sample(batch_size))

    def _inner_step(self, inner: MacroReplaySamples, keep: bool) -> InnerStep:
        """Move the network along the gradient of the TD loss plus η times the penalty."""
        td = self._td_loss(inner)
        loss = td.loss
        if self.eta:
            similarity = self.similarity().detach()
            penalty = similarity_penalty(td.q_values, similarity, self.penalty_reduction)
            loss = loss + self.eta * penalty
            self.logger.record_mean("train/penalty", penalty.item())
        before = [p.detach().clone() for p in self._network.parameters()] if keep else []
        norm = self._step(loss)
        self._learned_from(inner, td)
        return InnerStep(inner.observations, before, norm)

    def _outer_step(self, step: InnerStep, outer: MacroReplaySamples) -> None:
        """Move Σ along the exact gradient of the TD loss that the inner step led to."""
        loss = self._td_loss(outer).loss
        names = [name for name, _ in self._network.named_parameters()]
        chosen = self._meta_parameters(names)
        parameters = [p for name, p in self._network.named_parameters() if name in chosen]
        before = dict(zip(names, step.before, strict=True))

        cotangents = th.autograd.grad(loss, parameters, materialize_grads=True)
        past_step = optimizer_vjp(
            self.policy.optimizer, parameters, cotangents, [before[name] for name in chosen]
        )
        surrogate = meta_loss(
            lambda point: self._q_values_at(point, step.observations),
            before,
            dict(zip(chosen, self._past_clipping(past_step, parameters, step), strict=True)),
            self.similarity(),
            self.eta,
            self.penalty_reduction,
        )
        self.meta_optimizer.zero_grad()
        th.autograd.backward(surrogate)
        self.logger.record_mean("meta/outer_loss", loss.item())
        self.logger.record_mean("meta/gradient_norm", self._similarity_gradient_norm())
        self.meta_optimizer.step()
        self._show_similarity()

    def _past_clipping(
        self, cotangents: list[Tensor], parameters: list[nn.Parameter], step: InnerStep
    ) -> list[Tensor]:
        """Pull cotangents of the parameters' clipped gradients back to before the clipping."""
        if self.max_grad_norm is None or step.gradient_norm is None:
            return cotangents
        clipped = [th.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        return clip_vjp(cotangents, clipped, step.gradient_norm, self.max_grad_norm)

    def _q_values_at(self, parameters: Mapping[str, Tensor], observations: PyTorchObs) -> Tensor:
        """Q(s, ·) of the network at other parameters, shape ``(batch, actions)``."""
        outputs = functional_call(self._network, dict(parameters), (observations,))
        return self._expected_values(outputs)

    def _meta_step_is_due(self) -> bool:
        """Whether this update is followed by an outer step."""
        learns = self.eta != 0 and self.similarity.is_learned and not self.similarity_frozen
        return learns and self._n_updates % self.meta_interval == 0

    def _meta_parameters(self, names: list[str]) -> list[str]:
        """The parameters whose part of the meta-gradient is computed: all, or the last layer's."""
        if self.meta_gradient == "exact":
            return names
        layers = [name.rpartition(".")[0] for name in names]
        last = {layer.partition(".")[0]: layer for layer in layers}
        chosen = [last[part] for part in self.value_parts if part in last]
        return [name for name, layer in zip(names, layers, strict=True) if layer in chosen]

    def _similarity_gradient_norm(self) -> float:
        """Norm of the gradient that Σ's parameters have just received."""
        gradients = [p.grad for p in self.similarity.parameters() if p.grad is not None]
        return float(nn.utils.get_total_norm(gradients))

    def _anneal(self) -> None:
        """Follow the schedule of β too."""
        super()._anneal()
        schedule = FloatSchedule(self.meta_learning_rate)
        update_learning_rate(self.meta_optimizer, schedule(self._current_progress_remaining))

    def _show_similarity(self) -> None:
        """Tell the conditioned network, if it is one, which Σ is in force."""
        shown = getattr(self._network, "similarity", None)
        if shown is not None:
            shown.copy_(self.similarity().detach())

    def dump_logs(self) -> None:
        """Write the log, with Σ's health, and warn once if Σ has collapsed."""
        similarity = self.similarity().detach()
        for name, value in similarity_health(similarity, self.similarity.start).items():
            self.logger.record(f"similarity/{name}", value)
        self._watch_for_collapse(similarity)
        super().dump_logs()

    def _watch_for_collapse(self, similarity: Tensor) -> None:
        """Warn once when Σ, having been something else, has become identity or uniform."""
        state = collapse(similarity)
        if state is None or state != collapse(self.similarity.start):
            self._similarity_has_moved = True
        if state is not None and self._similarity_has_moved and not self._warned_of_collapse:
            self._warned_of_collapse = True
            effect = "penalises nothing" if state == "identity" else "treats all actions alike"
            warnings.warn(
                f"Σ has collapsed to {state} after {self._n_updates} updates: the penalty now "
                f"{effect}. A smaller or decayed meta_learning_rate, or a form without a "
                "diagonal, helps; see the similarity/ values in the log.",
                stacklevel=2,
            )

    def _setup_model(self) -> None:
        """Build the learner's parts, then Σ, what learns it, and its way to the target network."""
        super()._setup_model()
        n_actions = int(cast(spaces.Discrete, self.action_space).n)
        self.similarity = make_similarity(
            self.similarity_form, self.similarity_start, n_actions, self.macro_set, self.seed
        ).to(self.device)
        self.similarity_start = "uniform"  # done with; a file need not be there to load the model
        # Meta-gradients have norms of 1e-7 to 1e-5 over A² entries; Adam's usual ε would hide
        # them.
        self.meta_optimizer = th.optim.Adam(self.similarity.parameters(), lr=1.0, eps=1e-15)
        if self.eta and not self.similarity_frozen:
            require_supported(self.policy.optimizer)
        self._show_similarity()
        online, target = (
            getattr(network, "similarity", None)
            for network in (self._network, self._target_network)
        )
        if online is not None and target is not None:
            # SB3 copies these, as it does running statistics, at every target update.
            self.batch_norm_stats.append(online)
            self.batch_norm_stats_target.append(target)
            target.copy_(online)

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        """What is saved as state dicts and as tensors."""
        state_dicts, tensors = super()._get_torch_save_params()
        return [*state_dicts, "similarity", "meta_optimizer"], tensors
