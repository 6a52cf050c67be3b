"""What every MASP learner shares: the inner step, the outer step, and Σ's place in a model."""

import copy
import io
import math
import pathlib
import warnings
from abc import ABC, abstractmethod
from typing import Any, Literal, NamedTuple, TypeVar, cast

import gymnasium as gym
import torch as th
from gymnasium import spaces
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.save_util import load_from_zip_file
from stable_baselines3.common.type_aliases import GymEnv, PyTorchObs, Schedule
from stable_baselines3.common.utils import FloatSchedule, update_learning_rate
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn
from torch.func import functional_call

from macro_gym import MacroSet
from macro_gym.errors import FrameSkipError, MacroGymError, MacroSetMismatchError
from sb3_masp.buffers import MacroReplayBuffer, MacroReplaySamples
from sb3_masp.losses import Reduction, similarity_penalty
from sb3_masp.metagradient import meta_loss
from sb3_masp.optimizer_vjp import clip_vjp, optimizer_vjp, require_supported
from sb3_masp.similarity import Similarity, SimilarityError
from sb3_masp.similarity.forms import make_similarity
from sb3_masp.similarity.health import collapse, similarity_health
from sb3_masp.similarity.initial import Start

SelfMASP = TypeVar("SelfMASP", bound="MASP")


class MASPSettingError(MacroGymError, ValueError):
    """A setting of a MASP learner that is out of range."""


def require_setting(name: str, value: object, fits: bool, allowed: str) -> None:
    """Refuse a setting that does not fit.

    Raises:
        MASPSettingError: It does not; the message says what is allowed.
    """
    if not fits:
        raise MASPSettingError(f"{name} is {value!r}; it must be {allowed}")


class TDLoss(NamedTuple):
    """A batch's TD loss, and what else its computation gave.

    Args:
        loss: Shape ``()``.
        q_values: Expected values Q(s, ·) with their graph, shape ``(batch, actions)``.
        td_errors: Without a graph, shape ``(batch,)``.
    """

    loss: Tensor
    q_values: Tensor
    td_errors: Tensor


class InnerStep(NamedTuple):
    """What the outer step needs of the inner one.

    Args:
        observations: Of the inner batch.
        before: The parameters before the step, in the order of the network's.
        gradient_norm: Norm of the gradient before clipping, shape ``()``.
    """

    observations: PyTorchObs
    before: list[Tensor]
    gradient_norm: Tensor


class MASP(OffPolicyAlgorithm, ABC):
    """Adds the similarity penalty and the meta-learned Σ to an SB3 value learner.

    Subclasses put it before the learner (``class MASPDQN(MASP, DQN)``), set the attributes below
    before calling the learner's constructor, and say what their TD loss is.
    """

    eta: float
    meta_learning_rate: float | Schedule
    meta_interval: int
    meta_gradient: Literal["exact", "last_layer"]
    penalty_reduction: Reduction
    similarity_form: str | Similarity
    similarity_start: Start
    similarity_frozen: bool
    clip_rewards: bool | None
    n_step_decisions: int
    prioritized_replay: bool
    max_grad_norm: float

    similarity: Similarity
    meta_optimizer: th.optim.Adam
    macro_set: MacroSet | None
    replay_buffer: MacroReplayBuffer

    _similarity_has_moved = False
    _warned_of_collapse = False

    @abstractmethod
    def _td_loss(self, batch: MacroReplaySamples) -> TDLoss:
        """The learner's TD loss at its present parameters."""

    def _require_settings(self) -> None:
        """Refuse settings that are out of range.

        Raises:
            MASPSettingError: One is.
        """
        rules = {
            "eta": (self.eta, 0 <= self.eta < math.inf, "at least 0, and finite"),
            "meta_learning_rate": (
                self.meta_learning_rate,
                callable(self.meta_learning_rate) or 0 <= self.meta_learning_rate < math.inf,
                "at least 0, and finite, or a schedule",
            ),
            "meta_interval": (
                self.meta_interval,
                isinstance(self.meta_interval, int) and self.meta_interval >= 1,
                "1, 2, 3, ...",
            ),
            "meta_gradient": (
                self.meta_gradient,
                self.meta_gradient in ("exact", "last_layer"),
                "'exact' or 'last_layer'",
            ),
            "penalty_reduction": (
                self.penalty_reduction,
                self.penalty_reduction in ("mean", "sum"),
                "'mean' or 'sum'",
            ),
        }
        for name, (value, fits, allowed) in rules.items():
            require_setting(name, value, fits, allowed)

    @property
    @abstractmethod
    def _network(self) -> nn.Module:
        """The network that the optimizer trains; called with observations it gives Q(s, ·)."""

    @abstractmethod
    def _last_layer(self, names: list[str]) -> list[str]:
        """Those of the network's parameter names that belong to the layer before the values."""

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        """Take ``gradient_steps`` steps on the TD loss plus the similarity penalty."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        self._anneal()
        for _ in range(gradient_steps):
            meta_step_is_due = self._meta_step_is_due()
            step = self._inner_step(self._sample(batch_size), keep=meta_step_is_due)
            if meta_step_is_due:
                self._outer_step(step, self._sample(batch_size))
            self._n_updates += 1
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")

    def _inner_step(self, inner: MacroReplaySamples, keep: bool) -> InnerStep:
        """Move the network along the gradient of the TD loss plus η times the penalty."""
        td = self._td_loss(inner)
        loss = td.loss
        if self.eta:
            similarity = self.similarity().detach()
            penalty = similarity_penalty(td.q_values, similarity, self.penalty_reduction)
            loss = loss + self.eta * penalty
            self.logger.record_mean("train/penalty", penalty.item())
        self.logger.record_mean("train/loss", td.loss.item())

        self.policy.optimizer.zero_grad()
        th.autograd.backward(loss)
        norm = nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
        before = [p.detach().clone() for p in self._network.parameters()] if keep else []
        self.policy.optimizer.step()
        if self.prioritized_replay:
            self.replay_buffer.update_priorities(inner.indices, td.td_errors)
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
        gradients = [th.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        past_clipping = clip_vjp(past_step, gradients, step.gradient_norm, self.max_grad_norm)
        surrogate = meta_loss(
            lambda point: functional_call(self._network, dict(point), (step.observations,)),
            before,
            dict(zip(chosen, past_clipping, strict=True)),
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

    def _sample(self, batch_size: int) -> MacroReplaySamples:
        """Draw a batch of decisions from the replay buffer."""
        return self.replay_buffer.sample(batch_size, env=self._vec_normalize_env)

    def _meta_step_is_due(self) -> bool:
        """Whether this update is followed by an outer step."""
        learning = self.eta != 0 and not self.similarity_frozen
        return learning and self._n_updates % self.meta_interval == 0

    def _meta_parameters(self, names: list[str]) -> list[str]:
        """The parameters whose part of the meta-gradient is computed: all, or the last layer's."""
        return names if self.meta_gradient == "exact" else self._last_layer(names)

    def _similarity_gradient_norm(self) -> float:
        """Norm of the gradient that Σ's parameters have just received."""
        gradients = [p.grad for p in self.similarity.parameters() if p.grad is not None]
        return float(nn.utils.get_total_norm(gradients))

    def _anneal(self) -> None:
        """Follow the schedules of β and of prioritised replay's importance weights."""
        remaining = self._current_progress_remaining
        update_learning_rate(self.meta_optimizer, FloatSchedule(self.meta_learning_rate)(remaining))
        if self.prioritized_replay:
            self.replay_buffer.importance_exponent = 1 - 0.6 * remaining

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
        """Build the buffer and the networks, then Σ and what learns it."""
        self._recognise_environment()
        super()._setup_model()
        self.similarity = self._make_similarity().to(self.device)
        # Meta-gradients have norms of 1e-7 to 1e-5 over A² entries; Adam's usual ε would hide
        # them.
        self.meta_optimizer = th.optim.Adam(self.similarity.parameters(), lr=1.0, eps=1e-15)
        if self.eta and not self.similarity_frozen:
            require_supported(self.policy.optimizer)
        self._show_similarity()
        if self.verbose >= 1 and isinstance(self.replay_buffer, MacroReplayBuffer):
            print(self.replay_buffer.memory_statement())

    def _make_similarity(self) -> Similarity:
        """Σ as asked for: by the names of a form and a start, or a copy of one given."""
        n_actions = int(cast(spaces.Discrete, self.action_space).n)
        form = self.similarity_form
        if isinstance(form, str):
            return make_similarity(
                form, self.similarity_start, n_actions, self.macro_set, self.seed
            )
        if form.n_actions != n_actions:
            raise SimilarityError(
                f"the similarity given is over {form.n_actions} actions, but the environment has "
                f"{n_actions}"
            )
        return copy.deepcopy(form)

    def _recognise_environment(self) -> None:
        """Note the environment's macro set, and choose the buffer that knows durations."""
        found = None if self.env is None else macro_set_of(self.env)
        # A loaded model brings the macro set that it was trained with.
        self.macro_set = self.__dict__.get("macro_set", found)
        if self.env is not None:
            require_same_macros(self.macro_set, found)
        if self.env is not None:
            require_no_skip_outside(self.env)
        self._choose_buffer()

    def _choose_buffer(self) -> None:
        """Take the buffer that knows durations, with this learner's settings, unless told not to.

        Raises:
            MASPSettingError: Another buffer was asked for than can do what was asked for.
        """
        if self.replay_buffer_class is None:
            self.replay_buffer_class = MacroReplayBuffer
        if issubclass(self.replay_buffer_class, MacroReplayBuffer):
            # Kept apart, so that a model loaded with another gamma gets a buffer with it.
            given = self.__dict__.setdefault("given_buffer_kwargs", self.replay_buffer_kwargs)
            self.replay_buffer_kwargs = self._buffer_settings() | given
            return
        name = self.replay_buffer_class.__name__
        for setting, asked in (
            ("prioritized_replay", self.prioritized_replay),
            ("n_steps", self.n_step_decisions > 1),
        ):
            require_setting(setting, asked, not asked, f"left out with {name}, which cannot do it")
        if self.macro_set is not None:
            warnings.warn(
                f"{name} does not know how long macro-actions last and will discount every "
                "decision by one γ; MacroReplayBuffer does.",
                stacklevel=2,
            )

    def _buffer_settings(self) -> dict[str, Any]:
        """Arguments of `MacroReplayBuffer` that are this learner's."""
        if self.clip_rewards is None and self.env is not None:
            self.clip_rewards = pays_game_scores(self.env)
        return {
            "gamma": self.gamma,
            "n_steps": self.n_step_decisions,
            "clip_rewards": bool(self.clip_rewards),
            "prioritized": self.prioritized_replay,
        }

    def set_env(self, env: GymEnv, force_reset: bool = True) -> None:
        """Go on with another environment of the same actions.

        Raises:
            MacroSetMismatchError: Its macros are not those that the model was built for.
        """
        wrapped = self._wrap_env(env, self.verbose)
        require_same_macros(self.macro_set, macro_set_of(wrapped))
        super().set_env(wrapped, force_reset)

    @classmethod
    def load(  # type: ignore[override]  # SB3 leaves its keyword arguments untyped
        cls: type[SelfMASP],
        path: str | pathlib.Path | io.BufferedIOBase,
        env: GymEnv | None = None,
        device: th.device | str = "auto",
        **kwargs: Any,
    ) -> SelfMASP:
        """Load a model with its Σ; arguments as SB3's.

        Raises:
            MacroSetMismatchError: ``env`` has other macros than the model was trained with.
        """
        if env is not None:
            # Before SB3 compares the spaces, which would not say whose macros they are.
            env = cls._wrap_env(env)
            data, _, _ = load_from_zip_file(path, custom_objects=kwargs.get("custom_objects"))
            require_same_macros((data or {}).get("macro_set"), macro_set_of(env))
            if isinstance(path, io.BufferedIOBase):
                path.seek(0)
        return super().load(path, env, device, **kwargs)

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        """What is saved as state dicts and as tensors."""
        state_dicts, tensors = super()._get_torch_save_params()
        return [*state_dicts, "similarity", "meta_optimizer"], tensors


def macro_set_of(env: VecEnv) -> MacroSet | None:
    """The macro set of a vector of environments; None if they have none."""
    if not env.has_attr("macro_set"):
        return None
    found: MacroSet = env.get_attr("macro_set", indices=0)[0]
    return found


def pays_game_scores(env: VecEnv) -> bool:
    """Whether rewards are a game's true scores, of any size: MacroALE and MacroRetro."""
    spec = env.get_attr("spec", indices=0)[0] if env.has_attr("spec") else None
    return spec is not None and spec.namespace in ("MacroALE", "MacroRetro")


def require_no_skip_outside(env: VecEnv) -> None:
    """Refuse wrappers outside a macro environment that would repeat its decisions.

    They can be seen only in this process; elsewhere the buffer notices rewards that do not add up.

    Raises:
        FrameSkipError: There is one; SB3's AtariWrapper brings it.
    """
    for wrapper in getattr(env.unwrapped, "envs", []):
        while isinstance(wrapper, gym.Wrapper) and wrapper.has_wrapper_attr("macro_set"):
            if "macro_set" in vars(wrapper):
                break
            if vars(wrapper).get("_skip", 1) != 1 or vars(wrapper).get("frame_skip", 1) != 1:
                raise FrameSkipError(
                    f"{type(wrapper).__name__} repeats every decision of a macro environment, "
                    "which skips frames itself. Take it off, as well as SB3's AtariWrapper or "
                    "make_atari_env that may have brought it."
                )
            wrapper = wrapper.env


def require_same_macros(trained: MacroSet | None, found: MacroSet | None) -> None:
    """Refuse an environment whose action indices mean something else than a model's.

    Raises:
        MacroSetMismatchError: They do; the message names both.
    """
    if (trained and trained.hash) != (found and found.hash):
        raise MacroSetMismatchError(
            f"the model was trained with {_describe(trained)}, but the environment has "
            f"{_describe(found)}. Build the environment with macros=model.macro_set."
        )


def _describe(macro_set: MacroSet | None) -> str:
    """A macro set in a few words, for an error."""
    if macro_set is None:
        return "no macro set"
    game = f" of {macro_set.provenance.game}" if macro_set.provenance.game else ""
    return f"{len(macro_set.macros)} macros{game} (hash {macro_set.hash[:12]})"
