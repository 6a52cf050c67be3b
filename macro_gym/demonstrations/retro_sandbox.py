"""stable-retro games for the planner, in the one emulator that a process can have."""

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.utils.seeding import np_random
from numpy.typing import NDArray

from macro_gym.buttons import button_row, normal_name
from macro_gym.demonstrations.search import Memory, Sandbox, held_actions
from macro_gym.errors import EnvironmentSettingError
from macro_gym.retro_games import integration

if TYPE_CHECKING:
    from macro_gym.demonstrations.planner import PlannerSettings
    from macro_gym.retro_emulator import RetroEmulator, RetroState

WATCHED = 128
"""Memory cells watched for novelty: as many as an Atari has."""

SAMPLED_STEPS = 256
"""Steps of random play that reveal which cells change."""


@dataclass(frozen=True, slots=True)
class RetroGame:
    """A stable-retro game, and how to play it.

    Args:
        key: The game, as in ``Airstriker-Genesis-v0``; also without version, or as in an id.
        state: Savestate to start from; None for the integration's default.
        scenario: What is rewarded and when the game is over; None for the integration's default.
        buttons: The actions, as in ``("NOOP", "B", "LEFT+B")``; None for all combinations that
            the integration allows. The search plays better with fewer.

    Raises:
        UnknownGameError: stable-retro does not integrate the game.
        MissingRomError: Its ROM was not imported.
        EnvironmentSettingError: The game lacks the state, the scenario or a button, or a
            combination is repeated.
    """

    key: str
    state: str | None = None
    scenario: str | None = None
    buttons: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Validate the fields; use stable-retro's name of the game."""
        known = integration(self.key)
        known.require_rom()
        if self.state is not None:
            known.require_state(self.state)
        known.scenario_file(self.scenario)
        object.__setattr__(self, "key", known.game)
        if self.buttons is not None:
            names = tuple(normal_name(name, known.buttons) for name in self.buttons)
            _require_distinct(names)
            object.__setattr__(self, "buttons", names)

    @property
    def name(self) -> str:
        """The game's name in demonstrations."""
        return self.key

    @property
    def options(self) -> dict[str, str]:
        """Choices besides the game."""
        given = {
            "state": self.state,
            "scenario": self.scenario,
            "buttons": " ".join(self.buttons or ()),
        }
        return {name: value for name, value in given.items() if value}

    @property
    def primitives(self) -> tuple[str, ...]:
        """Names of the actions."""
        return self.buttons or integration(self.key).combinations(self.scenario)

    @contextmanager
    def begun(self, settings: "PlannerSettings", seed: int) -> Iterator[tuple[Sandbox, Sandbox]]:
        """Yield two sandboxes at the game's start: one to play in, and one to rewind."""
        with closing(self.loaded(settings.repeat_action_probability, seed)) as emulator:
            sticky, never = emulator.random, _never
            emulator.random = never
            shared = _Shared(emulator, changing_cells(emulator, len(self.primitives), settings))
            play, search = (
                RetroSandbox(shared, self.primitives, settings.frameskip, random)
                for random in (sticky, never)
            )
            yield play, search

    def paid(
        self, settings: "PlannerSettings", seed: int, actions: Sequence[int], paid: Sequence[float]
    ) -> Sequence[float]:
        """Replay the actions in an emulator that is never rewound; return the rewards.

        Warns if they differ from ``paid``: the emulator's savestates then lack something.
        """
        again: list[float] = []
        with closing(self.loaded(settings.repeat_action_probability, seed)) as emulator:
            for action in actions:
                if emulator.over():
                    break
                again.append(sum(emulator.act(action) for _ in range(settings.frameskip)))
        if again != list(paid):
            warnings.warn(
                f"planned play of {self.key}, seed {seed}, paid {sum(paid):g} while it was "
                f"planned, but not the same, {sum(again):g}, when played in one go: the emulator's "
                "savestates lack something, or the scenario's script remembers something. What is "
                "kept is what was played in one go: as true, but not as good as it was planned.",
                stacklevel=2,
            )
        return again

    def to_replay(self, settings: "PlannerSettings", seed: int) -> dict[str, Any]:
        """Return the settings that a demonstration of this play states."""
        return {
            "id": f"MacroRetro/{self.key}",
            "kwargs": {
                "k": 0,
                "frameskip": settings.frameskip,
                "repeat_action_probability": settings.repeat_action_probability,
                "state": self.state,
                "scenario": self.scenario,
                "buttons": self.primitives,
            },
            "seed": seed,
        }

    def loaded(self, repeat_action_probability: float = 0.0, seed: int = 0) -> "RetroEmulator":
        """Return the game at its start; actions stick as in the environment after ``reset(seed)``.

        Raises:
            EmulatorInUseError: This process already runs a stable-retro game.
        """
        from macro_gym.retro_emulator import RetroEmulator

        known = integration(self.key)
        return RetroEmulator(
            known,
            [(button_row(name, known.buttons),) for name in self.primitives],
            state=self.state,
            scenario=str(known.scenario_file(self.scenario)),
            repeat_action_probability=repeat_action_probability,
            random=np_random(seed)[0].random,
            max_frames=None,
            colour=False,
        )


def changing_cells(
    emulator: "RetroEmulator", n_actions: int, settings: "PlannerSettings"
) -> NDArray[np.int64]:
    """Return the memory cells to watch for novelty: 128 of those that random play changes.

    They are spread evenly, and the same for every seed. All cells would be too many: a Genesis has
    65,536, most of them pictures and tables.

    Args:
        emulator: The game, at its start; it is reset afterwards.
        n_actions: Number of primitives.
        settings: The planner's settings.
    """
    first = emulator.env.get_ram()
    changed = np.zeros(len(first), dtype=bool)
    for action in held_actions(
        np.random.default_rng(0), SAMPLED_STEPS, n_actions, settings.holds
    ).tolist():
        for _ in range(settings.frameskip):
            emulator.act(action)
        changed |= emulator.env.get_ram() != first
    emulator.reset()
    cells = np.flatnonzero(changed)
    return cells[np.linspace(0, len(cells) - 1, min(len(cells), WATCHED)).astype(np.int64)]


@dataclass(slots=True)
class _Shared:
    """The process's one emulator, and the sandbox using it.

    Args:
        emulator: The emulator.
        cells: Addresses of the watched cells.
        turn: The sandbox whose game it holds; None at the start.
    """

    emulator: "RetroEmulator"
    cells: NDArray[np.int64]
    turn: "RetroSandbox | None" = None


class RetroSandbox:
    """A stable-retro game that can be rewound and that shares its emulator with others.

    Before anything else, the emulator is brought to this game's state; restoring a savestate takes
    less time than a frame.

    Args:
        shared: The emulator, at the game's start if no sandbox has used it yet.
        primitives: Names of the actions.
        frameskip: Frames per step.
        random: Draws a number within [0, 1) for each frame, for sticky actions.
    """

    def __init__(
        self,
        shared: _Shared,
        primitives: tuple[str, ...],
        frameskip: int,
        random: Callable[[], float],
    ) -> None:
        """Start from the emulator's current state."""
        self.primitives = primitives
        self._shared, self._frameskip, self._random = shared, frameskip, random
        self._here = shared.emulator.save()

    def act(self, action: int) -> float:
        """Take one step; return the points scored."""
        emulator = self._emulator()
        return sum(emulator.act(action) for _ in range(self._frameskip))

    def save(self) -> "_Moment":
        """Return the current state."""
        emulator = self._emulator()
        return _Moment(emulator.save(), emulator.env.get_ram())

    def restore(self, state: "_Moment") -> None:
        """Restore ``state``."""
        self._emulator().restore(state.emulator)

    def same(self, one: "_Moment", other: "_Moment") -> bool:
        """Whether the whole memory is the same.

        The saved states themselves cannot be compared: they end in meaningless bytes.
        """
        return np.array_equal(one.memory, other.memory)

    def memory(self) -> Memory:
        """Return the watched cells."""
        cells: Memory = self._emulator().env.get_ram()[self._shared.cells]
        return cells

    def lives(self) -> int:
        """Return the variable ``lives`` of the integration; 0 if it has none."""
        return self._emulator().lives()

    def over(self) -> bool:
        """Whether the scenario says that the game is over."""
        return self._emulator().over()

    def _emulator(self) -> "RetroEmulator":
        """The emulator, at this game's state."""
        shared = self._shared
        emulator = shared.emulator
        if shared.turn is not self:
            if shared.turn is not None:
                shared.turn._here = emulator.save()
            emulator.restore(self._here)
            emulator.random = self._random
            shared.turn = self
        return emulator


@dataclass(frozen=True, slots=True, eq=False)
class _Moment:
    """A game at some moment.

    Args:
        emulator: The emulator's state.
        memory: The console's whole memory, shape ``(bytes,)``.
    """

    emulator: "RetroState"
    memory: Memory


def _require_distinct(buttons: Sequence[str]) -> None:
    """Raise if a combination is repeated."""
    repeated = [name for name, times in Counter(buttons).items() if times > 1]
    if repeated:
        raise EnvironmentSettingError(
            f"buttons names {', '.join(repeated)} more than once, in whichever order of buttons; "
            "each combination must be named once"
        )


def _never() -> float:
    """A draw that lets no action stick, whatever the probability."""
    return 1.0
