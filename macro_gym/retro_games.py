"""stable-retro's integrations, read from its files: it is slow to import and needs the ROMs."""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from macro_gym.buttons import allowed_combinations
from macro_gym.errors import (
    ArgumentTypeError,
    EnvironmentSettingError,
    MissingDependencyError,
    MissingRomError,
    UnknownGameError,
)
from macro_gym.games import did_you_mean, find_game

SCENARIOS_SAY = frozenset({"done", "reward", "rewards"})
"""Keys of which every scenario has at least one."""


def retro_games() -> list[str]:
    """Return stable-retro's games, as in ``Airstriker-Genesis-v0``; none if it is not installed."""
    folder = _package_folder()
    if folder is None:
        return []
    return sorted(
        path.name for path in (folder / "data/stable").iterdir() if path.name.endswith("-v0")
    )


@dataclass(frozen=True, slots=True)
class Integration:
    """What stable-retro knows about a game, with or without its ROM.

    Args:
        game: The game, as in ``Airstriker-Genesis-v0``.
        folder: Folder of its files.
        buttons: The console's buttons, in order; None for a slot without a button.
        extensions: File extensions of the console's ROMs.
    """

    game: str
    folder: Path
    buttons: tuple[str | None, ...]
    extensions: tuple[str, ...]

    @property
    def console(self) -> str:
        """The console, as in ``Genesis``."""
        return _console_name(self.game)

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the savestates that an episode can start from."""
        names = (path.stem for path in self.folder.glob("*.state"))
        return tuple(sorted(name for name in names if not name.startswith("_")))

    @property
    def scenarios(self) -> tuple[str, ...]:
        """Names of the scenarios, which define the rewards and when the game is over."""
        files = self.folder.glob("*.json")
        return tuple(sorted(file.stem for file in files if SCENARIOS_SAY & _json(file).keys()))

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the variables that the integration reads from memory, such as ``score``."""
        return tuple(sorted(self._read("data.json").get("info", {})))

    @property
    def rom(self) -> Path | None:
        """The ROM, if it was imported."""
        original = self._read("metadata.json").get("original_rom_name")
        names = ([original] if original else []) + [f"rom.{ending}" for ending in self.extensions]
        paths = (self.folder / name for name in names)
        return next((path for path in paths if path.exists()), None)

    @property
    def sha1(self) -> tuple[str, ...]:
        """SHA-1 of the ROMs, any of which will do; stable-retro lacks it for a few games."""
        return tuple((self.folder / "rom.sha").read_text().split())

    def combinations(self, scenario: str | os.PathLike[str] | None = None) -> tuple[str, ...]:
        """Return the allowed button combinations, in the order of ``Actions.DISCRETE``.

        Args:
            scenario: As in `scenario_file`.

        Raises:
            EnvironmentSettingError: As in `scenario_file`.
        """
        return allowed_combinations(self.groups(scenario), self.buttons)

    def groups(self, scenario: str | os.PathLike[str] | None = None) -> list[list[list[str]]]:
        """Return the groups of mutually exclusive choices of what to hold.

        Args:
            scenario: As in `scenario_file`.

        Raises:
            EnvironmentSettingError: As in `scenario_file`.
        """
        own: list[list[list[str]]] = _json(self.scenario_file(scenario)).get("actions", [])
        return own or list(_console(self.game)["actions"])

    def scenario_file(self, scenario: str | os.PathLike[str] | None = None) -> Path:
        """Return the file that defines the rewards and when the game is over.

        Args:
            scenario: A name among the game's, or the path of a JSON file; None for the default.

        Raises:
            EnvironmentSettingError: There is none, or the file is not a scenario.
            ArgumentTypeError: It is neither a name nor a path.
        """
        if scenario is None:
            return self.folder / "scenario.json"
        if not isinstance(scenario, (str, os.PathLike)):
            raise ArgumentTypeError(f"scenario is {scenario!r}; it must be a name or a path")
        name = os.fspath(scenario)
        path = Path(name)
        if name in self.scenarios:
            return self.folder / f"{name}.json"
        if not name.endswith(".json") or not path.is_file():
            raise EnvironmentSettingError(
                f"scenario is {name!r}, but {self.game} has {_listed(self.scenarios)}; the path "
                "of a scenario's .json file works too"
            )
        try:
            content = json.loads(path.read_text())
        except ValueError as error:
            raise EnvironmentSettingError(
                f"scenario is {name!r}, which is no JSON: {error}"
            ) from error
        if not isinstance(content, dict) or not SCENARIOS_SAY & content.keys():
            raise EnvironmentSettingError(
                f"scenario is {name!r}, which holds none of {', '.join(sorted(SCENARIOS_SAY))}"
            )
        return path

    def require_state(self, state: str) -> None:
        """Raise if the game does not have a savestate.

        Raises:
            EnvironmentSettingError: It does not.
        """
        if state not in self.states:
            raise EnvironmentSettingError(
                f"state is {state!r}, but {self.game} has {_listed(self.states)}"
            )

    def require_rom(self) -> None:
        """Raise if the game's ROM was not imported.

        Raises:
            MissingRomError: It was not; the message says which file is needed.
        """
        if self.rom is None:
            wanted = self._read("metadata.json").get("original_rom_name")
            name = wanted or f"rom.{self.extensions[0]}"
            if not self.sha1:
                raise MissingRomError(
                    f"stable-retro integrates {self.game}, but its ROM is not there, and it does "
                    f"not say which file is wanted (its rom.sha is empty). Copy yours to "
                    f"{self.folder / name}."
                )
            raise MissingRomError(
                f"stable-retro integrates {self.game}, but its ROM is not there: games other than "
                "Airstriker's are not free to share. The file wanted has the SHA-1 "
                f"{' or '.join(self.sha1)} (any name; it becomes {name}). Put yours in a folder "
                "and run `python -m stable_retro.import FOLDER`, which finds files by their SHA-1."
            )

    def _read(self, file: str) -> dict[str, Any]:
        """A JSON file of the integration."""
        return _json(self.folder / file)


def is_moved_by_variables(scenario: Path) -> bool:
    """Return whether a scenario pays and ends only when a variable changes.

    A frame in which no variable changes then pays nothing and ends nothing. This does not hold if
    time is rewarded, a script is used, or a condition is put on a change.

    Args:
        scenario: The scenario's file.
    """
    content = _json(scenario)
    paid = (content.get("reward", {}), *content.get("rewards", ()))
    variables = (terms for reward in paid for terms in reward.get("variables", {}).values())
    return (
        "scripts" not in content
        and all(reward.keys() <= {"variables"} for reward in paid)
        and all(terms.keys() <= {"reward", "penalty"} for terms in variables)
        and _looks_at_values(content.get("done", {}))
    )


def _looks_at_values(done: dict[str, Any]) -> bool:
    """Whether all conditions, including nested ones, are on variables' values."""
    variables, nodes = done.get("variables", {}), done.get("nodes", {})
    return (
        done.keys() <= {"condition", "nodes", "variables"}
        and all(terms.get("measurement", "absolute") == "absolute" for terms in variables.values())
        and all(map(_looks_at_values, nodes.values()))
    )


def integration(game: str) -> Integration:
    """Return what stable-retro knows about a game.

    Args:
        game: The game, as in ``Airstriker-Genesis-v0``; also without version, or as in an id.

    Raises:
        UnknownGameError: stable-retro does not integrate it.
        MissingDependencyError: stable-retro is not installed.

    Example:
        >>> airstriker = integration("MacroRetro/Airstriker-Genesis-v0")
        >>> airstriker.game, airstriker.states, airstriker.variables
        ('Airstriker-Genesis-v0', ('Level1',), ('gameover', 'lives', 'score'))
        >>> len(airstriker.combinations())
        126
    """
    folder = _package_folder()
    if folder is None:
        raise MissingDependencyError(
            f"{game!r} needs stable-retro, which is not installed: `pip install stable-retro`"
        )
    games = retro_games()
    known = find_game(game, games)
    if known is None:
        raise UnknownGameError(
            f"game is {game!r}, which stable-retro does not integrate; games are named as in "
            f"'Airstriker-Genesis-v0'.{did_you_mean(game, games)}"
        )
    console = _console(known)
    return Integration(
        known, folder / "data/stable" / known, tuple(console["buttons"]), tuple(console["ext"])
    )


@cache
def _package_folder() -> Path | None:
    """stable-retro's folder; None if it is not installed."""
    spec = find_spec("stable_retro")
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


def _console_name(game: str) -> str:
    """The console in a game's name: ``Genesis`` in ``Airstriker-Genesis-v0``."""
    return game.split("-")[-2]


def _console(game: str) -> dict[str, Any]:
    """What stable-retro knows about the console in a game's name."""
    name = _console_name(game)
    # It names arcade machines after the emulator.
    return _consoles()["FBNeo" if name == "Arcade" else name]


@cache
def _consoles() -> dict[str, dict[str, Any]]:
    """Buttons, allowed actions and ROM extensions of each console."""
    files = () if (folder := _package_folder()) is None else (folder / "cores").glob("*.json")
    return {name: console for file in files for name, console in _json(file).items()}


def _json(path: Path) -> dict[str, Any]:
    """The content of a JSON file."""
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def _listed(names: Iterable[str]) -> str:
    """The names, or that there are none."""
    return ", ".join(names) or "none"
