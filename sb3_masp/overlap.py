"""WhileStepping: work for the learner while environments in other processes step."""

from collections.abc import Callable
from typing import Any

from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn


class WhileStepping(VecEnvWrapper):
    """Calls ``work`` in every step, after the environments have begun and before they are awaited.

    SB3's loop gives an environment its actions and waits for it in one call, ``step``, of whose two
    halves a wrapper can come in between.

    Args:
        venv: The environments.
        work: What to do meanwhile.
    """

    def __init__(self, venv: VecEnv, work: Callable[[], None]) -> None:
        """Wrap the environments."""
        super().__init__(venv)
        self.work = work

    def reset(self) -> Any:
        """Begin an episode in every environment."""
        return self.venv.reset()

    def step_wait(self) -> VecEnvStepReturn:
        """Work, then wait; also where the work was interrupted, so that others can step."""
        try:
            self.work()
        except BaseException:
            self.venv.step_wait()
            raise
        return self.venv.step_wait()
