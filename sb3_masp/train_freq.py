"""A unit of ``train_freq`` that fixes the ratio of updates to decisions for any environments."""

from typing import Any

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.type_aliases import RolloutReturn, TrainFreq, TrainFrequencyUnit
from stable_baselines3.common.vec_env import VecEnv

from macro_gym.errors import LearnerSettingError

DECISION: Any = "decision"  # SB3's units are members of an enumeration, which takes no others


class TrainsByDecisions(OffPolicyAlgorithm):
    """Accepts ``train_freq=(4, "decision")``: train once for every 4 decisions of the run.

    SB3's unit ``"step"`` counts vectorised steps, so that 16 environments train 1/16 as often for
    the same number of decisions. For one environment both are the same. A rollout is then as many
    vectorised steps as fit the decisions, at least one, and the trainings due from it run at once;
    fractions become due later. Updates for decisions up to ``learning_starts`` are never due.
    """

    _trainings_due = 1  # from the last rollout, for the `train` after it

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, train_freq: TrainFreq, *args: Any, **kwargs: Any
    ) -> RolloutReturn:
        """Collect decisions until the next updates are due; arguments as in SB3."""
        if train_freq.unit != DECISION:
            return super().collect_rollouts(env, callback, train_freq, *args, **kwargs)
        every, before = train_freq.frequency, self.num_timesteps
        steps = TrainFreq(max(every // env.num_envs, 1), TrainFrequencyUnit.STEP)
        rollout = super().collect_rollouts(env, callback, steps, *args, **kwargs)
        now, starts = self.num_timesteps, self.learning_starts
        # With -1, SB3 asks for an update per decision of the rollout, which keeps the ratio.
        if rollout.continue_training and now > starts and self.gradient_steps > 0:
            self._trainings_due = trainings_due(every, before, now, starts)
        return rollout

    def _take_trainings_due(self) -> int:
        """Return how often to take the updates of this `train`, and reset it."""
        due, self._trainings_due = self._trainings_due, 1
        return due

    def _convert_train_freq(self) -> None:
        """Accept decisions as a unit besides SB3's.

        Raises:
            LearnerSettingError: Their number is not a positive integer, or the unit is unknown.
        """
        asked: Any = self.train_freq
        if not isinstance(asked, (tuple, list)) or len(asked) != 2:
            return super()._convert_train_freq()
        if asked[1] not in (DECISION, *TrainFrequencyUnit, *(u.value for u in TrainFrequencyUnit)):
            raise LearnerSettingError(
                f"train_freq is {tuple(asked)}; its unit may be 'decision', 'step' or 'episode'"
            )
        if asked[1] != DECISION:
            return super()._convert_train_freq()
        if isinstance(asked[0], bool) or not isinstance(asked[0], int) or asked[0] < 1:
            raise LearnerSettingError(
                f"train_freq is {tuple(asked)}; the number of decisions must be an integer, at "
                "least 1"
            )
        self.train_freq = TrainFreq(*asked)  # type: ignore[assignment]  # as SB3 does
        return None


def trainings_due(every: int, before: int, now: int, learning_starts: int) -> int:
    """How often to train after a rollout, so that it is once per ``every`` decisions.

    Args:
        every: Decisions between two trainings, over all environments.
        before: Decisions of the run when the rollout began.
        now: Decisions of the run at its end.
        learning_starts: Decisions at the start of the run without training.

    Example:
        >>> [trainings_due(4, now - 3, now, learning_starts=5) for now in (3, 6, 9, 12, 15)]
        [0, 0, 1, 1, 0]
        >>> trainings_due(4, before=16, now=32, learning_starts=5)
        4
    """
    return max(now // every - max(before, learning_starts) // every, 0)
