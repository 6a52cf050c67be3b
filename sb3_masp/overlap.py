"""WhileStepping: lets the learner work while environments in other processes step."""

from collections.abc import Callable
from typing import Any

from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn


class WhileStepping(VecEnvWrapper):
    """Calls ``work`` in every step, between starting the environments and waiting for them.

    SB3's loop sends actions and waits for the results in a single call of ``step``; a wrapper can
    come in between.

    Args:
        venv: The environments.
        work: Function to call meanwhile.
    """

    def __init__(self, venv: VecEnv, work: Callable[[], None]) -> None:
        """Wrap the environments."""
        super().__init__(venv)
        self.work = work

    def reset(self) -> Any:
        """Start an episode in every environment."""
        return self.venv.reset()

    def step_wait(self) -> VecEnvStepReturn:
        """Work, then wait, even if the work was interrupted, so that other steps can follow."""
        try:
            self.work()
        except BaseException:
            self.venv.step_wait()
            raise
        return self.venv.step_wait()
