"""SB3's A2C on rollouts that record how long decisions last and where episodes end."""

from collections.abc import Mapping
from typing import Any, Self, cast

from gymnasium import spaces
from stable_baselines3 import A2C
from stable_baselines3.common.callbacks import BaseCallback, CallbackList, ConvertCallback
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import MaybeCallback
from stable_baselines3.common.utils import explained_variance
from torch import Tensor

from sb3_masp.environments import pays_game_scores
from sb3_masp.macro_model import MacroModel, require_setting
from sb3_masp.pairwise.rollout import DictTrajectoryBuffer, NoteDecisions, TrajectoryBuffer


class TrajectoryA2C(MacroModel, A2C):
    """A2C with a `TrajectoryBuffer`, on environments with or without macros.

    Subclasses define how it learns from a `Trajectory`, and set ``clip_rewards`` before the model
    is built: None clips where rewards are game scores.
    """

    rollout_buffer: TrajectoryBuffer
    clip_rewards: bool | None

    def _setup_model(self) -> None:
        """Record the environments' macros, choose the buffer, and build the rest."""
        self._recognise()
        asked = self._choose_buffer()
        super()._setup_model()
        self.rollout_buffer_kwargs = asked

    def _choose_buffer(self) -> dict[str, Any]:
        """Choose a buffer that records durations; return the buffer's arguments as given.

        Raises:
            LearnerSettingError: The given class is not a `TrajectoryBuffer`.
        """
        of_dict = isinstance(self.observation_space, spaces.Dict)
        ours = DictTrajectoryBuffer if of_dict else TrajectoryBuffer
        self.rollout_buffer_class = chosen = self.rollout_buffer_class or ours
        fits = issubclass(chosen, TrajectoryBuffer)
        require_setting("rollout_buffer_class", chosen, fits, "a TrajectoryBuffer")
        if self.clip_rewards is None and self.env is not None:
            self.clip_rewards = pays_game_scores(self.env)
        asked = self.rollout_buffer_kwargs
        self.rollout_buffer_kwargs = {"clip_rewards": bool(self.clip_rewards)} | asked
        return asked

    def _init_callback(self, callback: MaybeCallback, progress_bar: bool = False) -> BaseCallback:
        """Record decisions in the buffer before the given callbacks are called."""
        if isinstance(callback, list):
            callback = CallbackList(callback)
        elif not isinstance(callback, BaseCallback):
            callback = ConvertCallback(callback)
        return super()._init_callback([NoteDecisions(), callback], progress_bar)

    def _another_policy(self) -> ActorCriticPolicy:
        """A newly initialised policy like the learner's."""
        policy = self.policy_class(
            self.observation_space,
            self.action_space,
            self.lr_schedule,
            use_sde=self.use_sde,
            **self.policy_kwargs,
        )
        return cast(ActorCriticPolicy, policy)

    def _log_losses(self, losses: Mapping[str, Tensor]) -> None:
        """Log what A2C logs, with an update's losses by name, ``()`` each."""
        buffer = self.rollout_buffer
        explained = explained_variance(buffer.values.flatten(), buffer.returns.flatten())
        self.logger.record("train/explained_variance", explained)
        for name, loss in losses.items():
            self.logger.record(f"train/{name}_loss", loss.item())
        if hasattr(self.policy, "log_std"):
            self.logger.record("train/std", self.policy.log_std.exp().mean().item())

    def learn(
        self,
        total_timesteps: float,
        callback: MaybeCallback = None,
        log_interval: int = 100,
        tb_log_name: str = "PairwiseA2C",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Learn for ``total_timesteps`` *decisions*, which may be a float; arguments as in SB3."""
        return super().learn(
            int(total_timesteps),
            callback,
            log_interval,
            tb_log_name,
            reset_num_timesteps,
            progress_bar,
        )
