"""CPU-sized problems whose best return is known, for `benchmarks.learning`."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from minatar.gym import register_envs
from stable_baselines3.common.envs import IdentityEnv
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

from macro_gym import MacroAction, MacroSet

register_envs()  # Gymnasium no longer looks for plugins by itself

LEFT, RIGHT = 0, 1


LOCK = (1, 0, 0, 1, 0, 1, 1, 0, 0, 1, 1, 0)
"""The action that leads forward in each of twelve places; no single action does in all of them."""


class Chain(gym.Env[np.int64, np.int64]):
    """``length + 1`` places in a row, the last of which pays 1.

    In each place one action leads forward, and the other back to the first. Random decisions, like
    random policies, take about ``2^length`` attempts to arrive, so that the reward is not found
    without a macro.

    Args:
        length: Steps from the first place to the last.
        limit: Steps after which an episode is truncated.
        lock: The actions that lead forward, by place; repeated along the chain.
    """

    def __init__(self, length: int = 24, limit: int = 48, lock: tuple[int, ...] = LOCK) -> None:
        """Store the arguments and build the spaces."""
        self.length = length
        self.limit = limit
        self.lock = lock
        self.observation_space = gym.spaces.Discrete(length + 1)
        self.action_space = gym.spaces.Discrete(2)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.int64, dict[str, Any]]:
        """Go to the first place."""
        super().reset(seed=seed)
        self._place = 0
        self._steps = 0
        return np.int64(0), {}

    def step(self, action: np.int64) -> tuple[np.int64, float, bool, bool, dict[str, Any]]:
        """Move forward, or back to the first place."""
        self._steps += 1
        on = action == self.lock[self._place % len(self.lock)]
        self._place = self._place + 1 if on else 0
        arrived = self._place == self.length
        return np.int64(self._place), float(arrived), arrived, self._steps >= self.limit, {}


class SmallImages(BaseFeaturesExtractor):
    """The network of MinAtar's paper without its last layer: 16 filters of 3×3, then 128 units.

    Args:
        observation_space: Boolean images, shape ``(10, 10, channels)``.

    Source: arXiv 1903.03176.
    """

    def __init__(self, observation_space: gym.spaces.Box) -> None:
        """Build both layers."""
        super().__init__(observation_space, features_dim=128)
        height, width, channels = observation_space.shape
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 16, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(16 * (height - 2) * (width - 2), self.features_dim),
            nn.ReLU(),
        )

    def forward(self, observations: th.Tensor) -> th.Tensor:
        """Return features, shape ``(batch, 128)``."""
        features: th.Tensor = self.layers(observations.permute(0, 3, 1, 2))
        return features


@dataclass(frozen=True)
class Problem:
    """An environment, and what is required of learners on it.

    Args:
        about: Description for readers.
        make: Builds the environment.
        steps: Budget in environment steps (not decisions).
        required: Return that the learned policies have to reach on average; None for a control.
        best: Return of the best policy, in words.
        settings: Arguments of every learner.
        rainbow: Further arguments of learners of distributions on fixed atoms.
        masp: Further arguments of learners with a penalty.
        more_steps: Budgets of learners that need another budget than ``steps``.
    """

    about: str
    make: Callable[[], gym.Env[Any, Any]]
    steps: int
    required: float | None
    best: str
    settings: dict[str, Any] = field(default_factory=dict)
    rainbow: dict[str, Any] = field(default_factory=dict)
    masp: dict[str, Any] = field(default_factory=dict)
    more_steps: dict[str, int] = field(default_factory=dict)

    def budget(self, learner: str) -> int:
        """Budget of a learner, in environment steps."""
        return self.more_steps.get(learner, self.steps)


def chain(*macros: tuple[int, ...]) -> gym.Env[Any, Any]:
    """The chain with macros."""
    return MacroAction(Chain(), MacroSet(("A", "B"), macros))


def small_breakout() -> gym.Env[Any, Any]:
    """MinAtar's Breakout, minimal actions, with macros that hold one of them."""
    macros = tuple((action,) * times for times in (2, 3) for action in range(3))
    return MacroAction(gym.make("MinAtar/Breakout-v1"), MacroSet(("NOOP", "LEFT", "RIGHT"), macros))


PROBLEMS = {
    "identity": Problem(
        "One of five numbers is shown, and naming it pays 1; an episode has 100 steps.",
        lambda: IdentityEnv(dim=5, ep_length=100),
        steps=3_000,
        required=99,
        best="100",
        settings={
            "learning_rate": 5e-3,
            "learning_starts": 200,
            "gamma": 0.5,
            "train_freq": 2,
            "target_update_interval": 100,
            "policy_kwargs": {"net_arch": [32]},
        },
        rainbow={"v_min": 0, "v_max": 2},
    ),
    "cart pole": Problem(
        "Gymnasium's `CartPole-v1` with the macros LEFT,RIGHT and RIGHT,LEFT.",
        lambda: MacroAction(
            gym.make("CartPole-v1"), MacroSet(("LEFT", "RIGHT"), ((LEFT, RIGHT), (RIGHT, LEFT)))
        ),
        steps=20_000,
        required=100,
        best="500, at which an episode is truncated",
        settings={
            "learning_rate": 1e-3,
            "learning_starts": 500,
            "batch_size": 64,
            "buffer_size": 20_000,
            "gamma": 0.97,
            "train_freq": 4,
            "gradient_steps": 2,
            "target_update_interval": 200,
            "n_steps": 3,
            "policy_kwargs": {"net_arch": [64, 64]},
        },
        rainbow={"v_min": 0, "v_max": 40},
        masp={"eta": 0.1},
        more_steps={"MASPDQN": 40_000},
    ),
    "chain": Problem(
        "25 places in a row, the last of which pays; in each, one of two actions leads to the next "
        "place and the other back to the first, and an episode has 48 steps. One of the four "
        "macros is the sequence of twelve primitives that leads from the first place to the "
        "thirteenth, and from there to the last.",
        lambda: chain(LOCK, (1, 0), (1, 1, 0), (0, 1)),
        steps=12_000,
        required=1,
        best="1",
        settings={
            "learning_rate": 2e-3,
            "learning_starts": 1_000,  # random play arrives by then with 999 of 1,000 seeds
            "train_freq": 2,
            "target_update_interval": 100,
            "n_steps": 3,
            "policy_kwargs": {"net_arch": [32]},
        },
        rainbow={"v_min": 0, "v_max": 1},
    ),
    "small Breakout": Problem(
        "MinAtar's Breakout with its three actions, which are sticky, and macros that hold each of "
        "them for two or three steps.",
        small_breakout,
        steps=30_000,
        required=2,
        best="not bounded",
        settings={
            "learning_rate": 2.5e-4,
            "learning_starts": 2_000,
            "train_freq": 4,
            "target_update_interval": 500,
            "double_q": True,
            "policy_kwargs": {"net_arch": [], "features_extractor_class": SmallImages},
        },
        rainbow={"v_min": 0, "v_max": 10},
        more_steps={"MASPRainbow": 60_000},
    ),
}

CONTROL = "chain without macros"


def problem(name: str) -> Problem:
    """The problem ``name``, or the control: the chain that random decisions do not solve."""
    if name != CONTROL:
        return PROBLEMS[name]
    about = "The same chain with only its two primitives: the control, in which nothing is found."
    return replace(PROBLEMS["chain"], about=about, make=chain, required=None)
