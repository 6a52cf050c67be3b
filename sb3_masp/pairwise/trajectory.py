"""Trajectories as pairwise weights read them: rollouts of several environments, side by side."""

from dataclasses import dataclass

import torch as th
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Trajectory:
    """Rollouts of ``envs`` environments, of ``time`` decisions each.

    Decision t of an environment goes from its state S_t to S_{t+1}, which is the state that it
    showed last where its episode, or the rollout, ends there. Time is counted in steps
    (primitives); without macros, a decision is one.

    Args:
        observations: Of all states: first those in which decisions were taken, one environment
            after the other, then those in which episodes and the rollout ended.
        actions: Of the decisions, one environment after the other, ``(envs * time, ...)``.
        arrivals: Where in ``observations`` S_{t+1} is, ``(envs, time)``.
        rewards: R, discounted within each decision by γ, ``(envs, time)``.
        discounts: γ^τ, and 0 where the episode terminated, ``(envs, time)``.
        values: v(S_t), by the value function of the regular return, ``(envs, time)``.
        next_values: v(S_{t+1}), ``(envs, time)``.
        clock: Steps of the episode before the decision, ``(envs, time)``.
        durations: τ, ``(envs, time)``.
        last: Whether the episode, or the rollout, ends with the decision, ``(envs, time)``.
        advantages: Regular advantages, of λ-returns, ``(envs, time)``.
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
        """Which of its environment's episodes each decision is of, ``(envs, time)``."""
        return self.last.cumsum(dim=1) - self.last.long()

    def later(self, rows: slice) -> Tensor:
        """Whether a decision comes, in the episode of a row's, not before it.

        Args:
            rows: Which decisions the rows are.

        Returns:
            Shape ``(envs, rows, time)``; true for the row's own.
        """
        episodes, steps = self.episodes, th.arange(self.rewards.shape[1], device=self.last.device)
        return (episodes[:, rows, None] == episodes[:, None]) & (steps[rows, None] <= steps)

    def segments(self) -> tuple[Tensor, Tensor]:
        """The stretches of one episode each, for networks that read them in order.

        Returns:
            Places of their decisions in ``(envs * time)``, of shape ``(stretches, longest)`` and
            padded by repeating the last one, and how long each is.
        """
        flat = self.last.flatten()
        ends = flat.nonzero().flatten()
        lengths = th.diff(ends, prepend=ends.new_full((1,), -1))
        steps = th.arange(int(lengths.max()), device=flat.device)
        return (ends - lengths + 1)[:, None] + th.minimum(steps, lengths[:, None] - 1), lengths


def take(observations: PyTorchObs, index: slice | Tensor) -> PyTorchObs:
    """Some of the observations, of dictionaries too."""
    if isinstance(observations, dict):
        return {name: part[index] for name, part in observations.items()}
    return observations[index]


def td_errors(trajectory: Trajectory) -> Tensor:
    """``δ = R + γ^τ v(S′) − v(S)``, shape ``(envs, time)``.

    Source: arXiv 2102.04999, below equation 8; γ^τ for decisions that last.
    """
    ahead = trajectory.discounts * trajectory.next_values
    return trajectory.rewards + ahead - trajectory.values


def bootstrapped_rewards(trajectory: Trajectory) -> Tensor:
    """R and, where a rollout or a time limit cuts an episode, the value of what is cut off.

    Returns:
        ``R + γ^τ v(S′)`` for decisions with which an episode or the rollout ends, where v(S′) of a
        terminal state is zero, and R for others, shape ``(envs, time)``.
    """
    cut_off = trajectory.discounts * trajectory.next_values * trajectory.last
    return trajectory.rewards + cut_off
