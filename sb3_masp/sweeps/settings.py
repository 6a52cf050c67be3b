"""Settings of runs as written in a declaration, with TOML's types."""

from collections.abc import Container
from dataclasses import fields
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from sb3_masp.pairwise.weights import WEIGHTS
from sb3_masp.run_config import LearnerConfig, TrainConfig
from sb3_masp.similarity.base import SIMILARITIES
from sb3_masp.similarity.initial import StartName

LEARNER = {field.name for field in fields(LearnerConfig)}
FORMS: dict[str, Container[str]] = {
    "similarity": SIMILARITIES,
    "similarity_start": get_args(StartName),
    "weights": WEIGHTS,
}
"""Settings that are one of these names, or a file."""
HINTS = get_type_hints(TrainConfig) | get_type_hints(LearnerConfig)
ELSEWHERE = {
    "env": 'list the environments\' ids at the top, games = ["MacroALE/Breakout-v5"]',
    "seed": "say at the top how many, seeds = 5, or which, seeds = [0, 1, 2]",
    "run": "every run has its folder in the sweep's, which --output names",
    "learner": "its arguments are settings like others: eta = 0.3",
}


def converted(value: Any, hint: Any) -> Any:
    """Convert a value of TOML to an annotation's type.

    Raises:
        TypeError: It is of another type.

    Example:
        >>> converted([7, 13], tuple[int, ...] | None), converted(1, float | None)
        ((7, 13), 1.0)
        >>> converted({"screen_size": 42, "state": "Level1"}, dict[str, int | str])
        {'screen_size': 42, 'state': 'Level1'}
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        for option in arguments:
            try:
                return converted(value, option)
            except TypeError:
                continue
    elif origin is Literal:
        if isinstance(value, str) and value in arguments:
            return value
    elif origin is tuple:
        if isinstance(value, list):
            return tuple(converted(part, arguments[0]) for part in value)
    elif origin is dict:
        if isinstance(value, dict):
            return {name: converted(part, arguments[1]) for name, part in value.items()}
    elif hint is Path and isinstance(value, str):
        return Path(value)
    elif hint is float and type(value) in (int, float):
        return float(value)
    elif type(value) is hint:
        return value
    raise TypeError


def in_words(hint: Any) -> str:
    """The values that an annotation allows, in words.

    Example:
        >>> in_words(Literal["exact", "last_layer"] | None), in_words(tuple[int, ...])
        ("'exact' or 'last_layer'", 'a list, each a whole number')
    """
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        options = [option for option in arguments if option is not type(None)]
        return " or ".join(dict.fromkeys(map(in_words, options)))
    if origin is Literal:
        return " or ".join(map(repr, arguments))
    if origin is tuple:
        return f"a list, each {in_words(arguments[0])}"
    if origin is dict:
        return f"a table, each {in_words(arguments[1])}"
    return words.get(hint, "a path")


def shown(value: Any) -> str:
    """A value as in an arm's name."""
    if isinstance(value, tuple):
        return "-".join(map(str, value))
    if isinstance(value, dict):
        return "-".join(f"{name} {part}" for name, part in value.items())
    return value.name if isinstance(value, Path) else str(value)
