"""Validation of environments' settings."""

from numbers import Real

import numpy as np

from macro_gym.errors import ArgumentTypeError, EnvironmentSettingError, FrameSkipError


def require_frameskip(frameskip: int) -> None:
    """Raise unless a frameskip is a fixed number of frames."""
    if isinstance(frameskip, bool) or not isinstance(frameskip, int) or frameskip < 1:
        raise FrameSkipError(
            f"frameskip is {frameskip!r}, but a primitive runs a fixed number of frames, at "
            "least 1. A random frameskip would make macros of the same primitives differ."
        )


def require_one_of(name: str, value: object, allowed: tuple[object, ...]) -> None:
    """Raise unless a setting is one of the allowed values."""
    if value not in allowed:
        raise EnvironmentSettingError(
            f"{name} is {value!r}; it may be {', '.join(map(repr, allowed))}"
        )


def require_at_least(name: str, value: int, least: int) -> None:
    """Raise unless a setting is an integer of at least ``least``."""
    if not isinstance(value, (int, np.integer)):
        raise ArgumentTypeError(f"{name} is {value!r}; it must be an integer")
    if value < least:
        raise EnvironmentSettingError(f"{name} is {value}; it must be at least {least}")


def require_probability(name: str, value: float) -> None:
    """Raise unless a setting is a number within 0..1."""
    if not isinstance(value, Real):
        raise ArgumentTypeError(f"{name} is {value!r}; it must be a number within 0..1")
    if not 0 <= value <= 1:
        raise EnvironmentSettingError(f"{name} is {value}; it must be within 0..1")
