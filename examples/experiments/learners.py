"""The learner shared by all arms, and its training for a budget of steps or frames."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.monitor import Monitor

from sb3_masp import MASPDQN
from sb3_masp.callbacks import Episode, EpisodeLog, FrameBudget
from sb3_masp.sweeps.results import area_under_curve, final_score

LAST_SHARE = 0.3
"""Share of a run, at its end, over which final scores are taken."""


class StepwiseMASPDQN(MASPDQN):
    """MASPDQN for one environment, with settings in primitive steps instead of decisions.

    These are ``learning_starts``, ``train_freq`` and ``target_update_interval``: with or without
    macros, learning starts after the same number of steps, takes the same number of updates per
    step, and updates the target network at the same interval of steps. Without macros it equals
    MASPDQN.
    """

    def __init__(self, *args: Any, learning_starts: int, **kwargs: Any) -> None:
        """Hide ``learning_starts`` from SB3, which counts decisions."""
        self._start, self._steps, self._last_duration = learning_starts, 0, 0
        super().__init__(*args, learning_starts=0, **kwargs)

    def _sample_action(self, learning_starts: int, *args: Any) -> Any:
        """Choose random actions before learning starts."""
        is_early = self._steps < self._start
        return super()._sample_action(self.num_timesteps + 1 if is_early else 0, *args)

    def _store_transition(self, *args: Any) -> None:
        """Store a decision and count its steps."""
        super()._store_transition(*args)
        (info,) = args[-1]
        self._last_duration = info.get("duration", 1)
        self._steps += self._last_duration

    def _on_step(self) -> None:
        """Update the target network if the decision reaches a multiple of the interval."""
        every = self.target_update_interval
        is_due = self._steps // every > (self._steps - self._last_duration) // every
        self._n_calls = every - 1 if is_due else every  # SB3 adds one and tests for multiples
        super()._on_step()

    def _take_trainings_due(self) -> int:
        """Number of updates that are due after the steps so far."""
        super()._take_trainings_due()
        every = self.train_freq.frequency
        return max(self._steps // every - self._start // every - self._n_updates, 0)


LEARNERS: dict[str, type[MASPDQN]] = {"decision": MASPDQN, "step": StepwiseMASPDQN}
"""Learner classes by the unit in which updates are counted."""


def make_learner(
    env: gym.Env[Any, Any],
    seed: int,
    shared: Mapping[str, Any],
    own: Mapping[str, Any],
    policy: Mapping[str, Any],
    updates: str = "decision",
    learners: Mapping[str, type[MASPDQN]] = LEARNERS,
) -> MASPDQN:
    """Build the learner shared by all arms, with an arm's own arguments.

    Args:
        env: Environment to learn on.
        seed: Seed of everything random.
        shared: Arguments of all arms; ``train_freq`` is a number.
        own: Arguments of the arm, which override the shared ones.
        policy: Arguments of all arms' policies, which those in ``own`` override.
        updates: Unit that ``train_freq`` counts: ``"decision"`` or ``"step"``.
        learners: Learner classes by that unit.
    """
    given = {
        **shared,
        **own,
        "train_freq": (shared["train_freq"], "decision"),
        "policy_kwargs": {**policy, **own.get("policy_kwargs", {})},
    }
    return learners[updates]("MlpPolicy", Monitor(env), seed=seed, device="cpu", **given)


def let_learn(
    model: MASPDQN, budget: FrameBudget, callbacks: Sequence[BaseCallback] = ()
) -> list[Episode]:
    """Train until the budget is spent; return the finished episodes.

    Args:
        model: The learner.
        budget: Callback that counts frames, or steps if there is no emulator.
        callbacks: Further callbacks, called after it.
    """
    log = EpisodeLog(budget)
    model.learn(budget.budget, callback=[budget, *callbacks, log], log_interval=1_000_000)
    return log.episodes


def scores(episodes: Sequence[Episode], frames: int) -> dict[str, float]:
    """Scores of a run from its episodes; 0 if there are none.

    Returns:
        ``area``, the training return averaged over frames; ``final``, the mean return of the
        episodes in the last 30% of the run.
    """
    return {
        "area": area_under_curve(episodes) or 0.0,
        "final": final_score(episodes, frames, LAST_SHARE) or 0.0,
    }


def effort(model: MASPDQN, begun: float) -> dict[str, float]:
    """Decisions and updates of a run, and seconds since ``begun`` by ``time.perf_counter``."""
    return {
        "decisions": model.num_timesteps,
        "updates_taken": model._n_updates,
        "seconds": time.perf_counter() - begun,
    }
