"""PairwiseA2C: advantage actor-critic whose credit across time is learned by meta-gradients."""

from functools import partial
from typing import Any, ClassVar, Literal

import torch as th
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import GymEnv, Schedule
from stable_baselines3.common.utils import FloatSchedule, update_learning_rate
from torch import Tensor
from torch.optim import Adam, Optimizer

from sb3_masp.macro_model import given
from sb3_masp.pairwise.credit import credit_of
from sb3_masp.pairwise.inner_step import clip_gradients, give_gradients, inner_losses, step_together
from sb3_masp.pairwise.metagradient import (
    Evaluated,
    Evaluation,
    InnerStep,
    gradient_and_reach,
    normalized,
    outer_gradient,
    policy_loss,
)
from sb3_masp.pairwise.settings import OURS, require_settings
from sb3_masp.pairwise.trajectory import Trajectory
from sb3_masp.pairwise.trajectory_a2c import TrajectoryA2C
from sb3_masp.pairwise.weighted_returns import WeightedReturns, state_features
from sb3_masp.pairwise.weights import CreditWeights, WeightsName, initial_weights, weighted_sum
from sb3_masp.speed import fuse
from sb3_masp.unrolled_vjp import flat, parts, require_unrollable, step_of_all

UNSAVED = ("_evaluation", "_named", "_stepped", "_eta", "_window", "_graphs", "_outcomes")
"""Attributes that models are saved without: the next step of the weights starts over."""


class PairwiseA2C(TrajectoryA2C):
    """SB3's A2C with meta-learned pairwise weights f_η(S_t, S_k, k − t) for credit across time.

    After an update of the policy with weighted advantages, the usual policy loss on the next
    rollout is differentiated exactly through that update, including optimizer and clipping, with
    respect to η; the rollout then serves the next update. With ``weights="geometric"`` and A2C's
    ``n_steps`` and ``gae_lambda`` it equals SB3's A2C, to rounding. On macro environments, time is
    counted in primitive steps: decisions that last τ steps are discounted by γ^τ.

    Args:
        policy: ``"MlpPolicy"``, ``"CnnPolicy"``, ``"MultiInputPolicy"`` or a class.
        env: The environment, or its id.
        learning_rate: As for A2C; also for the value function of weighted returns.
        n_steps: Decisions per environment in a rollout, beyond which credit does not reach.
        gamma: γ, the discount of one *step* (primitive), not of a decision.
        gae_lambda: λ of the regular advantages, by which the weights are judged.
        ent_coef: As for A2C.
        vf_coef: As for A2C.
        max_grad_norm: As for A2C.
        rms_prop_eps: As for A2C.
        use_rms_prop: As for A2C.
        use_sde: As for A2C.
        sde_sample_freq: As for A2C.
        rollout_buffer_class: `TrajectoryBuffer`, or `DictTrajectoryBuffer` for dictionaries, if
            None.
        rollout_buffer_kwargs: Further arguments of the buffer.
        normalize_advantage: As for A2C; for the weighted advantages and the regular ones.
        stats_window_size: As for A2C.
        tensorboard_log: As for A2C.
        policy_kwargs: As for A2C.
        verbose: As for A2C.
        seed: As for A2C.
        device: As for A2C.
        advantage: What the weights sum: ``"pwtd"``, TD errors; or ``"pwr"``, rewards, minus a value
            function of these sums.
        weights: Form of f: ``"table"`` for numbered states, ``"embedding"`` for others;
            ``"geometric"``, (γλ)^(k−t−1) or, with ``"pwr"``, γ^(k−t−1), not learned;
            ``"state_lambda"``, meta-learned λ(s); ``"sequence"``, one weight per decision of an
            episode; or `CreditWeights`, which are copied. None chooses table or embedding by the
            observation space.
        weights_frozen: Keep the initial weights.
        meta_learning_rate: Learning rate of the weights' Adam, or a schedule.
        inner_steps: Updates of the policy per update of the weights, which is differentiated
            through all of them.
        inner_resets: Initialise the policy and its value functions anew after every step of the
            weights, which are thus learned for the first ``inner_steps`` updates of training.
        redistribute_rewards: Sum rewards as redistributed by a recurrent predictor of returns: a
            control.
        clip_rewards: Clip each primitive's reward to [-1, 1] before discounting; None does so
            for MacroALE and MacroRetro, whose rewards are game scores.

    Raises:
        LearnerSettingError: A setting is out of range.

    Source: arXiv 2102.04999. Bootstrapping rollouts that are cut off, in ``"pwr"`` too, is ours.
    """

    kept_at_loading: ClassVar[tuple[str, ...]] = ("weights", "advantage", "redistribute_rewards")

    weights: CreditWeights
    weights_optimizer: Adam
    weighted_returns: WeightedReturns | None
    weighted_returns_optimizer: Optimizer

    def __init__(
        self,
        policy: str | type[ActorCriticPolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 7e-4,
        n_steps: int = 20,
        gamma: float = 0.99,
        gae_lambda: float = 0.95,
        ent_coef: float = 0.0,
        vf_coef: float = 0.5,
        max_grad_norm: float = 0.5,
        rms_prop_eps: float = 1e-5,
        use_rms_prop: bool = True,
        use_sde: bool = False,
        sde_sample_freq: int = -1,
        rollout_buffer_class: type[RolloutBuffer] | None = None,
        rollout_buffer_kwargs: dict[str, Any] | None = None,
        normalize_advantage: bool = False,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: th.device | str = "auto",
        _init_setup_model: bool = True,
        *,
        advantage: Literal["pwtd", "pwr"] = "pwtd",
        weights: WeightsName | CreditWeights | None = None,
        weights_frozen: bool = False,
        meta_learning_rate: float | Schedule = 1e-3,
        inner_steps: int = 1,
        inner_resets: bool = False,
        redistribute_rewards: bool = False,
        clip_rewards: bool | None = None,
    ) -> None:
        """Store the settings that A2C does not have, then build A2C."""
        self.advantage = advantage
        self.weights_form = weights
        self.weights_frozen = weights_frozen
        self.meta_learning_rate = meta_learning_rate
        self.inner_steps = inner_steps
        self.inner_resets = inner_resets
        self.redistribute_rewards = redistribute_rewards
        self.clip_rewards = clip_rewards
        require_settings(vars(self) | {"weights": self.weights_form})
        self._window: list[InnerStep] = []
        self._graphs: list[Tensor] = []
        self._outcomes: list[Tensor] = []
        super().__init__(**{n: value for n, value in given(locals()).items() if n not in OURS})

    @property
    def learns_weights(self) -> bool:
        """Whether the weights are learned."""
        return bool(self._eta) and not self.weights_frozen

    def train(self) -> None:
        """Take an outer step on the rollout, if one is due, and then an inner step or a reset."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self._inner_optimizers())
        trajectory = self.rollout_buffer.trajectory(self._last_obs)
        evaluated = self._evaluation(trajectory.decided, trajectory.actions)
        if self._window:
            self._outcomes.append(self._outer_loss_gradient(trajectory, evaluated))
        is_due = bool(self._window) and len(self._outcomes) == self.inner_steps
        if is_due:
            self._outer_step()
        if is_due and self.inner_resets:
            self._begin_anew()
        else:
            self._inner_step(trajectory, evaluated)
        self._n_updates += 1
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")

    def _outer_loss_gradient(self, trajectory: Trajectory, evaluated: Evaluated) -> Tensor:
        """Gradient of the usual policy loss (regular advantages) in the parameters that moved."""
        loss = policy_loss(self._scaled(trajectory.advantages.flatten()), evaluated[1])
        self.logger.record("meta/outer_loss", loss.item())
        moved = {name: self._named[name] for name in self._window[-1].before}
        gradient, self._acting = gradient_and_reach(loss, moved)
        return gradient

    def _outer_step(self) -> None:
        """Move the weights along the exact gradient of the outer losses since the last step."""
        # Checkpoints contain no graphs: those of updates before a checkpoint are rebuilt.
        without = self._window[: len(self._window) - len(self._graphs)]
        graphs = [*map(self._advantages, without), *self._graphs]
        gradients = outer_gradient(
            self._evaluation,
            self._inner_loss,
            graphs,
            self._window,
            self._outcomes,
            self._eta,
            self._acting,
        )
        for parameter, gradient in zip(self._eta, gradients, strict=True):
            parameter.grad = gradient
        rate = FloatSchedule(self.meta_learning_rate)(self._current_progress_remaining)
        update_learning_rate(self.weights_optimizer, rate)
        self.weights_optimizer.step()
        self._window, self._graphs, self._outcomes = [], [], []
        self.logger.record("meta/gradient_norm", th.linalg.vector_norm(flat(gradients)).item())

    def _inner_step(self, trajectory: Trajectory, evaluated: Evaluated) -> None:
        """Move the policy along the gradient of A2C's loss with weighted advantages."""
        credit = credit_of(trajectory, self.weights, self.learns_weights, self.weighted_returns)
        weighted = self._scaled((credit.sums - credit.baseline).flatten())
        losses = inner_losses(evaluated, trajectory, weighted.detach())
        # They share no parameters, so one backward pass serves all losses.
        together = [losses.total(self.ent_coef, self.vf_coef), *credit.losses.values()]
        give_gradients(th.stack(together).sum(), self._stepped)
        moved = {name: p for name, p in self._named.items() if p.grad is not None}
        parameters = list(moved.values())
        gradient, norm = clip_gradients(parameters, self.max_grad_norm)
        before = flat([parameter.detach() for parameter in parameters])
        self.policy.optimizer.step()
        if self.weighted_returns is not None:
            for learned in self.weighted_returns.learners():
                clip_gradients(learned, self.max_grad_norm)
            self.weighted_returns_optimizer.step()
        self._log_losses(losses._asdict() | dict(credit.losses))
        if not self.learns_weights:
            return
        self._graphs.append(weighted)
        self._window.append(
            InnerStep(
                trajectory,
                credit.credited,
                credit.baseline,
                weighted.detach(),
                dict(zip(moved, parts(before, parameters), strict=True)),
                step_of_all(self.policy.optimizer, parameters, gradient, before),
                norm,
                self.max_grad_norm,
            )
        )

    def _begin_anew(self) -> None:
        """Initialise the policy, the value functions and their optimizers anew."""
        policy = self._another_policy()
        self.policy.load_state_dict(policy.state_dict())
        if self.weighted_returns is not None:
            returns = WeightedReturns(policy, self.redistribute_rewards)
            self.weighted_returns.load_state_dict(returns.state_dict())
        for optimizer in self._inner_optimizers():
            optimizer.state.clear()

    def _inner_loss(self, evaluated: Evaluated, trajectory: Trajectory, psi: Tensor) -> Tensor:
        """A2C's loss: the terms of the policy, of its entropy and of the values."""
        losses = inner_losses(evaluated, trajectory, psi)
        return losses.total(self.ent_coef, self.vf_coef)

    def _advantages(self, step: InnerStep) -> Tensor:
        """Ψ_η of a step, differentiable in η, shape ``(envs * time,)``."""
        sums = weighted_sum(self.weights, step.trajectory, step.credited)
        return self._scaled((sums - step.baseline).flatten())

    def _scaled(self, advantages: Tensor) -> Tensor:
        """Advantages, normalised if ``normalize_advantage``."""
        return normalized(advantages) if self.normalize_advantage else advantages

    def _inner_optimizers(self) -> list[Optimizer]:
        """The optimizers that follow A2C's learning rate."""
        own = [] if self.weighted_returns is None else [self.weighted_returns_optimizer]
        return [self.policy.optimizer, *own]

    def _setup_model(self) -> None:
        """Build the policy, then the weights and what they need."""
        # Again, since a loaded model may have been given other settings.
        require_settings(vars(self) | {"weights": self.weights_form})
        super()._setup_model()
        self._evaluation = Evaluation(self.policy)
        self._named = dict(self._evaluation.named_parameters())
        # Weighted geometrically, TD errors sum to the λ-advantage, and rewards to the return.
        decay = self.gae_lambda if self.advantage == "pwtd" else 1.0
        states = self.observation_space, partial(state_features, self.policy)
        weights = initial_weights(self.weights_form, *states, self.gamma, decay)
        self.weights = weights.to(self.device)
        self._eta = tuple(p for p in self.weights.parameters() if p.requires_grad)
        if self._eta:
            # Meta-gradients are small, and shrink with the reward's scale.
            self.weights_optimizer = Adam(self.weights.parameters(), lr=1.0, eps=1e-15)
            fuse(self.weights_optimizer)
        if self.learns_weights:
            require_unrollable(self.policy.optimizer, "weights_frozen=True")
        self.weighted_returns = None
        if self.advantage == "pwr":
            predicted = WeightedReturns(self.policy, self.redistribute_rewards).to(self.device)
            self.weighted_returns = predicted
            self.weighted_returns_optimizer = predicted.optimizer(self.policy, self.lr_schedule(1))
        self._stepped = step_together(self._inner_optimizers())

    def _excluded_save_params(self) -> list[str]:
        """Attributes that are not saved."""
        return [*super()._excluded_save_params(), *UNSAVED]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        """Names of what is saved as state dicts, and as tensors."""
        names, variables = super()._get_torch_save_params()
        ours = ("weights", "weights_optimizer", "weighted_returns", "weighted_returns_optimizer")
        return [*names, *(n for n in ours if getattr(self, n, None) is not None)], variables
