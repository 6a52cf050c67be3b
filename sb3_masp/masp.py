"""MASP: the penalty, Σ, and when Σ is learned, which all MASP learners share."""

import copy
import math
import warnings
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, cast

import torch as th
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.policies import BaseModel, BasePolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import GymEnv, PyTorchObs, Schedule
from stable_baselines3.common.utils import FloatSchedule
from torch import Tensor, nn
from torch.optim import Optimizer

from sb3_masp.batch_norm import untracked
from sb3_masp.buffers import MacroReplayBuffer, MacroReplaySamples
from sb3_masp.conditioning import ConditionedPolicy
from sb3_masp.losses import Reduction, similarity_penalty
from sb3_masp.macro_learner import MacroLearner
from sb3_masp.macro_model import require_setting, with_own
from sb3_masp.similarity import SIMILARITIES, Similarity
from sb3_masp.similarity.diagnostics import findings, penalty_pull
from sb3_masp.similarity.embedding import EMBEDDINGS, Embedding
from sb3_masp.similarity.forms import make_similarity
from sb3_masp.similarity.health import (
    Collapse,
    collapse,
    rows_to_look_at,
    similarity_health,
    unevenness,
)
from sb3_masp.similarity.initial import Start
from sb3_masp.similarity.size import warn_of_dense_embedding, warn_of_matrix
from sb3_masp.similarity_learning import (
    InnerStep,
    SimilarityLearning,
    make_similarity_learning,
)


class MASP(MacroLearner):
    """Adds the similarity penalty and the learned Σ to a value learner.

    Subclasses list it before the learner (``class MASPDQN(MASP, DQN)``) and define their networks
    and their TD loss. Arguments not named here are passed on to that learner.

    Args:
        policy: Name or class of a policy.
        env: The environment, or its id.
        policy_kwargs: Arguments of the policy.
        eta: η, weight of the penalty, or a schedule.
        meta_learning_rate: β, learning rate of Σ's Adam, or a schedule.
        meta_interval: Updates per outer step.
        meta_average: Outer steps whose gradients are averaged into one step of Σ.
        outer_batch_size: Decisions in an outer batch; as in an inner one if None.
        meta_gradient: ``"exact"`` or ``"last_layer"``.
        penalty_reduction: ``"mean"`` or ``"sum"`` over actions.
        similarity: Form of Σ, or a `Similarity`, which is copied.
        similarity_start: Initial Σ of a named form.
        similarity_frozen: Keep the initial Σ.
        similarity_learning: How Σ is learned, or a `SimilarityLearning`, which is copied.
        embedding_dim: Length of e_Σ, on which Q is conditioned; 0 for no conditioning.
        embedding: W_emb: ``"factored"`` or ``"dense"``.
        kwargs: As for the learner.

    Raises:
        LearnerSettingError: A setting is out of range.
    """

    conditioned_policies: ClassVar[Mapping[type[BasePolicy], type[ConditionedPolicy]]]
    """Maps SB3's policy classes to the conditioned ones that replace them when given as a class."""

    value_parts: ClassVar[tuple[str, ...]]
    """Names of the network's modules that output the values."""

    kept_at_loading: ClassVar[tuple[str, ...]] = (
        "similarity",
        "similarity_start",
        "similarity_learning",
        "embedding_dim",
        "embedding",
    )

    similarity: Similarity
    similarity_learning: SimilarityLearning
    batch_norm_stats: list[Tensor]
    batch_norm_stats_target: list[Tensor]

    _similarity_has_moved = False
    _warned_of: tuple[str, ...] = ()

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: GymEnv | str,
        *,
        policy_kwargs: dict[str, Any] | None,
        eta: float | Schedule,
        meta_learning_rate: float | Schedule,
        meta_interval: int,
        meta_average: int,
        outer_batch_size: int | None,
        meta_gradient: Literal["exact", "last_layer"],
        penalty_reduction: Reduction,
        similarity: str | Similarity,
        similarity_start: Start,
        similarity_frozen: bool,
        similarity_learning: str | SimilarityLearning,
        embedding_dim: int,
        embedding: Embedding,
        **kwargs: Any,
    ) -> None:
        """Store the settings of MASP, then build the learner."""
        self.eta = eta
        self.meta_learning_rate = meta_learning_rate
        self.meta_interval = meta_interval
        self.meta_average = meta_average
        self.outer_batch_size = outer_batch_size
        self.meta_gradient = meta_gradient
        self.penalty_reduction = penalty_reduction
        self.similarity_form = similarity
        self.similarity_start = similarity_start
        self.similarity_frozen = similarity_frozen
        self.similarity_way = similarity_learning
        require_setting("embedding_dim", embedding_dim, embedding_dim >= 0, "at least 0")
        require_setting(
            "embedding", embedding, embedding in EMBEDDINGS, f"one of {', '.join(EMBEDDINGS)}"
        )
        if not isinstance(policy, str):
            policy = self.conditioned_policies.get(policy, policy)
        if isinstance(policy, str) or issubclass(policy, ConditionedPolicy):
            ours = {"embedding_dim": embedding_dim, "embedding": embedding}
            policy_kwargs = with_own(policy_kwargs, ours, ours)
        elif embedding_dim and kwargs["_init_setup_model"]:
            module = next(iter(self.conditioned_policies.values())).__module__
            warnings.warn(
                f"{policy.__name__} is not conditioned on Σ: derive it from a policy of "
                f"{module}, or say embedding_dim=0.",
                stacklevel=3,
            )
        super().__init__(policy, env, policy_kwargs=policy_kwargs, **kwargs)
        if kwargs["_init_setup_model"] and not similarity_frozen:
            self._require_start_that_counts(similarity, similarity_start)

    def _require_settings(self) -> None:
        """Reject settings that are out of range.

        Raises:
            LearnerSettingError: A setting is out of range.
        """
        for name in ("eta", "meta_learning_rate"):
            value = getattr(self, name)
            fits = callable(value) or 0 <= value < math.inf
            require_setting(name, value, fits, "at least 0, and finite, or a schedule")
        for name in ("meta_interval", "meta_average", "outer_batch_size"):
            value = getattr(self, name)
            whole = isinstance(value, int) and value >= 1
            unsaid = value is None and name == "outer_batch_size"
            require_setting(name, value, whole or unsaid, "1, 2, 3, ...")
        for name, allowed in (
            ("meta_gradient", ("exact", "last_layer")),
            ("penalty_reduction", ("mean", "sum")),
        ):
            value = getattr(self, name)
            require_setting(name, value, value in allowed, " or ".join(map(repr, allowed)))

    def _require_start_that_counts(self, similarity: str | Similarity, start: Start) -> None:
        """Reject an initial Σ that the way of learning Σ would overwrite unread.

        Raises:
            LearnerSettingError: It would be overwritten.
        """
        way = self.similarity_learning
        allowed = f"left out, since {type(way).__name__} writes Σ anew; or freeze it"
        named = isinstance(similarity, str) and similarity in SIMILARITIES
        require_setting("similarity_start", start, way.keeps_start or start == "uniform", allowed)
        require_setting("similarity", similarity, way.keeps_start or named, allowed)

    @property
    def current_eta(self) -> float:
        """η at this point of the run."""
        return FloatSchedule(self.eta)(self._current_progress_remaining)

    @property
    def learns_similarity(self) -> bool:
        """Whether Σ is learned at this point of the run."""
        return self.current_eta != 0 and self.similarity.is_learned and not self.similarity_frozen

    @property
    def _is_sb3s(self) -> bool:
        """Whether there is no penalty, no conditioning and no other addition to SB3's learner."""
        conditioned = hasattr(self._network, "similarity_embedding")
        return super()._is_sb3s and not self.current_eta and not conditioned

    @property
    def n_trunk_features(self) -> int:
        """Number of `trunk_features`."""
        of_state = cast(BaseFeaturesExtractor, self._network.features_extractor).features_dim
        return sum(
            cast(nn.Linear, layers[-1]).in_features if len(layers) > 1 else of_state
            for layers in self._value_layers()
        )

    def trunk_features(self, observations: PyTorchObs) -> Tensor:
        """Inputs of the network's last layers, detached, shape ``(batch, features)``.

        Where the last layers are also the first ones, as with images, these are the state's
        features alone: e_Σ is the same in every state.
        """
        network = cast(BaseModel, self._network)
        extractor = cast(BaseFeaturesExtractor, network.features_extractor)
        with th.no_grad(), untracked(self._norms):
            features = network.extract_features(observations, extractor)
            of_state = features[:, : extractor.features_dim]
            return th.cat(
                [
                    layers[:-1](features) if len(layers) > 1 else of_state
                    for layers in self._value_layers()
                ],
                dim=1,
            )

    def _value_layers(self) -> list[nn.Sequential]:
        """The modules in `value_parts`, as layers."""
        return [getattr(self._network, p) for p in self.value_parts if hasattr(self._network, p)]

    def _expected_values(self, outputs: Tensor) -> Tensor:
        """Q(s, ·), shape ``(batch, actions)``, from the network's outputs."""
        return outputs

    def _update(self, batch_size: int) -> None:
        """Take an inner step, and a step of Σ if due."""
        way = self.similarity_learning
        is_due = self.learns_similarity and way.is_due(self)
        inner = way.inner_batch(self, batch_size)
        step = self._inner_step(inner, keep=is_due and way.needs_parameters)
        if is_due:
            way.step(self, step)
            self._show_similarity()

    def _inner_step(self, inner: MacroReplaySamples, keep: bool) -> InnerStep:
        """Move the network along the gradient of the TD loss plus η times the penalty."""
        step: InnerStep = self._run(self._penalised_step, inner, keep)
        self._learned_from(inner, step.td_errors)
        return step

    def _penalised_step(self, inner: MacroReplaySamples, keep: bool) -> InnerStep:
        """The device part of `_inner_step`."""
        td, outputs = self.similarity_learning.evaluate(self, inner, note=keep)
        loss, eta, features = td.loss, self.current_eta, None
        if eta:
            if self.similarity.reads_features:
                features = self.trunk_features(inner.observations)
            with th.no_grad():
                mix = self.similarity.mixer(features)
            penalty = similarity_penalty(td.q_values, mix, self.penalty_reduction)
            loss = loss + self._run.scalar("eta", eta) * penalty
            self._run.note("train/penalty", penalty)
        before = [p.detach().clone() for p in self._network.parameters()] if keep else []
        norm = self._step(loss)
        self._run.note("train/loss", td.loss)
        return InnerStep(inner, td.targets, features, before, norm, outputs, td.td_errors)

    def _device_settings(self) -> tuple[Any, ...]:
        """Settings that the device parts of an update read."""
        ours = self.penalty_reduction, self.meta_gradient, self.meta_average
        return *super()._device_settings(), bool(self.current_eta), *ours

    def _optimizers(self) -> list[Optimizer]:
        """The optimizers that step during updates."""
        of_similarity = getattr(self.similarity_learning, "optimizer", None)
        return [*super()._optimizers(), *([of_similarity] if of_similarity else [])]

    def _anneal(self) -> None:
        """Anneal as the learner does, and log the current η."""
        super()._anneal()
        self._run.scalar("eta", self.current_eta)
        self.logger.record("train/eta", self.current_eta)

    def _show_similarity(self) -> None:
        """Show the current Σ to the network, if it is conditioned."""
        embedding = getattr(self._network, "similarity_embedding", None)
        if embedding is not None:
            embedding.show(self.similarity)

    def dump_logs(self) -> None:
        """Write the log with diagnostics of Σ, and warn of each problem once."""
        self._run.log()  # the warnings below read what is logged
        actions = rows_to_look_at(self.similarity.n_actions).to(self.device)
        with th.no_grad():
            rows, start = self.similarity.rows(actions), self.similarity.start_rows(actions)
        for name, value in similarity_health(rows, start, actions).items():
            self.logger.record(f"similarity/{name}", value)
        self.logger.record("similarity/unevenness", float(unevenness(rows, actions)))
        if "train/penalty" in self.logger.name_to_value:
            penalty = self.logger.name_to_value["train/penalty"]
            pull = penalty_pull(
                penalty, self.current_eta, self.similarity.n_actions, self.penalty_reduction
            )
            self.logger.record("similarity/pull", pull)
        for name, value in self.similarity_learning.figures().items():
            self.logger.record(name, value)
        self._warn(collapse(rows, actions), collapse(start, actions))
        super().dump_logs()

    def _warn(self, collapsed: Collapse | None, at_start: Collapse | None) -> None:
        """Warn of problems in the log that have not been warned of yet."""
        figures = self.logger.name_to_value
        self._similarity_has_moved |= collapsed is None or collapsed != at_start
        remedies = self.similarity_learning.remedies
        found = findings(
            figures,
            collapsed if self._similarity_has_moved else None,
            remedies.get(collapsed or "uniform", "See what similarity_learning does"),
            self.current_eta,
            self.penalty_reduction,
        )
        for name, text in found.items():
            if name not in self._warned_of:
                self._warned_of += (name,)
                warnings.warn(f"after {self._n_updates} updates, {text}.", stacklevel=2)

    def _setup_model(self) -> None:
        """Build the learner, then Σ, what learns it, and its copy to the target network."""
        # Here rather than in the constructor, since `load` changes settings in between.
        self._require_settings()
        n_actions = int(cast(spaces.Discrete, self.action_space).n)
        if self.policy_kwargs.get("embedding") == "dense":
            warn_of_dense_embedding(n_actions, self.policy_kwargs["embedding_dim"])
        self.similarity_learning = make_similarity_learning(self.similarity_way)
        super()._setup_model()
        similarity = make_similarity(
            self.similarity_form, self.similarity_start, n_actions, self.macro_set, self.seed
        )
        warn_of_matrix(similarity)
        # A file has been read by now, and need not be there to load the model.
        self.similarity_start = "uniform"
        if self.similarity_form not in SIMILARITIES:
            self.similarity_form = copy.deepcopy(similarity)
        self.similarity = similarity.to(self.device)
        if self.similarity.reads_features:
            self.similarity.read(self.n_trunk_features)
        self.similarity.keep_start()  # a Σ from a file or an argument may have another start
        self.similarity_learning.set_up(self)
        if not self.similarity_frozen:
            self._require_learnable()
        self._show_similarity()
        online, target = (
            getattr(network, "similarity_embedding", None)
            for network in (self._network, self._target_network)
        )
        if online is not None and target is not None:
            # SB3 copies these at every target update, as it does running statistics.
            self.batch_norm_stats.append(online.shown)
            self.batch_norm_stats_target.append(target.shown)
            target.shown.copy_(online.shown)

    def _require_learnable(self) -> None:
        """Reject a learner whose Σ, unless it is frozen, would be learned but cannot be.

        Raises:
            UnsupportedOptimizerError: Σ cannot be learned through the network's optimizer.
        """
        if self.eta != 0 and self.similarity.is_learned:  # a schedule may yet leave 0
            self.similarity_learning.require_support(self)

    def _require_buffer(self, kind: type[ReplayBuffer]) -> None:
        """Reject a class of replay buffers that does not support a setting.

        Raises:
            LearnerSettingError: It does not.
        """
        way = self.similarity_learning
        fits = issubclass(kind, MacroReplayBuffer) or not way.needs_indices
        require_setting("replay_buffer_class", kind, fits, f"MacroReplayBuffer with {way.way}")
        super()._require_buffer(kind)

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        """Names of what is saved as state dicts, and as tensors."""
        state_dicts, tensors = super()._get_torch_save_params()
        parts = (f"similarity_learning.{part}" for part in self.similarity_learning.parts)
        return [*state_dicts, "similarity", *parts], tensors
