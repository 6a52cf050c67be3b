"""Trajectories as pairwise weights read them: rollouts of several environments in parallel."""

from dataclasses import dataclass

import torch as th
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Trajectory:
    """Rollouts of ``envs`` environments, of ``time`` decisions each.

    Decision t of an environment leads from state S_t to S_{t+1}; where its episode, or the rollout,
    ends there, S_{t+1} is its last state. Time is counted in primitive steps; without macros, a
    decision is one.

    Args:
        observations: Observations of all states: first those in which decisions were taken,
            environment by environment, then those in which episodes and the rollout ended.
        actions: Actions of the decisions, environment by environment, ``(envs * time, ...)``.
        arrivals: Index of S_{t+1} in ``observations``, ``(envs, time)``.
        rewards: R, discounted within each decision by γ, ``(envs, time)``.
        discounts: γ^τ, or 0 where the episode terminated, ``(envs, time)``.
        values: v(S_t), by the value function of the regular return, ``(envs, time)``.
        next_values: v(S_{t+1}), ``(envs, time)``.
        clock: Primitive steps of the episode before the decision, ``(envs, time)``.
        durations: τ, ``(envs, time)``.
        last: Whether the episode, or the rollout, ends with the decision, ``(envs, time)``.
        advantages: Regular advantages, from λ-returns, ``(envs, time)``.
        returns: The λ-returns, ``(envs, time)``.
    """

    observations: PyTorchObs
    actions: Tensor
    arrivals: Tensor
    rewards: Tensor
    discounts: Tensor
    values: Tensor
    next_values: Tensor
    clock: Tensor
    durations: Tensor
    last: Tensor
    advantages: Tensor
    returns: Tensor

    @property
    def decided(self) -> PyTorchObs:
        """Observations of the states in which decisions were taken, ``(envs * time, ...)``."""
        return take(self.observations, slice(0, self.rewards.numel()))

    @property
    def episodes(self) -> Tensor:
        """Index of each decision's episode in its environment, ``(envs, time)``."""
        return self.last.cumsum(dim=1) - self.last.long()

    def later(self, rows: slice) -> Tensor:
        """Whether decisions come at or after a row's own, in the same episode.

        Args:
            rows: Decisions of the rows.

        Returns:
            Shape ``(envs, rows, time)``; true for the row's own.
        """
        episodes, steps = self.episodes, th.arange(self.rewards.shape[1], device=self.last.device)
        return (episodes[:, rows, None] == episodes[:, None]) & (steps[rows, None] <= steps)

    def segments(self) -> tuple[Tensor, Tensor]:
        """The segments, each of a single episode, for networks that read them in order.

        Returns:
            Indices of their decisions in ``(envs * time)``, shape ``(segments, longest)``, padded
            by repeating the last one; and the length of each, shape ``(segments,)``.
        """
        flat = self.last.flatten()
        ends = flat.nonzero().flatten()
        lengths = th.diff(ends, prepend=ends.new_full((1,), -1))
        steps = th.arange(int(lengths.max()), device=flat.device)
        return (ends - lengths + 1)[:, None] + th.minimum(steps, lengths[:, None] - 1), lengths


def take(observations: PyTorchObs, index: slice | Tensor) -> PyTorchObs:
    """Index observations, also in dictionaries."""
    if isinstance(observations, dict):
        return {name: part[index] for name, part in observations.items()}
    return observations[index]


def td_errors(trajectory: Trajectory) -> Tensor:
    """``δ = R + γ^τ v(S′) − v(S)``, shape ``(envs, time)``.

    Source: arXiv 2102.04999, below equation 8; γ^τ for decisions of several steps.
    """
    ahead = trajectory.discounts * trajectory.next_values
    return trajectory.rewards + ahead - trajectory.values


def bootstrapped_rewards(trajectory: Trajectory) -> Tensor:
    """R, plus the value of what is cut off where a rollout or a time limit cuts an episode.

    Returns:
        ``R + γ^τ v(S′)`` where an episode or the rollout ends, with v(S′) of a terminal state zero,
        and R elsewhere, shape ``(envs, time)``.
    """
    cut_off = trajectory.discounts * trajectory.next_values * trajectory.last
    return trajectory.rewards + cut_off
