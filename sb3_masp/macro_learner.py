"""MacroLearner: the replay, environments and training loop that all value learners share."""

import io
import pathlib
import warnings
from abc import ABC, abstractmethod
from typing import Any, NamedTuple, Self

import torch as th
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.type_aliases import MaybeCallback, PyTorchObs, RolloutReturn
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from sb3_masp.batch_norm import batch_norms, untracked
from sb3_masp.buffers import MacroReplayBuffer, MacroReplaySamples
from sb3_masp.environments import pays_game_scores
from sb3_masp.graphs import Eager, Graphs
from sb3_masp.macro_model import MacroModel, require_setting
from sb3_masp.overlap import WhileStepping
from sb3_masp.speed import channels_last, drop_vanishing, fuse
from sb3_masp.train_freq import TrainsByDecisions

UPDATES_TO_VANISH = 100
"""Updates between two checks for vanishing moments; over so many, 1e-30 decays to 1e-35."""


class TDLoss(NamedTuple):
    """A batch's TD loss, and by-products of its computation.

    Args:
        loss: Shape ``()``.
        q_values: Expected values Q(s, ·) with their graph, shape ``(batch, actions)``.
        td_errors: What prioritised replay uses: TD errors, or the losses of distributional
            learners; detached, shape ``(batch,)``.
        targets: Expected TD targets of Q(s, a), detached, shape ``(batch, 1)``.
    """

    loss: Tensor
    q_values: Tensor
    td_errors: Tensor
    targets: Tensor


class MacroLearner(MacroModel, TrainsByDecisions, ABC):
    """Makes an SB3 value learner learn from decisions: SMDP returns, n-step and prioritised replay.

    Subclasses list it before the learner (``class Rainbow(MacroLearner, DQN)``) and define their
    networks and their TD loss. Positional arguments, and those not named here, are passed on to
    that learner.

    Args:
        args: As for the learner.
        clip_rewards: Clip each primitive's reward to [-1, 1] before discounting; None does so
            for MacroALE and MacroRetro, whose rewards are game scores.
        double_q: Let the online network choose the target's action (arXiv 1509.06461).
        prioritized_replay: Sample by TD error (arXiv 1511.05952), with annealed importance weights.
        cuda_graph: Replay updates as CUDA graphs.
        overlap_updates: Run updates while the environments step.
        kwargs: As for the learner.
    """

    max_grad_norm: Any  # a number in DQN; in QR-DQN it may be None
    replay_buffer: MacroReplayBuffer
    _run: Eager
    """Runs the device parts of an update."""
    _norms: list[_BatchNorm]
    """Layers of the network whose running statistics only the batches learned from enter."""

    _owed_updates = 0
    _is_learning = False
    _stepping: WhileStepping | None = None

    def __init__(
        self,
        *args: Any,
        clip_rewards: bool | None = None,
        double_q: bool = False,
        prioritized_replay: bool = False,
        cuda_graph: bool = False,
        overlap_updates: bool = False,
        **kwargs: Any,
    ) -> None:
        """Store what the buffer needs, then build the learner."""
        self.clip_rewards = clip_rewards
        self.double_q = double_q
        self.prioritized_replay = prioritized_replay
        self.cuda_graph = cuda_graph
        self.overlap_updates = overlap_updates
        super().__init__(*args, **kwargs)

    @property
    def _is_sb3s(self) -> bool:
        """Whether it must match the underlying SB3 learner to the last bit."""
        return True

    @property
    @abstractmethod
    def _network(self) -> nn.Module:
        """The network that the optimizer trains."""

    @property
    @abstractmethod
    def _target_network(self) -> nn.Module:
        """The network that targets come from."""

    @abstractmethod
    def _td_loss(self, batch: MacroReplaySamples) -> TDLoss:
        """The learner's TD loss at its current parameters."""

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        """Take ``gradient_steps`` updates for each training that the last rollout made due.

        While `learn` overlaps updates, they are deferred until the environments step again.
        """
        updates = gradient_steps * self._take_trainings_due()
        if self.overlap_updates and self._is_learning:
            self._owed_updates += updates
        else:
            self._take_updates(updates, batch_size)

    def collect_rollouts(self, env: VecEnv, *args: Any, **kwargs: Any) -> RolloutReturn:
        """Collect decisions until the next updates are due; arguments as in SB3."""
        if self.overlap_updates:
            if self._stepping is None or self._stepping.venv is not env:
                self._stepping = WhileStepping(env, self._pay_updates)
            env = self._stepping
        return super().collect_rollouts(env, *args, **kwargs)

    def _pay_updates(self) -> None:
        """Take the deferred updates; a model that was loaded without its replay takes none."""
        owed, self._owed_updates = self._owed_updates, 0
        if self.replay_buffer.size():
            self._take_updates(owed, self.batch_size)

    def _take_updates(self, updates: int, batch_size: int) -> None:
        """Take ``updates`` updates."""
        if not updates:
            return
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        self._run.hold(self.policy.optimizer)
        self._anneal()
        for _ in range(updates):
            self._begin_update()
            self._update(batch_size)
            self._n_updates += 1
            if self._n_updates % UPDATES_TO_VANISH == 0 and not self._is_sb3s:
                drop_vanishing(self.policy.optimizer)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")

    def _begin_update(self) -> None:
        """Draw what stays fixed throughout an update: nothing here."""

    def _update(self, batch_size: int) -> None:
        """Take one step along the gradient of the TD loss."""
        batch = self._sample(batch_size)
        self._learned_from(batch, self._run(self._td_step, batch))

    def _td_step(self, batch: MacroReplaySamples) -> Tensor:
        """The device part of `_update`; returns the TD errors."""
        td = self._td_loss(batch)
        self._step(td.loss)
        self._run.note("train/loss", td.loss)
        return td.td_errors

    def _sample(self, batch_size: int) -> MacroReplaySamples:
        """Sample a batch of decisions from the replay buffer."""
        batch = self.replay_buffer.sample(batch_size, env=self._vec_normalize_env)
        return batch if self._is_sb3s else channels_last(batch)

    def _step(self, loss: Tensor) -> Tensor | None:
        """Take one optimizer step along the clipped gradient.

        Returns:
            The gradient's norm before clipping, shape ``()``; None without clipping.
        """
        self.policy.optimizer.zero_grad()
        th.autograd.backward(loss)
        norm = None
        if self.max_grad_norm is not None:
            norm = nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
        self.policy.optimizer.step()
        return norm

    def _read(self, observations: PyTorchObs) -> Tensor:
        """The network's outputs for observations that it does not learn from."""
        with untracked(self._norms):
            outputs: Tensor = self._network(observations)
        return outputs

    def _learned_from(self, batch: MacroReplaySamples, td_errors: Tensor) -> None:
        """Update the priorities of the batch, if replay is prioritised."""
        if self.prioritized_replay:
            self.replay_buffer.update_priorities(batch.indices, td_errors)

    def _optimizers(self) -> list[Optimizer]:
        """The optimizers that step during updates."""
        return [self.policy.optimizer]

    def _device_settings(self) -> tuple[Any, ...]:
        """Settings that the device parts of an update read."""
        return self.max_grad_norm, self.gamma, self.double_q, self.prioritized_replay

    def _anneal(self) -> None:
        """Anneal the exponent of prioritised replay's importance weights to 1."""
        if self.prioritized_replay:
            start = self.replay_buffer_kwargs.get("importance_exponent", 0.4)
            remaining = self._current_progress_remaining
            self.replay_buffer.importance_exponent = 1 - (1 - start) * remaining

    def _setup_model(self) -> None:
        """Recognise the environment, choose the buffer, and build it and the networks."""
        self._recognise()
        self._choose_buffer()
        # The arguments are restored below, so that a model loaded with another gamma gets a buffer
        # with it; and SB3 does not see n_steps, for which it would choose its own buffers.
        asked = self.n_steps, self.replay_buffer_kwargs
        self.n_steps, self.replay_buffer_kwargs = 1, self._buffer_settings() | asked[1]
        super()._setup_model()
        self.n_steps, self.replay_buffer_kwargs = asked
        if not self._is_sb3s:
            fuse(self.policy.optimizer)
        self._norms = batch_norms(self._network)
        self._run = Graphs(self) if self.cuda_graph else Eager(self)
        if self.verbose >= 1 and isinstance(self.replay_buffer, MacroReplayBuffer):
            print(self.replay_buffer.memory_statement())

    def _choose_buffer(self) -> None:
        """Choose `MacroReplayBuffer` unless another class was given.

        Raises:
            LearnerSettingError: The given class does not support a setting.
        """
        if self.replay_buffer_class is None:
            self.replay_buffer_class = MacroReplayBuffer
        self._require_buffer(self.replay_buffer_class)

    def _require_buffer(self, kind: type[ReplayBuffer]) -> None:
        """Reject a class of replay buffers that does not support a setting.

        Raises:
            LearnerSettingError: It does not.
        """
        if issubclass(kind, MacroReplayBuffer):
            return
        name = kind.__name__
        n_step = issubclass(kind, NStepReplayBuffer)
        for setting, value, default in (
            ("prioritized_replay", self.prioritized_replay, False),
            ("n_steps", self.n_steps, max(self.n_steps, 1) if n_step else 1),
            ("clip_rewards", bool(self.clip_rewards), False),
        ):
            allowed = f"{default} with {name}, which cannot do it"
            require_setting(setting, value, value == default, allowed)
        if self.macro_set is not None:
            warnings.warn(
                f"{name} does not know how long macro-actions last: it discounts every decision by "
                "one γ, and clips no rewards; MacroReplayBuffer knows.",
                stacklevel=3,
            )

    def _buffer_settings(self) -> dict[str, Any]:
        """Buffer arguments that follow from the learner's settings."""
        kind = self.replay_buffer_class or MacroReplayBuffer
        if issubclass(kind, NStepReplayBuffer) and self.n_steps > 1:
            return {"n_steps": self.n_steps, "gamma": self.gamma}
        if not issubclass(kind, MacroReplayBuffer):
            return {}
        if self.clip_rewards is None and self.env is not None:
            self.clip_rewards = pays_game_scores(self.env)
        return {
            "gamma": self.gamma,
            "n_steps": self.n_steps,
            "clip_rewards": bool(self.clip_rewards),
            "prioritized": self.prioritized_replay,
        }

    def load_replay_buffer(
        self, path: str | pathlib.Path | io.BufferedIOBase, truncate_last_traj: bool = True
    ) -> None:
        """Load a saved replay buffer, and sample returns of the model's own ``n_steps`` from it.

        Args:
            path: As in SB3.
            truncate_last_traj: As in SB3.

        Raises:
            LearnerSettingError: The saved buffer discounts, clips or samples in another way than
                the model, which then keeps its buffer.
        """
        before = self.replay_buffer
        super().load_replay_buffer(path, truncate_last_traj)
        loaded, self.replay_buffer = self.replay_buffer, before
        self._require_buffer(type(loaded))
        if isinstance(loaded, MacroReplayBuffer):
            self._require_same_returns(loaded)
            loaded.n_steps = self.n_steps
        elif isinstance(loaded, NStepReplayBuffer) and self.n_steps > 1:
            loaded.n_steps, loaded.gamma = self.n_steps, self.gamma  # as `_buffer_settings`
        self.replay_buffer = loaded

    def _require_same_returns(self, loaded: MacroReplayBuffer) -> None:
        """Reject a buffer that discounts, clips or samples in another way than the model.

        Raises:
            LearnerSettingError: It does.
        """
        for setting, value, of_buffer in (
            ("gamma", self.gamma, loaded.gamma),
            ("clip_rewards", bool(self.clip_rewards), loaded.clip_rewards),
            ("prioritized_replay", self.prioritized_replay, loaded.prioritized),
        ):
            allowed = f"{of_buffer!r}, as in the replay buffer that was saved"
            require_setting(setting, value, value == of_buffer, allowed)

    def learn(
        self,
        total_timesteps: float,
        callback: MaybeCallback = None,
        log_interval: int = 4,
        tb_log_name: str | None = None,
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Learn for ``total_timesteps`` *decisions*.

        Args:
            total_timesteps: Decisions, over all environments; may be a float such as 1e6.
            callback: As in SB3.
            log_interval: As in SB3.
            tb_log_name: As in SB3; the name of the class if None.
            reset_num_timesteps: As in SB3.
            progress_bar: As in SB3.
        """
        self._is_learning = True
        try:
            return super().learn(
                int(total_timesteps),
                callback,
                log_interval,
                tb_log_name or type(self).__name__,
                reset_num_timesteps,
                progress_bar,
            )
        finally:
            self._is_learning = False

    def dump_logs(self) -> None:
        """Write the log."""
        self._run.log()
        super().dump_logs()

    def set_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Load parameters into the model; arguments as in SB3."""
        super().set_parameters(*args, **kwargs)
        self._run.forget()

    def _excluded_save_params(self) -> list[str]:
        """Attributes that are not saved."""
        return [*super()._excluded_save_params(), "_run", "_norms", "_stepping", "_is_learning"]
