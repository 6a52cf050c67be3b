"""FrameSchedules: schedules that follow frames, in SB3's on-policy learners too."""

from stable_baselines3.common.base_class import BaseAlgorithm


class FrameSchedules(BaseAlgorithm):
    """Makes a learner's schedules follow the total that callbacks such as `FrameBudget` set.

    SB3's off-policy learners do so by themselves, but A2C, PPO and other on-policy learners compute
    progress from the argument of ``learn``. List this before one of them.

    Example:
        >>> from stable_baselines3 import PPO
        >>> from sb3_masp.callbacks import FrameBudget
        >>> class FramePPO(FrameSchedules, PPO):
        ...     '''PPO whose learning rate and clipping range follow frames.'''
        >>> model = FramePPO("MlpPolicy", "CartPole-v1", lambda left: 3e-4 * left, n_steps=64)
        >>> model = model.learn(10**6, callback=FrameBudget(128))
    """

    def _update_current_progress_remaining(self, num_timesteps: int, total_timesteps: int) -> None:
        """Compute progress from the total that callbacks set."""
        super()._update_current_progress_remaining(num_timesteps, self._total_timesteps)
