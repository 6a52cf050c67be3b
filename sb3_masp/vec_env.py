"""GymnasiumVecEnv: wraps Gymnasium's vector environments for SB3."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from numpy.typing import NDArray
from stable_baselines3.common.env_util import is_wrapped
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn

from macro_gym.errors import EnvironmentAccessError, VectorEnvError
from sb3_masp.batched import ResetMask, equal, infos_of_each, of, share_memory

STATISTICS = {"episode"}
"""What vector wrappers add to the infos of a step that ends an episode, not of the reset."""

SINGLE = {"observation_space": "single_observation_space", "action_space": "single_action_space"}

Observations = NDArray[Any] | dict[str, NDArray[Any]]


class GymnasiumVecEnv(VecEnv):
    """Any of Gymnasium's vector environments, for SB3's learners and ours.

    When an episode ends, the first observation of the next one is returned in the same step, as SB3
    needs it, whatever the vector environment does by itself: if its ``autoreset_mode`` is not
    ``SAME_STEP``, the environments that ended are reset at once, by
    ``reset(options={"reset_mask": ...})``, so that no step is wasted and no transition from an end
    to a beginning reaches a learner.

    ``infos`` are those of SB3's ``DummyVecEnv``: a step that ends an episode has its own info, with
    ``terminal_observation``, ``TimeLimit.truncated`` and, from Gymnasium's vector
    ``RecordEpisodeStatistics`` or with SB3's ``VecMonitor`` around this, ``episode``. Infos of
    resets are in ``reset_infos``.

    `get_attr`, `set_attr` and `env_method` reach single environments that are in this process
    (``SyncVectorEnv``), and all at once if the vector environment has ``call`` and ``set_attr``
    (``AsyncVectorEnv``, `MacroVectorEnv`), where reading a method calls it. Otherwise, only
    attributes of the vector environment itself can be read.

    Args:
        env: The vector environment; all of its environments take part in every step.

    Raises:
        VectorEnvError: While stepping, if the vector environment cannot reset only some
            environments, or leaves out an episode's last observation.

    Example:
        >>> import gymnasium as gym
        >>> env = GymnasiumVecEnv(gym.make_vec("CartPole-v1", num_envs=3))
        >>> env.seed(5)
        [5, 6, 7]
        >>> env.reset().shape
        (3, 4)
        >>> observations, rewards, dones, infos = env.step(np.array([0, 1, 0]))
        >>> infos[2]
        {'TimeLimit.truncated': False}
    """

    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        """Take over the spaces of a single environment."""
        self.env = env
        self._mode = env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        self._actions: NDArray[Any] = np.zeros(0)
        # Vector wrappers have no such halves, and must not be bypassed.
        self._in_halves = hasattr(env, "step_async") and not isinstance(
            env, gym.vector.VectorWrapper
        )
        self._returned: Any = None
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    @property
    def envs(self) -> list[gym.Env[Any, Any]]:
        """The single environments; empty if they are not in this process."""
        return getattr(self.env.unwrapped, "envs", [])

    def __getstate__(self) -> dict[str, Any]:
        """The state; the vector environment must allow pickling, as `MacroVectorEnv` does."""
        return vars(self) | {"_returned": None}

    def reset(self) -> Any:
        """Start an episode in every environment, with the seeds and options that were set."""
        seeds, first = self._seeds, self._seeds[0]
        # Most vector environments take no list, but count on from the first seed themselves.
        counted = first is None or seeds == list(range(first, first + self.num_envs))
        observations, infos = self.env.reset(
            seed=first if counted else list(seeds),  # type: ignore[arg-type]
            options=self._common_options(),
        )
        self.reset_infos = infos_of_each(infos, self.num_envs)
        self._reset_seeds()
        self._reset_options()
        self._returned = observations
        return deepcopy(observations)

    def step_async(self, actions: NDArray[Any]) -> None:
        """Send the actions; environments in processes of their own start at once."""
        self._actions = actions
        if self._in_halves:
            self.env.step_async(actions)  # type: ignore[attr-defined]

    def step_wait(self) -> VecEnvStepReturn:
        """Complete the step of every environment, and reset those whose episode it ended."""
        stepped = self.env.step_wait() if self._in_halves else self.env.step(self._actions)  # type: ignore[attr-defined]
        observations, rewards, terminations, truncations, infos = stepped
        observations = self._fresh(observations)
        dones = np.logical_or(terminations, truncations)
        ended = np.flatnonzero(dones)
        if not ended.size:
            each = infos_of_each(infos, self.num_envs)
        elif self._mode == AutoresetMode.SAME_STEP:
            each = self._same_step(infos, ended)
        else:
            observations, each = self._reset_now(observations, infos, dones)
        for info, cut in zip(each, (truncations & ~terminations).tolist(), strict=True):
            info["TimeLimit.truncated"] = cut
        return observations, rewards.astype(np.float32), dones, each

    def _same_step(
        self, infos: Mapping[str, Any], ended: NDArray[np.int64]
    ) -> list[dict[str, Any]]:
        """Infos of the step, if environments whose episodes ended have reset themselves."""
        rest = {
            name: value
            for name, value in infos.items()
            if name.lstrip("_") not in ("final_obs", "final_info")
        }
        each = infos_of_each(rest, self.num_envs)
        finals = infos_of_each(infos.get("final_info", {}), self.num_envs)
        if "final_obs" not in infos:
            raise VectorEnvError(
                f"{self.env} says that it resets in the same step, but its infos lack final_obs, "
                "without which no episode's last observation is known"
            )
        for index in ended.tolist():
            if "final_info" in infos:
                # Entries of vector wrappers belong to the step, all others to the reset.
                step = {name: each[index].pop(name) for name in STATISTICS & each[index].keys()}
                self.reset_infos[index], each[index] = each[index], finals[index] | step
            each[index]["terminal_observation"] = of(infos["final_obs"], index)
        return each

    def _reset_now(
        self, observations: Observations, infos: Mapping[str, Any], dones: NDArray[np.bool_]
    ) -> tuple[Observations, list[dict[str, Any]]]:
        """Reset the environments that ended; return observations, and infos of the step.

        Raises:
            VectorEnvError: Others were reset as well.
        """
        last = deepcopy(observations)
        each = infos_of_each(infos, self.num_envs)
        observations, reset_infos = self.env.reset(options=ResetMask(reset_mask=dones))
        observations = self._fresh(observations)
        going_on = np.flatnonzero(~dones)
        if not equal(of(last, going_on), of(observations, going_on)):
            raise VectorEnvError(
                f"{self.env} changed observations of other environments when those whose episode "
                "had ended were to be reset (options={'reset_mask': ...}). SB3's learners need "
                "resets in the same step: make it with autoreset_mode=AutoresetMode.SAME_STEP, "
                "which gym.make_vec takes in vector_kwargs"
            )
        of_resets = infos_of_each(reset_infos, self.num_envs)
        for index in np.flatnonzero(dones).tolist():
            self.reset_infos[index] = of_resets[index]
            each[index]["terminal_observation"] = of(last, index)
        return observations, each

    def _fresh(self, observations: Observations) -> Observations:
        """``observations`` in new memory if needed: learners keep the previous ones."""
        before, self._returned = self._returned, observations
        reused = before is None or share_memory(before, observations)
        return deepcopy(observations) if reused else observations

    def _common_options(self) -> dict[str, Any] | None:
        """The options of all environments.

        Raises:
            VectorEnvError: They differ, which Gymnasium's vector environments do not support.
        """
        first, *others = self._options
        if any(options is not first and options != first for options in others):
            raise VectorEnvError(
                f"options are {self._options}, but Gymnasium's vector environments take the same "
                "for all: call set_options with one dict"
            )
        return first or None

    def close(self) -> None:
        """Close the vector environment."""
        self.env.close()

    def get_images(self) -> Sequence[NDArray[Any] | None]:
        """Pictures of all environments, for ``render``; None without ``rgb_array``."""
        if self.render_mode != "rgb_array":
            return [None] * self.num_envs
        pictures: Any = self.env.render()
        return list(pictures)

    def render(self, mode: str | None = None) -> NDArray[Any] | None:
        """One picture of all environments side by side; otherwise let them render."""
        if self.render_mode in (None, "rgb_array"):
            return super().render(mode)
        self.env.render()
        return None

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return an attribute of the chosen environments.

        Raises:
            EnvironmentAccessError: Neither they nor the vector environment have it.
        """
        chosen = self._get_indices(indices)
        if (found := self._of_each(attr_name)) is not None:
            return [found[index] for index in chosen]
        name = SINGLE.get(attr_name, attr_name)
        for layer in self._layers():
            if hasattr(layer, name):
                return [getattr(layer, name) for _ in chosen]
        raise EnvironmentAccessError(f"neither {self.env} nor its environments have {attr_name!r}")

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of the chosen environments: on the layer that has it, if one has.

        Raises:
            EnvironmentAccessError: The vector environment gives no access to them.
        """
        chosen = list(self._get_indices(indices))
        if self.envs:
            for index in chosen:
                self.envs[index].set_wrapper_attr(attr_name, value)
            return
        setter = self._vector_method("set_attr", f"set {attr_name!r}")
        kept = [value] * self.num_envs
        if len(chosen) < self.num_envs:
            kept = self.get_attr(attr_name)
            for index in chosen:
                kept[index] = value
        setter(attr_name, kept)

    def env_method(
        self,
        method_name: str,
        *method_args: Any,
        indices: VecEnvIndices = None,
        **method_kwargs: Any,
    ) -> list[Any]:
        """Call a method of the chosen environments.

        Raises:
            EnvironmentAccessError: The vector environment gives no access to them, or only to all.
        """
        chosen = list(self._get_indices(indices))
        if self.envs:
            methods = [self.envs[index].get_wrapper_attr(method_name) for index in chosen]
            return [method(*method_args, **method_kwargs) for method in methods]
        call = self._vector_method("call", f"call {method_name!r}")
        if chosen != list(range(self.num_envs)):
            raise EnvironmentAccessError(
                f"{self.env} can call {method_name!r} in all environments only, not in "
                f"{chosen} of {self.num_envs}; leave indices out, or use SyncVectorEnv"
            )
        return list(call(method_name, *method_args, **method_kwargs))

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """Whether the chosen environments are known to be in a wrapper.

        Gymnasium's vector ``RecordEpisodeStatistics`` counts as SB3's ``Monitor``, since it does
        the same. Wrappers of environments that are not in this process are not seen.
        """
        recorded = issubclass(wrapper_class, Monitor) and any(
            isinstance(layer, RecordEpisodeStatistics) for layer in self._layers()
        )
        return [
            recorded or bool(self.envs and is_wrapped(self.envs[index], wrapper_class))
            for index in self._get_indices(indices)
        ]

    def _of_each(self, name: str) -> Sequence[Any] | None:
        """An attribute of every single environment; None if they lack it or are inaccessible."""
        if self.envs:
            if all(env.has_wrapper_attr(name) for env in self.envs):
                return [env.get_wrapper_attr(name) for env in self.envs]
            return None
        call: Callable[..., Sequence[Any]] | None = getattr(self.env.unwrapped, "call", None)
        # Asked first: a process of AsyncVectorEnv ends at a missing attribute.
        return call(name) if call and all(call("has_wrapper_attr", name)) else None

    def _vector_method(self, name: str, task: str) -> Callable[..., Any]:
        """A method of the vector environment that reaches the single ones."""
        method: Callable[..., Any] | None = getattr(self.env.unwrapped, name, None)
        if method is None:
            raise EnvironmentAccessError(
                f"cannot {task}: {self.env} gives no access to its environments (it has no "
                f"{name!r}). SyncVectorEnv, AsyncVectorEnv and MacroVectorEnv do."
            )
        return method

    def _layers(self) -> Iterator[VectorEnv[Any, Any, Any]]:
        """The vector environment's wrappers, outermost first, and then itself."""
        layer = self.env
        while isinstance(layer, gym.vector.VectorWrapper):
            yield layer
            layer = layer.env
        yield layer
