"""Rollout buffers that record how long decisions last and where episodes end."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch as th
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.buffers import DictRolloutBuffer, RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import PyTorchObs
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor

from sb3_masp.decisions import primitive_rewards
from sb3_masp.pairwise.trajectory import Trajectory
from sb3_masp.returns import decision_returns


class TrajectoryBuffer(RolloutBuffer):
    """A rollout of decisions, discounted by γ^τ instead of γ, with the final states of episodes.

    Without macros its advantages and returns equal SB3's, to rounding.

    Args:
        args: As in SB3.
        clip_rewards: Clip each primitive's reward to [-1, 1] before discounting.
        kwargs: As in SB3.
    """

    durations: NDArray[np.int64]
    discounts: NDArray[np.float32]
    next_values: NDArray[np.float32]
    clock: NDArray[np.int64]
    last: NDArray[np.bool_]

    def __init__(self, *args: Any, clip_rewards: bool = False, **kwargs: Any) -> None:
        """Start at the beginning of episodes."""
        self.clip_rewards = clip_rewards
        self._now: NDArray[np.int64] | None = None
        super().__init__(*args, **kwargs)

    def reset(self) -> None:
        """Clear the rollout, but keep the clocks of the episodes."""
        shape = (self.buffer_size, self.n_envs)
        self.durations = np.ones(shape, np.int64)
        self.discounts = np.zeros(shape, np.float32)
        self.next_values = np.zeros(shape, np.float32)
        self.clock = np.zeros(shape, np.int64)
        self.last = np.zeros(shape, np.bool_)
        self._ends: dict[tuple[int, int], Any] = {}
        super().reset()

    def note(
        self,
        infos: Sequence[Mapping[str, Any]],
        rewards: NDArray[np.float32],
        dones: NDArray[np.bool_],
        cut_values: NDArray[np.float32],
        normalizer: VecNormalize | None = None,
    ) -> None:
        """Record the outcomes of decisions, before `add` is called for them.

        Args:
            infos: Infos of the environments; may contain ``duration`` and ``primitive_rewards``.
            rewards: As returned by the environments, before any normalisation, ``(envs,)``.
            dones: Whether episodes ended, ``(envs,)``.
            cut_values: v of the final states of truncated episodes, zero for others, ``(envs,)``.
            normalizer: If given, normalises the return within each decision.
        """
        paid, durations = primitive_rewards(infos, rewards.astype(np.float64))
        if self.clip_rewards:
            paid = paid.clip(-1, 1)
        returns = decision_returns(paid, durations, self.gamma)
        self._noted = self._normalize_reward(returns, normalizer)
        self.durations[self.pos] = durations
        cut = np.array([info.get("TimeLimit.truncated", False) for info in infos], np.bool_)
        self.discounts[self.pos] = self.gamma**durations * (~dones | cut)
        self.next_values[self.pos] = cut_values
        self.last[self.pos] = dones
        for env in map(int, dones.nonzero()[0]):
            self._ends[self.pos, env] = infos[env]["terminal_observation"]

    def add(self, *args: Any, **kwargs: Any) -> None:
        """Add the recorded decisions; arguments as in SB3, of which the rewards are ignored."""
        observation, action, _, begins, *rest = args
        now = np.zeros(self.n_envs, np.int64) if self._now is None else self._now
        # Environments are not only reset at ends of episodes: calling `learn` again resets them.
        now = now * ~np.asarray(begins, np.bool_)
        self.clock[self.pos] = now
        self._now = now + self.durations[self.pos]
        super().add(observation, action, self._noted, begins, *rest, **kwargs)

    def compute_returns_and_advantage(self, last_values: Tensor, dones: NDArray[np.bool_]) -> None:
        """Compute λ-returns, with ``(γλ)^τ`` per decision; arguments as in SB3."""
        going_on = ~self.last[:-1]
        self.next_values[:-1][going_on] = self.values[1:][going_on]
        final = last_values.clone().cpu().numpy().flatten()
        self.next_values[-1][~dones] = final[~dones]
        errors = self.rewards + self.discounts * self.next_values - self.values
        traces = (self.gamma * self.gae_lambda) ** self.durations * ~self.last
        advantage = np.zeros(self.n_envs, np.float32)
        for step in reversed(range(self.buffer_size)):
            advantage = errors[step] + traces[step] * advantage
            self.advantages[step] = advantage
        self.returns = self.advantages + self.values

    def trajectory(self, last_observations: Any) -> Trajectory:
        """Return the rollout, once it is full.

        Args:
            last_observations: Observations after the rollout, one per environment; ignored where
                an episode has just ended.
        """
        last = self.last.copy()
        last[-1] = True
        ends = {(len(last) - 1, env): _one(last_observations, env) for env in range(self.n_envs)}
        ends |= self._ends
        arrivals = np.arange(last.size).reshape(self.n_envs, -1) + 1
        places = sorted((env, step) for step, env in ends)
        for place, (env, step) in enumerate(places):
            arrivals[env, step] = last.size + place
        shown = [ends[step, env] for env, step in places]
        return Trajectory(
            observations=self._all_observations(shown),
            actions=self._actions(),
            arrivals=self.to_torch(arrivals),
            last=self._by_env(last),
            **{name: self._by_env(getattr(self, name)) for name in _BY_DECISION},
        )

    def _all_observations(self, ends: Sequence[Any]) -> PyTorchObs:
        """Observations of decisions, environment by environment, then those of episode ends."""
        decided = self.swap_and_flatten(self.observations)
        return self.to_torch(np.concatenate([decided, self._stacked(ends, decided)]))

    def _stacked(self, ends: Sequence[Any], like: NDArray[Any]) -> NDArray[Any]:
        """Single observations as a batch, in the dtype and shape of the buffer."""
        return np.stack(ends).astype(like.dtype).reshape(len(ends), *like.shape[1:])

    def _actions(self) -> Tensor:
        """Actions in the format that the policy takes."""
        # As in SB3's buffers: not every distribution accepts integers.
        actions = self.to_torch(self.swap_and_flatten(self.actions).astype(np.float32, copy=False))
        discrete = isinstance(self.action_space, spaces.Discrete)
        return actions.long().flatten() if discrete else actions

    def _by_env(self, steps: NDArray[Any]) -> Tensor:
        """Swap axes so that environments come first."""
        return self.to_torch(steps.swapaxes(0, 1))


class DictTrajectoryBuffer(TrajectoryBuffer, DictRolloutBuffer):
    """`TrajectoryBuffer` for observations that are dictionaries."""

    def _all_observations(self, ends: Sequence[Any]) -> PyTorchObs:
        """Observations of decisions, environment by environment, then those of episode ends."""
        found: dict[str, Tensor] = {}
        for name, part in self.observations.items():
            decided = self.swap_and_flatten(part)
            of_ends = self._stacked([end[name] for end in ends], decided)
            found[name] = self.to_torch(np.concatenate([decided, of_ends]))
        return found


class NoteDecisions(BaseCallback):
    """Records outcomes of decisions in the buffer, before SB3 adds bootstraps to rewards."""

    def _on_step(self) -> bool:
        """Record them, with the values of the final states of truncated episodes."""
        infos, dones = self.locals["infos"], self.locals["dones"]
        policy = cast(ActorCriticPolicy, self.model.policy)
        values = np.zeros(len(infos), np.float32)
        for env in dones.nonzero()[0]:
            if infos[env].get("TimeLimit.truncated", False):
                state, _ = policy.obs_to_tensor(infos[env]["terminal_observation"])
                with th.no_grad():
                    values[env] = policy.predict_values(state).item()
        buffer = cast(TrajectoryBuffer, self.locals["rollout_buffer"])
        normalizer = self.model.get_vec_normalize_env()
        # Infos contain rewards that are not normalised, and these have to be their sums.
        rewards = normalizer.get_original_reward() if normalizer else self.locals["rewards"]
        buffer.note(infos, rewards, dones, values, normalizer)
        return True


_BY_DECISION = (
    "rewards",
    "discounts",
    "values",
    "next_values",
    "clock",
    "durations",
    "advantages",
    "returns",
)


def _one(observations: Any, env: int) -> Any:
    """One environment's observation from a batch."""
    if isinstance(observations, dict):
        return {name: part[env] for name, part in observations.items()}
    return observations[env]
