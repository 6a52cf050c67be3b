"""The learner that arms share, and how it is let learn for a budget of steps or frames."""

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
"""Of a run, the part at its end that final scores are of."""


class StepwiseMASPDQN(MASPDQN):
    """MASPDQN for one environment whose settings in decisions count steps, however long macros are.

    These are ``learning_starts``, ``train_freq`` and ``target_update_interval``: with macros as
    without them, learning begins after as many steps, takes as many updates for them, and as many
    of them lie between updates of the target network. Without macros it is MASPDQN.
    """

    def __init__(self, *args: Any, learning_starts: int, **kwargs: Any) -> None:
        """Keep from SB3, which counts decisions, when learning starts."""
        self._start, self._steps, self._last_duration = learning_starts, 0, 0
        super().__init__(*args, learning_starts=0, **kwargs)

    def _sample_action(self, learning_starts: int, *args: Any) -> Any:
        """Decide at random before learning starts."""
        is_early = self._steps < self._start
        return super()._sample_action(self.num_timesteps + 1 if is_early else 0, *args)

    def _store_transition(self, *args: Any) -> None:
        """Count the decision's steps."""
        super()._store_transition(*args)
        (info,) = args[-1]
        self._last_duration = info.get("duration", 1)
        self._steps += self._last_duration

    def _on_step(self) -> None:
        """Update the target network where the decision comes to a multiple of the interval."""
        every = self.target_update_interval
        is_due = self._steps // every > (self._steps - self._last_duration) // every
        self._n_calls = every - 1 if is_due else every  # SB3 adds one, and looks for multiples
        super()._on_step()

    def _take_trainings_due(self) -> int:
        """How many of the updates that the steps so far ask for have not been taken."""
        super()._take_trainings_due()
        every = self.train_freq.frequency
        return max(self._steps // every - self._start // every - self._n_updates, 0)


LEARNERS: dict[str, type[MASPDQN]] = {"decision": MASPDQN, "step": StepwiseMASPDQN}
"""By what updates are counted in."""


def make_learner(
    env: gym.Env[Any, Any],
    seed: int,
    shared: Mapping[str, Any],
    own: Mapping[str, Any],
    policy: Mapping[str, Any],
    updates: str = "decision",
    learners: Mapping[str, type[MASPDQN]] = LEARNERS,
) -> MASPDQN:
    """The learner that all arms share, with an arm's own arguments.

    Args:
        env: What it learns.
        seed: Of everything.
        shared: Arguments of all arms; ``train_freq`` is a number.
        own: Arguments of the arm, which go before the shared ones.
        policy: Arguments of the policy, likewise.
        updates: What ``train_freq`` counts: ``"decision"`` or ``"step"``.
        learners: Its class, by what updates are counted in.
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
    """Let it learn until the budget is spent; returns the episodes that ended.

    Args:
        model: The learner.
        budget: Counts the frames, or steps where there is no emulator.
        callbacks: Called after it.
    """
    log = EpisodeLog(budget)
    model.learn(budget.budget, callback=[budget, *callbacks, log], log_interval=1_000_000)
    return log.episodes


def scores(episodes: Sequence[Episode], frames: int) -> dict[str, float]:
    """What the episodes of a run say of it; 0 where none ended.

    Returns:
        ``area``, the mean over frames of the returns while it learned; ``final``, of the episodes
        in its last 30%.
    """
    return {
        "area": area_under_curve(episodes) or 0.0,
        "final": final_score(episodes, frames, LAST_SHARE) or 0.0,
    }


def effort(model: MASPDQN, begun: float) -> dict[str, float]:
    """What a run took, and the seconds since it was ``begun`` by ``time.perf_counter``."""
    return {
        "decisions": model.num_timesteps,
        "updates_taken": model._n_updates,
        "seconds": time.perf_counter() - begun,
    }
