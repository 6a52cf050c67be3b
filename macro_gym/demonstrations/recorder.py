"""Record what is played in an environment, primitive by primitive, as demonstrations."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, SupportsFloat

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from macro_gym.demonstrations.demonstration import Demonstration
from macro_gym.demonstrations.environments import (
    action_names,
    frameskip_of,
    require_discrete,
    settings_of,
)
from macro_gym.errors import DemonstrationError
from macro_gym.games import bare_name
from macro_gym.macro_set import MacroSet

OnEpisode = Callable[[Demonstration], object]
"""Called with each episode as soon as it ends or is cut."""


class Predictor(Protocol):
    """A model with Stable-Baselines3's ``predict``."""

    def predict(
        self,
        observation: Any,
        state: Any = ...,
        episode_start: Any = ...,
        deterministic: bool = ...,
    ) -> tuple[Any, Any]:
        """Return the action for an observation, and the model's next state if it has one."""


Policy = Predictor | Callable[[Any], Any]
"""A model, or a function from an observation to an action."""


class Recorder(gym.Wrapper[Any, Any, Any, Any]):
    """Wrapper that records what is played as demonstrations, one per episode.

    It belongs directly around the base environment, under all wrappers, where `recording` puts it:
    there it sees unclipped rewards, the steps that wrappers take on their own, and the game's own
    episodes. Macros are recorded as the primitives that they ran.

    A reset without a seed gets the next one, so that every episode can be replayed.

    Args:
        env: The environment, without wrappers.
        on_episode: Called with each episode of at least one step.
        seed: Seed of the first episode.
        source: Who or what plays, in words.

    Raises:
        ActionSpaceError: The actions are not discrete.
        DemonstrationError: The environment was made with arguments that JSON cannot hold.
        FrameSkipError: The environment skips a random number of frames.
    """

    def __init__(
        self, env: gym.Env[Any, Any], on_episode: OnEpisode, seed: int = 0, source: str = ""
    ) -> None:
        """Look up the action names and how the environment was made."""
        super().__init__(env)
        self._on_episode = on_episode
        self._macro_set: MacroSet | None = getattr(env, "macro_set", None)
        self._start = int(require_discrete(env).start)
        self._settings = settings_of(env)
        self._played: list[tuple[int, float]] = []
        self._seed, self._next_seed = seed, seed
        self._options: dict[str, Any] | None = None
        self._empty = Demonstration(
            action_names(env),
            np.zeros(0, dtype=np.uint8),
            game="" if env.spec is None else bare_name(env.spec.id),
            frameskip=frameskip_of(env),
            source=source,
            settings=self._settings,
        )
        self.steps = 0
        """Primitive steps recorded so far, over all episodes."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """End the episode and start the next."""
        self.finish()
        self._seed = self._next_seed if seed is None else seed
        self._next_seed = self._seed
        self._options = options
        return self.env.reset(seed=self._seed, options=options)

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Take a step and record the primitives that it ran."""
        result = self.env.step(action)
        _, reward, terminated, truncated, info = result
        ran = self._ran(int(action), float(reward), info)
        # One call, so that Ctrl-C cannot separate an action from its reward.
        self._played.extend(ran)
        self.steps += len(ran)
        if terminated or truncated:
            self.finish()
        return result

    def finish(self) -> None:
        """Pass on the episode so far, if anything was played in it."""
        if not self._played:
            return
        self._next_seed = self._seed + 1
        self._on_episode(self._demonstration())
        self._played = []

    def _ran(self, action: int, reward: float, info: dict[str, Any]) -> list[tuple[int, float]]:
        """The primitives that an action ran, and the reward of each."""
        if self._macro_set is None:
            return [(action - self._start, reward)]
        primitives = self._macro_set.expand(action)[: info["duration"]]
        # Not strict: the rewards are padded with zeros to the longest macro's length.
        return list(zip(primitives, map(float, info["primitive_rewards"]), strict=False))

    def _demonstration(self) -> Demonstration:
        """The episode so far."""
        actions, rewards = zip(*self._played, strict=True)
        settings = {**self._settings, "seed": int(self._seed)}
        if self._options is not None:
            settings["options"] = self._options
        return Demonstration(
            self._empty.primitives,
            np.array(actions, dtype=np.min_scalar_type(len(self._empty.primitives))),
            np.array(rewards, dtype=np.float32),
            self._empty.game,
            self._empty.frameskip,
            self._empty.source,
            settings,
        )


@contextmanager
def recording(
    env: gym.Env[Any, Any], on_episode: OnEpisode, *, seed: int = 0, source: str = ""
) -> Iterator[tuple[gym.Env[Any, Any], Recorder]]:
    """Record what is played within the block, including the unfinished episode at its end.

    Args:
        env: The environment, in any wrappers.
        on_episode: Called with each episode of at least one step.
        seed: Seed of the first episode reset without one; later ones count up from it.
        source: Who or what plays, in words.

    Yields:
        The environment to play in, and the recorder under its wrappers; after the block, the
        wrappers are restored.
    """
    recorder = Recorder(env.unwrapped, on_episode, seed, source)
    lowest = _lowest_wrapper(env)
    if lowest is not None:
        lowest.env = recorder
    try:
        yield (recorder if lowest is None else env), recorder
    finally:
        if lowest is not None:
            lowest.env = recorder.env
        recorder.finish()


def record(
    env: gym.Env[Any, Any],
    policy: Policy,
    episodes: int | None = None,
    steps: int | None = None,
    *,
    seed: int = 0,
    deterministic: bool = False,
    source: str = "",
    on_episode: OnEpisode = lambda episode: None,
    progress_bar: bool = False,
) -> list[Demonstration]:
    """Play with a policy and record what reaches the environment under all wrappers.

    Wrap the environment as the policy needs it: wrappers may skip, stack and resize frames, clip
    rewards, end episodes at lost lives or add macros. The recording holds what reached
    ``env.unwrapped``: its primitives, its own rewards, its episodes.

    Args:
        env: The environment; its unwrapped actions must be discrete.
        policy: A model with ``predict``, as in Stable-Baselines3, or a function from an observation
            to an action.
        episodes: Episodes to play; 1 if neither ``episodes`` nor ``steps`` is given.
        steps: Primitives after which to stop, even within an episode; with ``episodes`` as well,
            whichever comes first. The last decision is played to its end.
        seed: Seed of the first episode; later ones count up from it. The same seed and policy give
            the same play, so give each call another seed. Seed the policy yourself.
        deterministic: Whether a model plays its best action instead of exploring.
        source: Who or what plays, in words.
        on_episode: Called with each episode as it ends, and with the unfinished one if playing is
            interrupted or fails.
        progress_bar: Whether to show the episodes or steps played, if on a terminal.

    Raises:
        ActionSpaceError: The unwrapped environment's actions are not discrete.
        DemonstrationError: ``episodes``, ``steps`` or ``seed`` is out of range.

    Example:
        >>> env = gym.make("CartPole-v1")
        >>> [play] = record(env, lambda observation: int(observation[2] > 0), steps=7, seed=5)
        >>> play.actions, play.game, play.settings["seed"]
        (array([1, 1, 0, 0, 0, 0, 0], dtype=uint8), 'CartPole', 5)
    """
    from tqdm import tqdm

    require_amounts(episodes, steps, seed)
    episodes = 1 if episodes is None and steps is None else episodes
    played, keep = keeping(on_episode, episodes)
    act = _as_function(policy, deterministic)
    unit = "step" if episodes is None else "episode"
    with (
        tqdm(total=episodes or steps, unit=unit, disable=None if progress_bar else True) as bar,
        recording(env, keep, seed=seed, source=source) as (outer, recorder),
    ):
        observation, _ = outer.reset(seed=seed)
        starts = True
        while not enough(len(played), recorder.steps, episodes, steps):
            observation, _, terminated, truncated, _ = outer.step(act(observation, starts))
            starts = terminated or truncated
            if starts:
                observation, _ = outer.reset()
            bar.update((recorder.steps if episodes is None else len(played)) - bar.n)
    return played


def keeping(on_episode: OnEpisode, episodes: int | None) -> tuple[list[Demonstration], OnEpisode]:
    """Return a list, and a callback that adds an episode to it and passes it to ``on_episode``.

    It keeps only the first ``episodes``: wrappers may take steps as soon as they are reset.
    """
    played: list[Demonstration] = []

    def keep(episode: Demonstration) -> None:
        if episodes is None or len(played) < episodes:
            on_episode(episode)
            played.append(episode)

    return played, keep


def enough(played: int, ran: int, episodes: int | None, steps: int | None) -> bool:
    """Whether ``played`` episodes or ``ran`` steps reach a limit; None for no limit."""
    return (episodes is not None and played >= episodes) or (steps is not None and ran >= steps)


def require_amounts(episodes: int | None, steps: int | None, seed: int) -> None:
    """Raise if an amount is not positive or the seed is negative."""
    for name, value, least in (("episodes", episodes, 1), ("steps", steps, 1), ("seed", seed, 0)):
        if value is not None and value < least:
            raise DemonstrationError(f"{name} is {value}; it must be at least {least}")


def _lowest_wrapper(env: gym.Env[Any, Any]) -> gym.Wrapper[Any, Any, Any, Any] | None:
    """The wrapper directly around the base environment, if any."""
    if not isinstance(env, gym.Wrapper):
        return None
    return _lowest_wrapper(env.env) or env


def _as_function(policy: Policy, deterministic: bool) -> Callable[[Any, bool], Any]:
    """The policy as a function of the observation and of whether an episode starts; keeps state."""
    if not hasattr(policy, "predict"):
        return lambda observation, starts: policy(observation)
    state: Any = None

    def act(observation: Any, starts: bool) -> Any:
        nonlocal state
        start: NDArray[np.bool_] = np.array([starts])
        action, state = policy.predict(
            observation, state=state, episode_start=start, deterministic=deterministic
        )
        return np.asarray(action)[()]

    return act
