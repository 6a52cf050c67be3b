"""MacroAction: macros as actions of any environment with a Discrete action space."""

from collections.abc import Sequence
from typing import Any, TypeVar

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from macro_gym.errors import ActionSpaceError
from macro_gym.frames import frames_per_step, warn_of_other_frameskip
from macro_gym.macro_set import MacroSet

ObsType = TypeVar("ObsType")


class MacroAction(
    gym.Wrapper[ObsType, np.int64, ObsType, np.int64], gym.utils.RecordConstructorArgs
):
    """Wrapper that adds macros to an environment's actions.

    The environment's own actions come first, in order, followed by the macros. A macro runs its
    primitives one after the other and stops if the episode ends. The agent sees the last
    observation and the sum of the rewards; ``info`` is that of the last primitive, plus

    - ``duration``: primitives that were run (int),
    - ``primitive_rewards``: their rewards (float32, always as long as the longest macro, zero after
      ``duration``).

    If the environment names its actions (``get_action_meanings``), macros are matched to them by
    name, so a set mined with the full action set also fits the minimal one, and vice versa.

    Args:
        env: Any environment with a Discrete action space that starts at 0.
        macro_set: The macros.

    Raises:
        ActionSpaceError: The environment's actions are not discrete, differ in number from the
            set's primitives, or already include macros.
        RemapError: A macro needs an action that the environment does not have.
        FrameSkipError: The environment skips frames twice, or a random number of them.

    Example:
        >>> import gymnasium as gym
        >>> macros = MacroSet(("LEFT", "RIGHT"), ((0, 1, 0),))
        >>> env = MacroAction(gym.make("CartPole-v1"), macros)
        >>> env.action_space
        Discrete(3)
        >>> observation, info = env.reset(seed=1)
        >>> observation, reward, terminated, truncated, info = env.step(2)
        >>> reward, info["duration"], info["primitive_rewards"]
        (3.0, 3, array([1., 1., 1.], dtype=float32))

    Source: arXiv 2506.13690, section 3.
    """

    def __init__(self, env: gym.Env[ObsType, np.int64], macro_set: MacroSet) -> None:
        """Match the macros to the environment's actions."""
        gym.utils.RecordConstructorArgs.__init__(self, macro_set=macro_set)
        gym.Wrapper.__init__(self, env)
        self.frameskip = frames_per_step(env)
        self.macro_set = _fitted(macro_set, env)
        warn_of_other_frameskip(self.macro_set, self.frameskip)
        self.action_space = spaces.Discrete(self.macro_set.n_actions)

    def step(self, action: np.int64) -> tuple[ObsType, float, bool, bool, dict[str, Any]]:
        """Run the primitives of ``action``, up to the episode's end."""
        rewards: list[float] = []
        for primitive in self.macro_set.expand(action):
            observation, reward, terminated, truncated, info = self.env.step(np.int64(primitive))
            rewards.append(float(reward))
            if terminated or truncated:
                break
        info = info | decision_info(rewards, self.macro_set.max_length)
        return observation, sum(rewards), terminated, truncated, info

    def get_action_meanings(self) -> list[str]:
        """Return the name of every action: ``"LEFT"``, ``"LEFT×4"``, ``"RIGHT,NOOP"``."""
        return list(self.macro_set.names)


def decision_info(rewards: Sequence[float], max_length: int) -> dict[str, Any]:
    """Return a decision's entries in ``info``.

    Args:
        rewards: Rewards of the primitives that were run.
        max_length: Primitives in the longest action.

    Returns:
        ``duration`` (primitives) and ``primitive_rewards`` (float32, shape ``(max_length,)``, zero
        after ``duration``).
    """
    primitive_rewards: NDArray[np.float32] = np.zeros(max_length, np.float32)
    primitive_rewards[: len(rewards)] = rewards
    return {"duration": len(rewards), "primitive_rewards": primitive_rewards}


def _fitted(macro_set: MacroSet, env: gym.Env[Any, Any]) -> MacroSet:
    """``macro_set`` with the environment's actions as its primitives."""
    if env.has_wrapper_attr("macro_set"):
        raise ActionSpaceError(
            f"the environment {env} has a macro_set already, and macros of macros would hide how "
            "many primitives were run. Wrap the environment below it, or give MacroALE all the "
            "macros at once."
        )
    space = env.action_space
    if not isinstance(space, spaces.Discrete) or space.start != 0:
        raise ActionSpaceError(
            f"the action space is {space}, but macros need Discrete actions that start at 0. "
            "Turn the actions into such a list first, for example with "
            "gymnasium.wrappers.TransformAction."
        )
    if env.has_wrapper_attr("get_action_meanings"):
        names = tuple(env.get_wrapper_attr("get_action_meanings")())
        macro_set = macro_set if names == macro_set.primitives else macro_set.remap(names)
    if len(macro_set.primitives) != space.n:
        raise ActionSpaceError(
            f"the set has {len(macro_set.primitives)} primitives "
            f"({', '.join(macro_set.primitives)}), but the environment has {space.n} actions. "
            "Is the set for another environment?"
        )
    return macro_set
