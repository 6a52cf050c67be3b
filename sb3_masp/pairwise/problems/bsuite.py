"""bsuite's environments as Gymnasium environments, through the bsuite package."""

import inspect
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from macro_gym.errors import EnvironmentSettingError, MissingDependencyError

DOMAINS = (
    "catch",
    "catch_noise",
    "catch_scale",
    "umbrella_length",
    "umbrella_distract",
    "cartpole",
    "discounting_chain",
)
"""Domains in table 1 of arXiv 2102.04999; all others of bsuite can be made, too."""

BEST_RETURNS = {"cartpole": 1000.0, "discounting_chain": 1.1}
"""Best returns, as in bsuite's analysis, of domains that do not track regret themselves."""


class BsuiteEnv(gym.Env[npt.NDArray[Any], np.int64]):
    """One of bsuite's environments, with observations and rewards unchanged.

    At the end of each episode, ``info["regret"]`` is the total regret of all episodes since the
    environment was made or reset with a seed. It is bsuite's own count or, where there is none (see
    `BEST_RETURNS`), the best return times the number of episodes minus all rewards, as in bsuite's
    analysis. Regrets of several environments add up.

    ``reset(seed=...)`` rebuilds the environment with that seed instead of one that bsuite's sweep
    may fix; what belongs to the problem stays, such as which chain has the bonus in
    ``discounting_chain/3``. A reset without a seed continues the sequence of random numbers. The
    environment can be copied and pickled in the middle of an episode.

    Args:
        bsuite_id: A domain and its setting, as in ``"umbrella_length/3"``.

    Raises:
        EnvironmentSettingError: bsuite has no such id.
        MissingDependencyError: bsuite is not installed.

    Source: arXiv 1908.03568.
    """

    def __init__(self, bsuite_id: str) -> None:
        """Build bsuite's environment and take over its spaces."""
        suite, settings = _bsuite()
        if bsuite_id not in settings:
            domains = sorted({known.split("/")[0] for known in settings})
            raise EnvironmentSettingError(
                f"bsuite_id is {bsuite_id!r}; it is a domain and the number of one of its "
                f"settings, as in 'catch/0', and the domains are {', '.join(domains)}"
                + _settings_of(bsuite_id.split("/")[0], settings)
            )
        self.bsuite_id = bsuite_id
        self._domain = bsuite_id.split("/")[0]
        self._make = suite.EXPERIMENT_NAME_TO_ENVIRONMENT[self._domain]
        self._settings = dict(settings[bsuite_id])
        self._begin()
        self.observation_space = _box(self._env.observation_spec())
        self.action_space = gym.spaces.Discrete(int(self._env.action_spec().num_values))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[npt.NDArray[Any], dict[str, Any]]:
        """Start an episode; with a seed, in a rebuilt environment."""
        super().reset(seed=seed)
        if seed is not None:
            self._begin(int(self.np_random.integers(2**31)))
        return self._env.reset().observation, {}

    def step(self, action: np.int64) -> tuple[npt.NDArray[Any], float, bool, bool, dict[str, Any]]:
        """Take a step; at the end of an episode, ``info`` has the regret."""
        timestep = self._env.step(int(action))
        reward, over = float(timestep.reward), bool(timestep.last())
        terminated = over and timestep.discount == 0
        self._total_return += reward
        self._episodes += over
        info = {"regret": self.regret()} if over else {}
        return timestep.observation, reward, terminated, over and not terminated, info

    def regret(self) -> float:
        """Return the total regret of all episodes so far."""
        if self._domain in BEST_RETURNS:
            return BEST_RETURNS[self._domain] * self._episodes - self._total_return
        return float(self._env.bsuite_info()["total_regret"])

    def __getstate__(self) -> dict[str, Any]:
        """The state; of bsuite's environment only values, since its cart pole holds a lambda."""
        layers = [
            {name: value for name, value in layer.items() if name != "_env" and not callable(value)}
            for layer in _layers(self._env)
        ]
        return vars(self) | {"_env": layers}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Rebuild bsuite's environment and restore its values."""
        vars(self).update(state, _env=state["_make"](**state["_settings"]))
        for layer, values in zip(_layers(self._env), state["_env"], strict=True):
            layer.update(values)

    def _begin(self, seed: int | None = None) -> None:
        """Build bsuite's environment, and forget all episodes."""
        seeded = seed is not None and "seed" in inspect.signature(self._make).parameters
        self._env = self._make(**self._settings | ({"seed": seed} if seeded else {}))
        self._total_return, self._episodes = 0.0, 0


def _bsuite() -> tuple[Any, Any]:
    """Bsuite's constructors of environments, and its settings by id."""
    try:
        from bsuite import bsuite, sweep
    except ImportError as error:
        raise MissingDependencyError(
            f"Credit/Bsuite-v0 needs bsuite ({error}); pip install 'macro-gym[bsuite]'"
        ) from error
    return bsuite, sweep.SETTINGS


def _settings_of(domain: str, settings: Any) -> str:
    """A domain's settings, as the end of an error message; empty for unknown domains."""
    count = sum(known.split("/")[0] == domain for known in settings)
    return f"; {domain} has the settings 0 to {count - 1}" if count else ""


def _layers(env: Any) -> Iterator[dict[str, Any]]:
    """Attributes of bsuite's wrappers, outermost first, and then of their environment."""
    yield vars(env)
    if "_env" in vars(env):
        yield from _layers(env._env)


def _box(spec: Any) -> gym.spaces.Box:
    """The space of a dm_env spec."""
    low, high = getattr(spec, "minimum", -np.inf), getattr(spec, "maximum", np.inf)
    return gym.spaces.Box(
        np.broadcast_to(low, spec.shape).astype(spec.dtype),
        np.broadcast_to(high, spec.shape).astype(spec.dtype),
        dtype=spec.dtype,
    )
