"""Key-to-Door: a key without reward, apples with rewards, and much later the key's door."""

from itertools import accumulate, product
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from macro_gym.errors import EnvironmentSettingError
from macro_gym.settings import require_at_least, require_one_of

PHASES = ("key", "apple", "door")
PHASE_STEPS = (15, 90, 15)
PHASE_ENDS = tuple(accumulate(PHASE_STEPS))
EPISODE_STEPS = sum(PHASE_STEPS)

MEANS, STDS = (1.0, 5.0, 10.0), (5.0, 25.0, 50.0)
SETTINGS = tuple(product(MEANS, STDS))
"""Nine pairs of ``apple_mean`` and ``apple_std``.

The paper's text names (5, 5) and (5, 25), the middle one; the other levels are ours.
"""

ROWS, COLUMNS = 7, 11
FLOOR, WALL, KEY, APPLE, DOOR, AGENT = range(6)
PALETTE = np.array(
    [(230, 230, 220), (60, 60, 70), (230, 180, 20), (200, 40, 40), (120, 70, 30), (30, 90, 220)],
    np.uint8,
)
"""Colours of floor, wall, key, apple, door and agent."""

MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1))
DOOR_PLACE = (1, 5)
CENTRE = (3, 5)

Place = tuple[int, int]
View = npt.NDArray[np.uint8]
Observation = dict[str, Any]


def _room(rows: slice, columns: slice) -> View:
    """Floor surrounded by walls."""
    cells = np.full((ROWS, COLUMNS), WALL, np.uint8)
    cells[rows, columns] = FLOOR
    return cells


ROOMS = (
    _room(slice(1, 6), slice(3, 8)),
    _room(slice(1, 6), slice(1, 10)),
    _room(slice(2, 5), slice(4, 7)),
)
"""Cells of the three phases that never change, shape ``(7, 11)`` each."""

KEY_PLACES = tuple(product((1, 2), range(3, 8)))
START_PLACES = tuple(product((4, 5), range(3, 8)))
APPLE_PLACES = tuple(place for place in product(range(1, 6), range(1, 10)) if place != CENTRE)


class KeyToDoor(gym.Env[Observation, np.int64]):
    """Episodes of 120 steps in three rooms, of which the first decides what the last one pays.

    - Key, 15 steps: a room with a key, which is taken by walking over it and pays nothing.
    - Apples, 90 steps: each is eaten by walking over it, pays a random reward and does not come
      back.
    - Door, 15 steps: the agent starts in the centre, two steps below a door that can be entered
      only with the key. Entering it for the first time pays ``door_reward``; the episode continues
      without reward to its last step.

    Nothing else in one room affects another: places and rewards of apples are all drawn when the
    episode starts.

    The agent sees ``view``, the room from above in RGB, shape ``(7 · cell_size, 11 · cell_size,
    3)``, and ``has_key``, 1 once the key is taken, but not how many steps are left. Actions are up,
    down, left and right; walls block them. `info` has the ``phase`` of the view (``"key"``,
    ``"apple"`` or ``"door"``) and ``door_reward``, what the door has paid in this episode so far.

    Each episode draws the key's place (ten, in the upper two rows of its room), the agent's first
    place (ten, in the lower two rows) and the apples' places (``n_apples`` of 44). In the other
    rooms the agent starts in the centre, and the door is fixed.

    Args:
        apple_mean: Mean of an apple's reward (μ).
        apple_std: Standard deviation of an apple's reward (σ); rewards are normally distributed.
        door_reward: Reward of the door.
        n_apples: Number of apples, up to 44.
        rooms_seed: Seed from which all places are drawn once, for all episodes; rewards stay
            random. None draws new places in each episode.
        cell_size: Side of a cell in pixels: at least 6 for SB3's own CNN, 1 for a smaller one.
        render_mode: ``"rgb_array"`` or None.

    Raises:
        EnvironmentSettingError: A setting is out of range.
        ArgumentTypeError: A number is not an integer.

    Example:
        >>> env = KeyToDoor(apple_mean=5, apple_std=25)
        >>> observation, info = env.reset(seed=3)
        >>> observation["view"].shape, observation["has_key"], info
        ((42, 66, 3), np.int64(0), {'phase': 'key', 'door_reward': 0.0})

    Source: arXiv 2102.04999, section 5.2; the task is from arXiv 1810.06721, which gives the size
    of the views, rooms of about these sizes, the key's and the agent's ten places, ten apples and
    the fixed door. Ours are the open floors, apples anywhere, normal rewards and the colours.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012  # as gym.Env declares it
        "render_modes": ["rgb_array"],
        "render_fps": 10,
    }

    def __init__(
        self,
        apple_mean: float = 5.0,
        apple_std: float = 25.0,
        door_reward: float = 10.0,
        n_apples: int = 10,
        rooms_seed: int | None = None,
        cell_size: int = 6,
        render_mode: Literal["rgb_array"] | None = None,
    ) -> None:
        """Check the settings and build the spaces."""
        if apple_std < 0:
            raise EnvironmentSettingError(
                f"apple_std is {apple_std}; a standard deviation is at least 0"
            )
        require_at_least("n_apples", n_apples, 0)
        if n_apples > len(APPLE_PLACES):
            raise EnvironmentSettingError(
                f"n_apples is {n_apples}; their room has place for {len(APPLE_PLACES)}"
            )
        require_at_least("cell_size", cell_size, 1)
        require_one_of("render_mode", render_mode, (None, "rgb_array"))
        self.apple_mean = apple_mean
        self.apple_std = apple_std
        self.door_reward = door_reward
        self.n_apples = n_apples
        self.rooms_seed = rooms_seed
        self.cell_size = cell_size
        self.render_mode = render_mode
        shape = (ROWS * cell_size, COLUMNS * cell_size, 3)
        self.observation_space = gym.spaces.Dict(
            {
                "view": gym.spaces.Box(0, 255, shape, np.uint8),
                "has_key": gym.spaces.Discrete(2),
            }
        )
        self.action_space = gym.spaces.Discrete(len(MOVES))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Draw the rooms, and enter the first."""
        super().reset(seed=seed)
        random = self.np_random
        rooms = random if self.rooms_seed is None else np.random.default_rng(self.rooms_seed)
        self._agent = START_PLACES[rooms.integers(len(START_PLACES))]
        self._key = KEY_PLACES[rooms.integers(len(KEY_PLACES))]
        chosen = rooms.choice(len(APPLE_PLACES), self.n_apples, replace=False)
        rewards = random.normal(self.apple_mean, self.apple_std, self.n_apples)
        self._apples = {
            APPLE_PLACES[place]: float(reward)
            for place, reward in zip(chosen, rewards, strict=True)
        }
        self._steps, self._phase = 0, 0
        self._has_key, self._door_return, self._opened = False, 0.0, False
        return self._observation(), self._info()

    def step(self, action: np.int64) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Move, and take or open what is there."""
        self._move(*MOVES[action])
        reward = self._found()
        self._steps += 1
        if self._steps in PHASE_ENDS[:-1]:
            self._phase += 1
            self._agent = CENTRE
        return self._observation(), reward, self._steps == EPISODE_STEPS, False, self._info()

    def render(self) -> View | None:
        """Return the room from above, 24 pixels per cell."""
        return None if self.render_mode is None else _drawn(self._cells(), 24)

    def _move(self, down: int, right: int) -> None:
        """Move by one cell, unless a wall or a locked door is in the way."""
        place = (self._agent[0] + down, self._agent[1] + right)
        through_door = self._phase == 2 and place == DOOR_PLACE and self._has_key
        if through_door or ROOMS[self._phase][place] == FLOOR:
            self._agent = place

    def _found(self) -> float:
        """Take what is where the agent is, and return its reward."""
        if self._phase == 0:
            self._has_key |= self._agent == self._key
        elif self._phase == 1:
            return self._apples.pop(self._agent, 0.0)
        elif self._agent == DOOR_PLACE and not self._opened:
            self._opened, self._door_return = True, self.door_reward
            return self.door_reward
        return 0.0

    def _cells(self) -> View:
        """Content of each cell of the room, shape ``(7, 11)``."""
        cells = ROOMS[self._phase].copy()
        if self._phase == 0 and not self._has_key:
            cells[self._key] = KEY
        elif self._phase == 1:
            for place in self._apples:
                cells[place] = APPLE
        elif self._phase == 2:
            cells[DOOR_PLACE] = FLOOR if self._opened else DOOR
        cells[self._agent] = AGENT
        return cells

    def _observation(self) -> Observation:
        """What the agent sees."""
        view = _drawn(self._cells(), self.cell_size)
        return {"view": view, "has_key": np.int64(self._has_key)}

    def _info(self) -> dict[str, Any]:
        """The phase, and the door's reward so far."""
        return {"phase": PHASES[self._phase], "door_reward": self._door_return}


def handcrafted_weights(discount: float = 0.92) -> npt.NDArray[np.float32]:
    """Weights by time: 1 from the key phase to the door phase, steep discounting within the others.

    ``weights[t, k]`` is the weight of step k's reward for step t's action, with steps counted from
    0: ``discount^(k−t)`` if ``k >= t`` and both are in the apple phase, or both in the door phase.
    All others are 0: apples for the key phase, the door for the apple phase, and rewards of the
    past.

    Returns:
        Weights, shape ``(120, 120)``.

    Source: arXiv 2102.04999, figure 4, bottom left. The 1 is ours: the paper says "non-zero".
    """
    key, apple, door = (
        slice(end - steps, end) for end, steps in zip(PHASE_ENDS, PHASE_STEPS, strict=True)
    )
    steps = np.arange(EPISODE_STEPS)
    lags = steps - steps[:, None]
    discounted = np.where(lags >= 0, discount ** np.maximum(lags, 0), 0)
    weights = np.zeros((EPISODE_STEPS, EPISODE_STEPS), np.float32)
    for phase in (apple, door):
        weights[phase, phase] = discounted[phase, phase]
    weights[key, door] = 1
    return weights


def _drawn(cells: View, size: int) -> View:
    """Cells as coloured squares."""
    return PALETTE[cells].repeat(size, axis=0).repeat(size, axis=1)
