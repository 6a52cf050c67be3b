"""The umbrella problem as a chain: the first action decides the last reward, with noise between."""

from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from macro_gym.errors import EnvironmentSettingError
from macro_gym.settings import require_at_least


class UmbrellaChain(gym.Env[np.int64, np.int64]):
    """Episodes of ``length`` steps: take an umbrella or not, a long day, and then rain.

    The first action decides the reward on the last step: +1 with the umbrella (action 1), −1
    without. All other actions do nothing. On each step before the last, a reward is drawn from a
    normal distribution, whatever the action.

    The agent sees one number, which contains all that matters: 0 before the first step, and
    ``2t − 1 + umbrella`` after step t, so that there are ``2 · length + 1`` states.

    Args:
        length: Steps of an episode (T in the paper).
        mean: Mean of the rewards before the last (μ).
        std: Their standard deviation (σ).

    Raises:
        EnvironmentSettingError: ``length`` is below 1 or ``std`` below 0.
        ArgumentTypeError: ``length`` is not an integer.

    Example:
        >>> env = UmbrellaChain(length=3, std=0)
        >>> state, info = env.reset()
        >>> [(int(state), reward) for state, reward, *_ in map(env.step, (1, 0, 0))]
        [(2, 0.0), (4, 0.0), (6, 1.0)]

    Source: arXiv 2102.04999, section 3 and figure 1. The umbrella's ±1 and the defaults are
    ours (bsuite's umbrella chain has them, too).
    """

    def __init__(self, length: int = 20, mean: float = 0.0, std: float = 1.0) -> None:
        """Check the settings and build the spaces."""
        require_at_least("length", length, 1)
        if std < 0:
            raise EnvironmentSettingError(f"std is {std}; a standard deviation is at least 0")
        self.length = length
        self.mean = mean
        self.std = std
        self.observation_space = gym.spaces.Discrete(n_states(length))
        self.action_space = gym.spaces.Discrete(2)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.int64, dict[str, Any]]:
        """Start an episode."""
        super().reset(seed=seed)
        self._steps = 0
        return np.int64(0), {}

    def step(self, action: np.int64) -> tuple[np.int64, float, bool, bool, dict[str, Any]]:
        """Take a step; the first one takes the umbrella or leaves it."""
        if self._steps == 0:
            self._umbrella = int(action)
        self._steps += 1
        rain = self._steps == self.length
        reward = 2.0 * self._umbrella - 1 if rain else self.np_random.normal(self.mean, self.std)
        return np.int64(2 * self._steps - 1 + self._umbrella), float(reward), rain, False, {}


def n_states(length: int) -> int:
    """Number of states, including the two last ones."""
    return 2 * length + 1


def best_return(length: int, mean: float = 0.0) -> float:
    """Greatest expected undiscounted return, with the umbrella."""
    return (length - 1) * mean + 1


def handcrafted_weights(length: int) -> npt.NDArray[np.float32]:
    """1 from the first state to the two last ones, else 0.

    Returns:
        Weights, shape ``(states, states)``: rows get credit for the rewards of columns.

    Source: arXiv 2102.04999, section 3, where they remove all variance of the first advantage.
    """
    weights = np.zeros((n_states(length), n_states(length)), np.float32)
    weights[0, -2:] = 1
    return weights
