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
    """MASPDQN whose ``train_freq`` counts steps: as many updates a step, however long macros are.

    It needs a buffer that holds the whole run.
    """

    def _take_trainings_due(self) -> int:
        """How many of the updates that the steps so far ask for have not been taken."""
        super()._take_trainings_due()
        durations = self.replay_buffer.durations[:, 0]
        steps = durations[self.learning_starts :].sum()
        return int(steps) // self.train_freq.frequency - self._n_updates


LEARNERS = {"decision": MASPDQN, "step": StepwiseMASPDQN}
"""By what updates are counted in."""


def make_learner(
    env: gym.Env[Any, Any],
    seed: int,
    shared: Mapping[str, Any],
    own: Mapping[str, Any],
    policy: Mapping[str, Any],
    updates: str = "decision",
) -> MASPDQN:
    """The learner that all arms share, with an arm's own arguments.

    Args:
        env: What it learns.
        seed: Of everything.
        shared: Arguments of all arms; ``train_freq`` is a number.
        own: Arguments of the arm, which go before the shared ones.
        policy: Arguments of the policy, likewise.
        updates: What ``train_freq`` counts: ``"decision"`` or ``"step"``.
    """
    given = {
        **shared,
        **own,
        "train_freq": (shared["train_freq"], "decision"),
        "policy_kwargs": {**policy, **own.get("policy_kwargs", {})},
    }
    return LEARNERS[updates]("MlpPolicy", Monitor(env), seed=seed, device="cpu", **given)


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
