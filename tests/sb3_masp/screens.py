"""An environment of small screens, channels last, registered as soon as this module is imported."""

import gymnasium as gym
import numpy as np


class Screens(gym.Env):
    """A bright column moves at random; it is rewarding to name the side that it is on."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012
    observation_space = gym.spaces.Box(0, 255, (37, 41, 1), np.uint8)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.column, self.steps = 20, 0
        return self._screen(), {}

    def step(self, action):
        reward = float(action == (self.column > 20))
        self.column = int(np.clip(self.column + self.np_random.integers(-3, 4), 0, 40))
        self.steps += 1
        return self._screen(), reward, self.steps == 29, False, {}

    def _screen(self):
        screen = np.zeros(self.observation_space.shape, np.uint8)
        screen[:, self.column] = 200
        return screen


gym.register("Screens-v0", Screens)
