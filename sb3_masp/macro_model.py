"""MacroModel: an SB3 algorithm that knows its environments' macros."""

import io
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Self

import torch as th
from gymnasium.vector import VectorEnv
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.save_util import load_from_zip_file
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.vec_env import VecEnv, VecMonitor

from macro_gym import MacroSet
from macro_gym.errors import LearnerSettingError
from sb3_masp.environments import macro_set_of, require_no_skip_outside, require_same_macros
from sb3_masp.frame_schedules import FrameSchedules
from sb3_masp.vec_env import GymnasiumVecEnv


def require_setting(name: str, value: object, fits: bool, allowed: str) -> None:
    """Reject a setting that is out of range.

    Raises:
        LearnerSettingError: ``fits`` is False; the message says what is allowed.
    """
    if not fits:
        raise LearnerSettingError(f"{name} is {value!r}; it must be {allowed}")


def given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """A constructor's arguments, from its ``locals()``, to be passed on by name.

    Each learner can then spell out its whole signature for users, while its base classes take
    their own arguments from it.
    """
    return {name: value for name, value in arguments.items() if name not in ("self", "__class__")}


def with_own(
    policy_kwargs: Mapping[str, Any] | None, own: Mapping[str, Any], arguments: Iterable[str]
) -> dict[str, Any]:
    """A policy's arguments: those given, and those that a learner sets.

    Args:
        policy_kwargs: As given to the learner.
        own: Arguments of the policy that the learner sets.
        arguments: Names of the learner's arguments that they come from.

    Raises:
        LearnerSettingError: One of ``own`` is given.
    """
    asked = policy_kwargs or {}
    allowed = f"left out, since it is set by arguments of the learner: {', '.join(arguments)}"
    for name in own:
        require_setting(f"policy_kwargs[{name!r}]", asked.get(name), name not in asked, allowed)
    return {**asked, **own}


class MacroModel(FrameSchedules):
    """Keeps its environments' macros, rejects others, and accepts Gymnasium's vector environments.

    Subclasses list it before an SB3 algorithm, and call `_recognise` before the model is built.
    """

    macro_set: MacroSet | None

    kept_at_loading: ClassVar[tuple[str, ...]] = ()
    """Constructor arguments that `load` cannot change."""

    def _recognise(self) -> None:
        """Record the environments' macros.

        Raises:
            MacroSetMismatchError: They differ from those that a loaded model was trained with.
            FrameSkipError: A wrapper repeats an environment's decisions.
        """
        found = None if self.env is None else macro_set_of(self.env)
        # A loaded model brings the macro set that it was trained with.
        self.macro_set = self.__dict__.get("macro_set", found)
        if self.env is not None:
            require_same_macros(self.macro_set, found)
            require_no_skip_outside(self.env)

    @staticmethod
    def _wrap_env(env: GymEnv, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        """Wrap as SB3 does, including Gymnasium's vector environments."""
        if isinstance(env, VectorEnv):
            env = VecMonitor(GymnasiumVecEnv(env)) if monitor_wrapper else GymnasiumVecEnv(env)
        return BaseAlgorithm._wrap_env(env, verbose, monitor_wrapper)

    def set_env(self, env: GymEnv, force_reset: bool = True) -> None:
        """Switch to another environment with the same actions.

        Raises:
            MacroSetMismatchError: Its macros are not those that the model was built for.
            FrameSkipError: A wrapper repeats its decisions.
        """
        wrapped = self._wrap_env(env, self.verbose)
        require_same_macros(self.macro_set, macro_set_of(wrapped))
        require_no_skip_outside(wrapped)
        super().set_env(wrapped, force_reset)

    @classmethod
    def load(
        cls,
        path: str | pathlib.Path | io.BufferedIOBase,
        env: GymEnv | None = None,
        device: th.device | str = "auto",
        custom_objects: dict[str, Any] | None = None,
        print_system_info: bool = False,
        force_reset: bool = True,
        **kwargs: Any,
    ) -> Self:
        """Load a model; arguments as in SB3.

        Raises:
            MacroSetMismatchError: ``env`` has other macros than the model was trained with.
            LearnerSettingError: An argument would change the model's structure, or is out of range.
        """
        for name in cls.kept_at_loading:
            allowed = "left out at loading, where a model keeps its own; build a new one with it"
            require_setting(name, kwargs.get(name), name not in kwargs, allowed)
        data, _, _ = load_from_zip_file(path, custom_objects=custom_objects)
        saved: dict[str, Any] = data or {}
        if isinstance(path, io.BufferedIOBase):
            path.seek(0)
        if env is not None:
            # Before SB3 compares the spaces, which would not say whose macros they are.
            env = cls._wrap_env(env)
            require_same_macros(saved.get("macro_set"), macro_set_of(env))
        if "policy_kwargs" in kwargs:
            # SB3 requires those that were saved, to which constructors added some of their own.
            kwargs["policy_kwargs"] = saved["policy_kwargs"] | kwargs["policy_kwargs"]
        return super().load(
            path, env, device, custom_objects, print_system_info, force_reset, **kwargs
        )
