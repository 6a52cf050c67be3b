"""MacroReplayBuffer: experience replay for decisions that last several primitive steps."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray
from stable_baselines3.common.buffers import BaseBuffer, ReplayBuffer
from stable_baselines3.common.vec_env import VecNormalize

from macro_gym.errors import ReplayBufferError
from sb3_masp.decisions import primitive_rewards
from sb3_masp.memory import beside_what_is_free, readable, warn_if_more_than_free
from sb3_masp.observation_store import WHOLE, ObservationStore, by_key, padded
from sb3_masp.returns import decision_returns, n_step_returns, window_lengths
from sb3_masp.samples import MacroReplaySamples, sent
from sb3_masp.sum_tree import SumTree

__all__ = ["MacroReplayBuffer", "MacroReplaySamples"]

# Added to every |TD error|, so that all decisions can be drawn (arXiv 1511.05952, section 3.3).
MIN_PRIORITY = 1e-6


class MacroReplayBuffer(ReplayBuffer):
    """Replay of decisions: SMDP returns, n-step or prioritised, each observation stored once.

    A decision's return is ``R = Σ_{i<τ} γ^i r_i`` over its primitive steps, and its bootstrap is
    discounted by ``γ^τ``, read from the ``duration`` and ``primitive_rewards`` that a macro
    environment puts into ``info``; without them a decision is one step. Uniform sampling matches
    SB3's ``ReplayBuffer`` draw for draw and value for value, and its ``NStepReplayBuffer`` if
    every decision is one step.

    Args:
        buffer_size: Capacity in decisions, over all environments.
        observation_space: Any space that SB3 supports, Dict spaces included.
        action_space: Action space.
        device: Device that samples are moved to.
        n_envs: Number of parallel environments.
        optimize_memory_usage: Has no effect, but SB3 passes it: each observation is stored once
            anyway.
        handle_timeout_termination: Whether to bootstrap at the end of truncated episodes.
        gamma: γ, the discount per primitive step.
        n_steps: Decisions in an n-step return. Windows end early with the episode, at a manual
            reset, and at the newest decision.
        clip_rewards: Whether to clip each primitive's reward to [-1, 1] before discounting.
        prioritized: Whether to sample in proportion to priority (arXiv 1511.05952, section 3.3).
            New decisions get the highest priority seen so far.
        priority_exponent: α of that paper; 0.6 is from its table 3.
        importance_exponent: Initial β of that paper; set the attribute to anneal it.
        compress: Whether to compress observations losslessly; None compresses only images (bytes,
            three axes). Breakout's screens then take 1/75 of the memory of SB3's buffer, other
            games' between 1/40 (Gopher) and 1/8 (YarsRevenge), and sampling takes about as long;
            uncompressed stacks share the frames that they have in common.

    Raises:
        ReplayBufferError: A setting is out of range.
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        device: th.device | str = "auto",
        n_envs: int = 1,
        optimize_memory_usage: bool = False,
        handle_timeout_termination: bool = True,
        *,
        gamma: float = 0.99,
        n_steps: int = 1,
        clip_rewards: bool = False,
        prioritized: bool = False,
        priority_exponent: float = 0.6,
        importance_exponent: float = 0.4,
        compress: bool | None = None,
    ) -> None:
        """Check the settings, and warn if the full buffer would exceed the free memory."""
        _require("buffer_size", buffer_size, buffer_size >= 1, "at least 1")
        _require("n_envs", n_envs, n_envs >= 1, "at least 1")
        _require("gamma", gamma, 0 <= gamma <= 1, "within 0..1")
        _require("n_steps", n_steps, n_steps >= 1 and n_steps == int(n_steps), "1, 2, 3, ...")
        _require("priority_exponent", priority_exponent, priority_exponent >= 0, "at least 0")
        _require(
            "importance_exponent", importance_exponent, 0 <= importance_exponent <= 1, "within 0..1"
        )
        # Not ReplayBuffer's constructor: it would allocate both observations of each transition.
        BaseBuffer.__init__(self, buffer_size, observation_space, action_space, device, n_envs)
        self.buffer_size = max(buffer_size // n_envs, 1)
        self.optimize_memory_usage = optimize_memory_usage
        self.handle_timeout_termination = handle_timeout_termination
        self.gamma = float(gamma)
        self.n_steps = int(n_steps)
        self.clip_rewards = clip_rewards
        self.priority_exponent = priority_exponent
        self.importance_exponent = importance_exponent
        entries = (self.buffer_size, n_envs)
        self._store = ObservationStore(observation_space, self.obs_shape, *entries, compress)
        self.actions = np.zeros(
            (*entries, self.action_dim), dtype=self._maybe_cast_dtype(action_space.dtype)
        )
        self.rewards = np.zeros(entries, dtype=np.float32)
        self.durations = np.zeros(entries, dtype=np.int32)
        self._dones = np.zeros(entries, dtype=np.bool_)
        self._timeouts = np.zeros(entries, dtype=np.bool_)
        # Whether the next row holds the same episode's next decision; False for the newest row.
        self._goes_on = np.zeros(entries, dtype=np.bool_)
        self._tree = SumTree(self.buffer_size * n_envs) if prioritized else None
        self._max_priority = 1.0
        if not self._store.compressed:
            warn_if_more_than_free(self.nbytes, self.memory_statement())

    @property
    def prioritized(self) -> bool:
        """Whether decisions are sampled in proportion to their priority."""
        return self._tree is not None

    @property
    def nbytes(self) -> int:
        """Memory of the full buffer in bytes, extrapolated from its contents; at most, if empty.

        It reads through the contents, which takes seconds for a million decisions.
        """
        tree = self._tree.nbytes if self._tree is not None else 0
        decisions: int = sum(getattr(self, name).nbytes for name in _PER_ROW)
        return self._store.nbytes + tree + decisions

    def memory_statement(self) -> str:
        """One line on the memory that the full buffer takes and that is free."""
        decisions = self.buffer_size * self.n_envs
        size = f"{'about' if self.size() else 'at most'} {readable(self.nbytes)} when full"
        if self._store.compressed and not self.size():
            size += ", far less if screens compress as games' do"
        return beside_what_is_free(f"replay buffer: {decisions:,} decisions, {size}")

    # Copies: SB3 marks the newest transition as done when `learn` is called again with
    # optimize_memory_usage, which its own buffer needs; here it would invent a terminal state.
    @property
    def dones(self) -> NDArray[np.float32]:  # type: ignore[override]
        """Whether each decision ended its episode, shape ``(rows, environments)``; a copy."""
        return self._dones.astype(np.float32)

    @property
    def timeouts(self) -> NDArray[np.float32]:  # type: ignore[override]
        """Whether each decision was truncated, shape ``(rows, environments)``; a copy."""
        return self._timeouts.astype(np.float32)

    def add(
        self,
        obs: ArrayLike | Mapping[str, ArrayLike],
        next_obs: ArrayLike | Mapping[str, ArrayLike],
        action: NDArray[Any],
        reward: NDArray[Any],
        done: NDArray[Any],
        infos: Sequence[Mapping[str, Any]],
    ) -> None:
        """Store one decision per environment, overwriting the oldest if full.

        Args:
            obs: Observations before the decisions, shape ``(environments, *shape)``; by key for
                Dict spaces.
            next_obs: Observations after them; the final one where an episode ended.
            action: Actions, shape ``(environments, ...)``.
            reward: Sums of the rewards of each decision's primitives, shape ``(environments,)``.
            done: Whether the episodes ended, shape ``(environments,)``.
            infos: May contain ``duration``, ``primitive_rewards`` and ``TimeLimit.truncated``.

        Raises:
            ReplayBufferError: ``primitive_rewards`` does not match ``duration`` or ``reward``.
        """
        paid, durations = primitive_rewards(infos, np.asarray(reward, dtype=np.float64))
        if self.clip_rewards:
            paid = paid.clip(-1, 1)
        went_on = self._store.add(by_key(obs), by_key(next_obs))
        row = self.pos
        self._goes_on[row - 1] = went_on & ~self._dones[row - 1]
        self._goes_on[row] = False
        self.actions[row] = np.reshape(action, (self.n_envs, self.action_dim))
        self.rewards[row] = decision_returns(paid, durations, self.gamma)
        self.durations[row] = durations
        self._dones[row] = done
        if self.handle_timeout_termination:
            self._timeouts[row] = [info.get("TimeLimit.truncated", False) for info in infos]
        if self._tree is not None:
            entries = row * self.n_envs + np.arange(self.n_envs)
            self._tree.update(entries, self._max_priority**self.priority_exponent)
        self.pos = (row + 1) % self.buffer_size
        self.full = self.full or self.pos == 0
        # With one percent full, it is known how well observations compress.
        if row == self.buffer_size // 100 and self._store.compressed and not self.full:
            warn_if_more_than_free(self.nbytes, self.memory_statement())

    def sample(  # type: ignore[override]  # a tuple of SB3's fields and two more
        self, batch_size: int, env: VecNormalize | None = None
    ) -> MacroReplaySamples:
        """Sample decisions with replacement.

        Args:
            batch_size: Number of decisions.
            env: If given, normalises observations and the return within each decision.

        Returns:
            The batch.

        Raises:
            ReplayBufferError: The buffer is empty.
        """
        if self.size() == 0:
            raise ReplayBufferError("the replay buffer is empty: add decisions before sampling")
        if self._tree is None:
            return self._get_samples(np.random.randint(0, self.size(), size=batch_size), env)
        indices = self._tree.sample(batch_size)
        priorities = self._tree[indices]
        # (N·P(i))^−β over the batch's maximum: N and the sum of priorities cancel.
        weights = (priorities.min() / priorities) ** self.importance_exponent
        return self._gather(indices, weights, env)

    def update_priorities(
        self, indices: NDArray[np.int64], td_errors: th.Tensor | NDArray[Any]
    ) -> None:
        """Set the priorities of sampled decisions to ``(|td_error| + ε)^α``.

        Args:
            indices: Indices of the samples, shape ``(batch,)``.
            td_errors: Their TD errors, or losses of distributional learners, shape ``(batch,)``.

        Raises:
            ReplayBufferError: The buffer is not prioritised, or an error is not finite.
        """
        if self._tree is None:
            raise ReplayBufferError("this replay buffer is uniform; build it with prioritized=True")
        errors = th.as_tensor(td_errors).detach().cpu().numpy().reshape(-1)
        priorities = np.abs(errors.astype(np.float64)) + MIN_PRIORITY
        highest = float(priorities.max())
        if not math.isfinite(highest):
            raise ReplayBufferError(f"td_errors hold {highest}: has the loss diverged?")
        self._max_priority = max(self._max_priority, highest)
        self._tree.update(indices, priorities**self.priority_exponent)

    def reset(self) -> None:
        """Discard all decisions and priorities."""
        super().reset()
        self._store.clear()
        self._max_priority = 1.0
        if self._tree is not None:
            self._tree = SumTree(self._tree.size)

    def _get_samples(  # type: ignore[override]
        self, batch_inds: NDArray[np.int64], env: VecNormalize | None = None
    ) -> MacroReplaySamples:
        """The decisions at rows ``batch_inds``, each of a random environment, drawn as by SB3."""
        envs = np.random.randint(0, high=self.n_envs, size=(len(batch_inds),))
        return self._gather(batch_inds * self.n_envs + envs, np.ones(len(batch_inds)), env)

    def _gather(
        self, indices: NDArray[np.int64], weights: NDArray[np.float64], env: VecNormalize | None
    ) -> MacroReplaySamples:
        """The samples at flat ``indices``, ``row · n_envs + environment``."""
        window = indices[:, None] + self.n_envs * np.arange(self.n_steps)
        lengths = window_lengths(_at(self._goes_on, window[:, :-1]))
        returns = self._normalize_reward(_at(self.rewards, window), env)
        durations = _at(self.durations, window)
        rewards, discounts = n_step_returns(returns, durations, lengths, self.gamma)
        last = indices + self.n_envs * (lengths - 1)
        dones = _at(self._dones, last) & ~_at(self._timeouts, last)
        return MacroReplaySamples(
            self._tensors(self._store.before(indices), env),
            self._tensor(self.actions.reshape(-1, self.action_dim).take(indices, axis=0)),
            self._tensors(self._store.after(last), env),
            self._tensor(dones[:, None].astype(np.float32)),
            self._tensor(rewards),
            self._tensor(discounts),
            self._tensor(weights[:, None].astype(np.float32)),
            indices,
        )

    def _tensor(self, array: NDArray[Any]) -> th.Tensor:
        """``array`` on the device; indexing has already copied it out of the buffer."""
        return sent(array, self.device)

    def _tensors(self, arrays: dict[str, NDArray[Any]], env: VecNormalize | None) -> Any:
        """Observations as tensors, normalised by ``env``; by key if the space is a Dict."""
        normalized: Any = self._normalize_obs(arrays.get(WHOLE, arrays), env)
        if WHOLE in arrays:
            return self._tensor(normalized)
        return {key: self._tensor(array) for key, array in normalized.items()}

    def __getstate__(self) -> dict[str, Any]:
        """The state, without rows that were never written."""
        filled = {name: getattr(self, name)[: self.size()] for name in _PER_ROW}
        return self.__dict__ | filled

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the buffer at its full capacity."""
        self.__dict__.update(state)
        for name in _PER_ROW:
            setattr(self, name, padded(getattr(self, name), self.buffer_size))


_PER_ROW = ("actions", "rewards", "durations", "_dones", "_timeouts", "_goes_on")


def _require(name: str, value: float, fits: bool, allowed: str) -> None:
    """Reject a setting that is out of range."""
    if not fits:
        raise ReplayBufferError(f"{name} is {value}; it must be {allowed}")


def _at(array: NDArray[Any], entries: NDArray[np.int64]) -> NDArray[Any]:
    """Values of ``array``, shape ``(rows, environments)``, at flat entries that wrap around."""
    return array.reshape(-1).take(entries, mode="wrap")
