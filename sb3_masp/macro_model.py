"""What every algorithm of ours shares: it knows its environments, and whose macros they have."""

import io
import pathlib
from collections.abc import Mapping
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
from sb3_masp.vec_env import GymnasiumVecEnv


def require_setting(name: str, value: object, fits: bool, allowed: str) -> None:
    """Refuse a setting that does not fit.

    Raises:
        LearnerSettingError: It does not; the message says what is allowed.
    """
    if not fits:
        raise LearnerSettingError(f"{name} is {value!r}; it must be {allowed}")


def given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a constructor, from its ``locals()``, to be passed on by name.

    Users read each learner's whole signature, and the classes behind it each take what is theirs.
    """
    return {name: value for name, value in arguments.items() if name not in ("self", "__class__")}


class MacroModel(BaseAlgorithm):
    """Knows its environments' macros, takes Gymnasium's vectors, and keeps to the same macros.

    Subclasses put it before an algorithm of SB3's, and call `_recognise` before they are built.
    """

    macro_set: MacroSet | None

    kept_at_loading: ClassVar[tuple[str, ...]] = ()
    """Arguments of the constructor that cannot be changed by `load`."""

    def _recognise(self) -> None:
        """Take over the environments' macros.

        Raises:
            MacroSetMismatchError: They are not those that a loaded model was trained with.
            FrameSkipError: An environment repeats decisions.
        """
        found = None if self.env is None else macro_set_of(self.env)
        # A loaded model brings the macro set that it was trained with.
        self.macro_set = self.__dict__.get("macro_set", found)
        if self.env is not None:
            require_same_macros(self.macro_set, found)
            require_no_skip_outside(self.env)

    def _update_current_progress_remaining(self, num_timesteps: int, total_timesteps: int) -> None:
        """Take progress by what callbacks make of the total, in on-policy learners as in others."""
        super()._update_current_progress_remaining(num_timesteps, self._total_timesteps)

    @staticmethod
    def _wrap_env(env: GymEnv, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        """What SB3 does, and for Gymnasium's vector environments, too."""
        if isinstance(env, VectorEnv):
            env = VecMonitor(GymnasiumVecEnv(env)) if monitor_wrapper else GymnasiumVecEnv(env)
        return BaseAlgorithm._wrap_env(env, verbose, monitor_wrapper)

    def set_env(self, env: GymEnv, force_reset: bool = True) -> None:
        """Go on with another environment of the same actions.

        Raises:
            MacroSetMismatchError: Its macros are not those that the model was built for.
            FrameSkipError: It repeats decisions.
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
        """Load a model; arguments as SB3's.

        Raises:
            MacroSetMismatchError: ``env`` has other macros than the model was trained with.
            LearnerSettingError: An argument would change what the model consists of.
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
            # SB3 refuses others than those saved, to which constructors added some of their own.
            kwargs["policy_kwargs"] = saved["policy_kwargs"] | kwargs["policy_kwargs"]
        return super().load(
            path, env, device, custom_objects, print_system_info, force_reset, **kwargs
        )
