"""Declaration of a sweep, in TOML or in Python, which becomes one `TrainConfig` per run."""

import itertools
import re
import tomllib
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeGuard

from macro_gym.errors import MacroGymError
from sb3_masp.run_config import LearnerConfig, TrainConfig
from sb3_masp.sweeps.settings import (
    ELSEWHERE,
    FORMS,
    HINTS,
    LEARNER,
    converted,
    in_words,
    shown,
)

KEYS = ("seeds", "games", "last_share", "fixed", "grid", "arms")


class SweepError(MacroGymError, ValueError):
    """A sweep's declaration or folder that cannot be used."""


@dataclass(frozen=True)
class SweepRun:
    """One run of a sweep.

    Args:
        arm: Name of the arm, whose runs differ only in game and seed.
        config: The run's settings.
    """

    arm: str
    config: TrainConfig

    def setting(self, name: str) -> Any:
        """Value of a setting of the run or of its learner; None if it is left out."""
        return getattr(self.config.learner if name in LEARNER else self.config, name)


@dataclass(frozen=True)
class Sweep:
    """All runs, in the order of the declaration: by arm, then game, then seed.

    Args:
        source: Name of the declaration in messages.
        output: Folder of the sweep.
        runs: The runs.
        swept: Names of the settings in which arms differ.
        last_share: Share of the frames, at the end of a run, for its final score.
    """

    source: str
    output: Path
    runs: tuple[SweepRun, ...]
    swept: tuple[str, ...]
    last_share: float


def read_sweep(path: Path, output: Path) -> Sweep:
    """Read the sweep that a TOML file declares; paths in it are relative to the file.

    Raises:
        FileNotFoundError: There is no such file.
        SweepError: The file is not TOML, or does not declare a sweep.
    """
    try:
        content = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SweepError(f"{path} is not TOML: {error}") from error
    return make_sweep(content, output, str(path), path.parent)


def make_sweep(
    content: Mapping[str, Any], output: Path, source: str = "the sweep", base: Path = Path()
) -> Sweep:
    """Make the sweep of a declaration: every arm on every game with every seed.

    Args:
        content: ``seeds`` (how many, or which), ``games`` (ids of environments), and optionally
            ``fixed`` (settings of all runs), ``grid`` (lists of values, each combination an arm),
            ``arms`` (by name, the settings of one arm or, with a ``grid`` in it, of several) and
            ``last_share``. Settings are fields of `TrainConfig` and `LearnerConfig`.
        output: Folder of the sweep.
        source: Name of the declaration in messages.
        base: Folder that relative paths are relative to.

    Raises:
        SweepError: The declaration is invalid; the message says what is allowed.
    """
    reader = _Reader(source, base)
    output = output.resolve()
    reader.require_keys(content)
    seeds, games = reader.seeds(content), reader.games(content)
    fixed = reader.settings("[fixed]", content.get("fixed", {}))
    arms = reader.arms(content)
    runs = tuple(
        SweepRun(arm, reader.config(arm, fixed | settings, game, seed, output))
        for arm, settings in arms.items()
        for game in games
        for seed in seeds
    )
    if len({run.config.folder for run in runs}) < len(runs):
        raise SweepError(f"{source}: names of arms or games differ in punctuation only")
    swept = tuple(dict.fromkeys(name for settings in arms.values() for name in settings))
    return Sweep(source, output, runs, swept, reader.last_share(content))


@dataclass(frozen=True)
class _Reader:
    """Reads the parts of a declaration; errors start with its name."""

    source: str
    base: Path

    def seeds(self, content: Mapping[str, Any]) -> list[int]:
        """The seeds."""
        given = content.get("seeds")
        seeds = list(range(given)) if type(given) is int else given
        if not _different(seeds, int):
            self.refuse("seeds", given, "how many, 1 or more, or a list of different numbers")
        return list(seeds)

    def games(self, content: Mapping[str, Any]) -> list[str]:
        """Ids of the environments."""
        games = content.get("games")
        if not _different(games, str):
            self.refuse("games", games, 'a list of different ids, as ["MacroALE/Breakout-v5"]')
        return list(games)

    def last_share(self, content: Mapping[str, Any]) -> float:
        """Share of the frames for final scores."""
        share = content.get("last_share", 0.3)
        if type(share) not in (int, float) or not 0 < share <= 1:
            self.refuse("last_share", share, "above 0, and at most 1")
        return float(share)

    def arms(self, content: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Settings of each arm, by its name."""
        arms: dict[str, dict[str, Any]] = {}
        named = self.table("[arms]", content.get("arms", {}))
        if "grid" in content or not named:
            arms |= self.points("[grid]", "", {}, content.get("grid", {}))
        for name, settings in named.items():
            where = f"[arms.{name}]"
            own = dict(self.table(where, settings))
            grid = own.pop("grid", {})
            points = self.points(f"[arms.{name}.grid]", name, self.settings(where, own), grid)
            for point in points.keys() & arms.keys():
                raise SweepError(f"{self.source}: two arms are called {point!r}")
            arms |= points
        return arms

    def points(
        self, where: str, name: str, settings: dict[str, Any], grid: Any
    ) -> dict[str, dict[str, Any]]:
        """Every combination of a grid's values, with the settings that all of them share."""
        axes = {}
        for key, values in self.table(where, grid).items():
            if not isinstance(values, list) or not values:
                self.refuse(f"{where} {key}", values, "a list of values")
            axes[key] = [self.setting(where, key, value) for value in values]
            if any(value in axes[key][:index] for index, value in enumerate(axes[key])):
                self.refuse(f"{where} {key}", values, "a list of different values")
        points: dict[str, dict[str, Any]] = {}
        for values in itertools.product(*axes.values()):
            point = dict(zip(axes, values, strict=True))
            said = [f"{key}={shown(value)}" for key, value in point.items()]
            called = ",".join(filter(None, [name, *said])) or "all"
            if called in points:
                raise SweepError(f"{self.source}: {where} makes two arms called {called!r}")
            points[called] = settings | point
        return points

    def settings(self, where: str, given: Any) -> dict[str, Any]:
        """Settings, converted to their types."""
        return {
            name: self.setting(where, name, value)
            for name, value in self.table(where, given).items()
        }

    def setting(self, where: str, name: str, value: Any) -> Any:
        """One setting, converted to its type."""
        if name in ELSEWHERE:
            raise SweepError(
                f"{self.source}: {where} {name} cannot be set there; {ELSEWHERE[name]}"
            )
        if name not in HINTS:
            known = ", ".join(sorted(HINTS.keys() - ELSEWHERE.keys()))
            raise SweepError(f"{self.source}: {where} {name} is no setting; there are {known}")
        try:
            typed = converted(value, HINTS[name])
        except TypeError:
            self.refuse(f"{where} {name}", value, in_words(HINTS[name]))
        if isinstance(typed, Path) or (name in FORMS and self.is_file(typed, FORMS[name])):
            typed = type(typed)(str((self.base / typed).resolve()))
        return typed

    def is_file(self, text: str, forms: Container[str]) -> bool:
        """Whether a text is the name of a file, not of a form."""
        return text not in forms and (self.base / text).exists()

    def config(
        self, arm: str, settings: Mapping[str, Any], game: str, seed: int, output: Path
    ) -> TrainConfig:
        """Settings of one run, with one thread unless set otherwise."""
        folder = output / "runs" / _file_name(arm) / _file_name(game) / f"seed{seed}"
        learner = {name: value for name, value in settings.items() if name in LEARNER}
        rest = {name: value for name, value in settings.items() if name not in LEARNER}
        try:
            config = TrainConfig(
                **({"threads": 1} | rest),
                env=game,
                seed=seed,
                run=folder,
                learner=LearnerConfig(**learner),
            )
            config.learner_kwargs  # noqa: B018 (it refuses settings that the algorithm lacks)
        except MacroGymError as error:
            raise SweepError(f"{self.source}: arm {arm!r}, seed {seed}: {error}") from error
        return config

    def require_keys(self, content: Mapping[str, Any]) -> None:
        """Reject unknown keys."""
        for key in content:
            if key not in KEYS:
                hint = "; settings of all runs go under [fixed]" if key in HINTS else ""
                raise SweepError(
                    f"{self.source}: {key} means nothing there; there are {', '.join(KEYS)}{hint}"
                )

    def table(self, where: str, given: Any) -> Mapping[str, Any]:
        """Require a value to be a table."""
        if not isinstance(given, Mapping):
            self.refuse(where, given, "a table")
        return given

    def refuse(self, name: str, value: Any, allowed: str) -> NoReturn:
        """Raise an error that says what a value must be.

        Raises:
            SweepError: Always.
        """
        raise SweepError(f"{self.source}: {name} is {value!r}; it must be {allowed}")


def _different(values: Any, kind: type) -> TypeGuard[list[Any]]:
    """Whether ``values`` is a list of different values, one or more, all of one type."""
    listed = isinstance(values, list) and all(type(value) is kind for value in values)
    return listed and 0 < len(values) == len(set(values))


def _file_name(name: str) -> str:
    """A name without characters that have a meaning in paths."""
    return re.sub(r"[^\w.,=+-]+", "-", name)


def each_once(runs: Iterable[SweepRun]) -> Iterator[SweepRun]:
    """Enough runs to contain each arm and each game once."""
    arms: set[str] = set()
    games: set[str] = set()
    for run in runs:
        if run.arm not in arms or run.config.env not in games:
            yield run
        arms.add(run.arm)
        games.add(run.config.env)
