"""Σ from the outcomes of actions, each tried from the same states of random play."""

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

import gymnasium as gym
import numpy as np
import torch as th
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from macro_gym.pickling import comes_back_new
from sb3_masp.similarity.base import SimilarityError, off_diagonal
from sb3_masp.similarity.fixed import FixedSimilarity
from sb3_masp.similarity.matrices import distance_logits

Env = gym.Env[Any, Any]

MOST = 100_000
"""Most decisions, some minutes on one core. A measurement that is interrupted keeps nothing."""


class Outcomes(NamedTuple):
    """Outcomes of each action from each of some states.

    Args:
        states: Resulting states, shape ``(states, actions, numbers)``.
        rewards: Discounted rewards, shape ``(states, actions)``.
        durations: Primitive steps run, shape ``(states, actions)``.
    """

    states: Tensor
    rewards: Tensor
    durations: Tensor


def outcome_similarity(
    env: Env,
    states: int = 64,
    *,
    seed: int = 0,
    temperature: float = 0.1,
    reward_weight: float = 0.0,
    duration_weight: float = 0.0,
    gamma: float = 0.99,
    spacing: int = 8,
    progress_bar: bool = False,
) -> FixedSimilarity:
    """Return a Σ that is large between actions with similar outcomes.

    Every action is tried from states of random play (`collect_outcomes`); the distances between
    their outcomes (`outcome_distances`) give Σ (`similarity_of_distances`).

    Args:
        env: An environment with Discrete actions that can be copied. It is reset, and left in the
            middle of an episode.
        states: Number of states.
        seed: Seed of the random play.
        temperature: Temperature of the softmax, in units of the mean distance.
        reward_weight: Weight of the reward in the distance, in which the state has weight one. In
            random play, rewards can be so rare that they only add noise.
        duration_weight: Weight of the duration in the distance.
        gamma: Discount per primitive step, within actions.
        spacing: Random actions between two states, on average.
        progress_bar: Whether to show a progress bar, counting states.

    Raises:
        SimilarityError: A number is out of range, or the actions are not Discrete, or the
            environment cannot be copied.
    """
    _require_distances(temperature, reward_weight, duration_weight)
    outcomes = collect_outcomes(
        env, states, seed=seed, gamma=gamma, spacing=spacing, progress_bar=progress_bar
    )
    distances = outcome_distances(outcomes, reward_weight, duration_weight)
    return FixedSimilarity(similarity_of_distances(distances, temperature).float())


def _require_distances(temperature: float, reward_weight: float, duration_weight: float) -> None:
    """Reject settings of the distances and of Σ that are out of range.

    Raises:
        SimilarityError: A setting is out of range.
    """
    if not 0 < temperature < math.inf:
        raise SimilarityError(f"temperature is {temperature}; it must be above 0, and finite")
    weights = {"reward_weight": reward_weight, "duration_weight": duration_weight}
    for name, weight in weights.items():
        if not 0 <= weight < math.inf:
            raise SimilarityError(f"{name} is {weight}; it must be at least 0, and finite")


def similarity_of_distances(distances: Tensor, temperature: float = 0.1) -> Tensor:
    """Row softmax of ``−D / (temperature · mean D)`` with a zero diagonal.

    Args:
        distances: D, shape ``(actions, actions)``, its diagonal zero.
        temperature: Above zero, and finite.

    Returns:
        Σ, shape ``(actions, actions)``; rows sum to one; uniform where all distances are zero.
    """
    logits = distance_logits(distances, temperature)
    return logits.masked_fill(~off_diagonal(distances), float("-inf")).softmax(dim=1)


def outcome_distances(
    outcomes: Outcomes, reward_weight: float = 0.0, duration_weight: float = 0.0
) -> Tensor:
    """Distances between the outcomes of two actions, averaged over states.

    ``mean_b |m_ib − m_jb| / s_b  +  w_R |R_i − R_j| / s_R  +  w_τ |τ_i − τ_j| / s_τ``, where b runs
    over the numbers of the state that vary, and each s is a standard deviation over all states and
    actions, so that the terms have no units.

    Returns:
        Distances, shape ``(actions, actions)``, symmetric, zero on the diagonal.
    """
    states = _scaled(outcomes.states)
    total = _distances(states) / max(states.shape[2], 1)
    if reward_weight:
        total += reward_weight * _distances(_scaled(outcomes.rewards[:, :, None]))
    if duration_weight:
        total += duration_weight * _distances(_scaled(outcomes.durations[:, :, None]))
    return total


def collect_outcomes(
    env: Env,
    states: int,
    *,
    seed: int = 0,
    gamma: float = 0.99,
    spacing: int = 8,
    progress_bar: bool = False,
) -> Outcomes:
    """Try every action from some states of random play; arguments as for `outcome_similarity`."""
    _require_settings(env, states, spacing)
    moments = _moments(env, states, seed, spacing)
    copied = _copier(env)
    bar = tqdm(moments, total=states, unit="state", disable=not progress_bar)
    found = [[_try(copied(), action, gamma) for action in range(_size(env))] for _ in bar]
    return Outcomes(
        th.from_numpy(np.array([[each.state for each in row] for row in found])),
        th.tensor([[each.reward for each in row] for row in found]),
        th.tensor([[float(each.duration) for each in row] for row in found]),
    )


class _Outcome(NamedTuple):
    """Outcome of one action from one state."""

    state: NDArray[Any]
    reward: float
    duration: int


def _try(env: Env, action: int, gamma: float) -> _Outcome:
    """Take an action in an environment that may be changed by it."""
    observation, reward, _, _, info = env.step(np.int64(action))
    rewards = np.asarray(info.get("primitive_rewards", [reward]), dtype=float)
    discounted = float(rewards @ gamma ** np.arange(len(rewards)))
    ale = getattr(env.unwrapped, "ale", None)
    flat = spaces.flatten(env.observation_space, observation) if ale is None else ale.getRAM()
    return _Outcome(np.asarray(flat), discounted, int(info.get("duration", 1)))


def _moments(env: Env, states: int, seed: int, spacing: int) -> Iterator[None]:
    """Play at random, and pause in each state from which actions are to be tried."""
    rng = np.random.default_rng(seed)
    env.reset(seed=seed)
    for _ in range(states):
        for _ in range(rng.integers(1, 2 * spacing)):
            _, _, terminated, truncated, _ = env.step(rng.integers(_size(env)))
            if terminated or truncated:
                env.reset()
        yield


def _copier(env: Env) -> Callable[[], Env]:
    """Return a function that gives a disposable copy of ``env`` in its current state."""
    from macro_gym.atari import MacroAtariEnv
    from macro_gym.demonstrations.atari_sandbox import rewind

    game = env.unwrapped
    if not isinstance(game, MacroAtariEnv) or not _is_its_emulator_alone(env):
        return lambda: _copy(env)
    scratch = _copy(env)
    scratch.reset()
    emulator = cast(MacroAtariEnv, scratch.unwrapped).ale

    def restored() -> Env:
        rewind(emulator, game.ale.cloneState())
        return scratch

    return restored


def _is_its_emulator_alone(env: Env) -> bool:
    """Whether a step of a MacroALE environment depends only on the emulator's saved state.

    Sticky actions depend on the previous action, lost lives on the lives before, and screens on
    earlier screens.
    """
    said = env.spec.kwargs if env.spec else {}
    return (
        said.get("obs_type") == "ram"
        and said.get("repeat_action_probability") == 0
        and not said.get("terminal_on_life_loss")
    )


def _copy(env: Env) -> Env:
    """Copy an environment in the middle of its episode.

    Raises:
        SimilarityError: It cannot be copied.
    """
    hint = "MacroALE's games can be, and environments of plain Python and NumPy"
    if (name := comes_back_new(env)) is not None:
        raise SimilarityError(f"a copy of {name} is a new one at its start (EzPickle). {hint}.")
    try:
        return copy.deepcopy(env)
    except (TypeError, AttributeError, NotImplementedError) as error:
        raise SimilarityError(
            f"{env} cannot be copied ({error}), to try its actions from the same state. {hint}."
        ) from error


def _distances(points: Tensor) -> Tensor:
    """City-block distances of actions, averaged over states, shape ``(actions, actions)``."""
    total = points.new_zeros(points.shape[1], points.shape[1])
    for of_state in points:
        total += th.cdist(of_state, of_state, p=1)
    return total / len(points)


def _scaled(numbers: Tensor) -> Tensor:
    """Numbers of the last dimension that vary, divided by their standard deviation."""
    flat = numbers.double().flatten(end_dim=-2)
    deviation = flat.std(dim=0, correction=0)
    varies = deviation > 0
    return (flat[:, varies] / deviation[varies]).reshape(*numbers.shape[:-1], -1)


def _size(env: Env) -> int:
    """Number of actions."""
    return int(cast(spaces.Discrete, env.action_space).n)


def _require_settings(env: Env, states: int, spacing: int) -> None:
    """Reject settings that are out of range, and actions that are not Discrete.

    Raises:
        SimilarityError: A setting is out of range, or the actions are not Discrete.
    """
    if not isinstance(env.action_space, spaces.Discrete):
        raise SimilarityError(
            f"the actions are {env.action_space}; only Discrete ones can be tried"
        )
    for name, value in (("states", states), ("spacing", spacing)):
        if value < 1:
            raise SimilarityError(f"{name} is {value}; it must be at least 1")
    if states * _size(env) > MOST:
        raise SimilarityError(
            f"{states} states and {_size(env)} actions make {states * _size(env)} decisions; at "
            f"most {MOST} are made, which {MOST // _size(env)} states are. On Breakout, more than "
            "64 changed little."
        )
