"""The DAG of arXiv 2102.04999: choices first, then their rewards, that of the latest choice first.

With ``depth = 2n``, the first phase makes n choices down a binary tree. The second phase is the
same tree rotated by half a turn: each step drops the latest choice that is still remembered and
pays for it. States are numbered by layers, 46 of them at depth 8::

    first phase, 0-14     0 | 1 2 | 3-6 | 7-14            two actions, no reward
    second phase, 15-44   15-30 | 31-38 | 39-42 | 43 44   one action, +1 or −1 at each step
    the end               45

State s of the first phase leads to ``2s + 1 + action``, and the choice made there is paid on the
step into state ``states − 1 − s``: the action at state 1 decides the reward on the step into 44, as
in the paper, and the action at state 0 the reward on the step into the end.

Paper and ours: the paper gives the two phases and the numbers of their states, the rewards, and the
example of states 1 and 44; the rest is in its figure. Ours are the tree (it fits all of these, and
makes depth 8 last 8 steps), the separate end state, so that each reward has a state that is stepped
into, and which action is right: ``state % 2``, so that no constant policy earns much.
"""

from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from macro_gym.errors import EnvironmentSettingError
from macro_gym.settings import require_at_least


class DAG(gym.Env[np.int64, np.int64]):
    """Episodes of ``depth`` steps: choices, then a reward of ±1 for each of them.

    The agent sees the number of its state. There are two actions throughout; in the second phase
    both do the same.

    Args:
        depth: Steps of an episode, an even number; 4, 8 and 16 in the paper.

    Raises:
        EnvironmentSettingError: ``depth`` is odd or below 2.
        ArgumentTypeError: ``depth`` is not an integer.

    Example:
        >>> env = DAG(depth=4)
        >>> state, info = env.reset()
        >>> [(int(state), reward) for state, reward, *_ in map(env.step, (0, 1, 0, 0))]
        [(1, 0.0), (4, 0.0), (8, 1.0), (9, 1.0)]

    Source: arXiv 2102.04999, section 5.1 and figure 2.
    """

    def __init__(self, depth: int = 8) -> None:
        """Check the depth and build the spaces."""
        require_at_least("depth", depth, 2)
        if depth % 2:
            raise EnvironmentSettingError(
                f"depth is {depth}; it must be even: half of an episode's steps are choices, and "
                "the other half pays for them"
            )
        self.depth = depth
        self.observation_space = gym.spaces.Discrete(n_states(depth))
        self.action_space = gym.spaces.Discrete(2)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.int64, dict[str, Any]]:
        """Go to state 0."""
        super().reset(seed=seed)
        self._state = 0
        return np.int64(0), {}

    def step(self, action: np.int64) -> tuple[np.int64, float, bool, bool, dict[str, Any]]:
        """Make a choice, or get the reward of one."""
        self._state, reward = transition(self.depth, self._state, int(action))
        over = self._state == n_states(self.depth) - 1
        return np.int64(self._state), reward, over, False, {}


def n_states(depth: int) -> int:
    """Number of states, the end included: 10, 46 and 766 at depths 4, 8 and 16."""
    return 3 * n_choices(depth) + 1


def n_choices(depth: int) -> int:
    """Number of states in which the action matters, which come first: 3, 15 and 255."""
    return int(2 ** (depth // 2)) - 1


def best_return(depth: int) -> float:
    """Greatest undiscounted return, with every choice right."""
    return depth / 2


def transition(depth: int, state: int, action: int) -> tuple[int, float]:
    """Return the state that ``action`` leads to and the reward on the way.

    Args:
        depth: Steps of an episode.
        state: Any state but the end.
        action: 0 or 1.

    Example:
        >>> transition(8, 1, 1), transition(8, 41, 0), transition(8, 44, 0)
        ((4, 0.0), (44, 1.0), (45, 1.0))
    """
    choices, end = n_choices(depth), n_states(depth) - 1
    if state < choices:
        return 2 * state + 1 + action, 0.0
    remembered = state if state <= 2 * choices else end - state
    paid, chosen = divmod(remembered - 1, 2)
    return end - paid, 1.0 if chosen == paid % 2 else -1.0


def handcrafted_weights(depth: int) -> npt.NDArray[np.float32]:
    """1 where the reward on the step into state j depends on the action at state i, else 0.

    That is one reward for each choice: ``weights[s, states − 1 − s]`` in the first phase. Whether a
    state is reached at all depends on earlier actions, too, but not the reward there.

    Returns:
        Weights, shape ``(states, states)``: rows get credit for the rewards of columns.

    Source: arXiv 2102.04999, figure 3, top.
    """
    states = n_states(depth)
    weights = np.zeros((states, states), np.float32)
    chosen = np.arange(n_choices(depth))
    weights[chosen, states - 1 - chosen] = 1
    return weights


def reachable(depth: int) -> npt.NDArray[np.bool_]:
    """Whether state j can follow state i in an episode, shape ``(states, states)``."""
    states = n_states(depth)
    reach = np.zeros((states, states), np.bool_)
    for state in range(states - 2, -1, -1):  # a step leads to a higher number
        for action in (0, 1):
            after, _ = transition(depth, state, action)
            reach[state, after] = True
            reach[state] |= reach[after]
    return reach
