"""A planner that plays Atari games by clone-and-restore search: no learning, no drawing.

At each point it samples action plans made of held actions, rolls each out in the emulator and
commits the first steps of the best; the rest of the best plan is a candidate at the next point.
That plays well enough to mine macros from, without human data.
"""

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from macro_gym.demonstrations.demonstration import Demonstration
from macro_gym.errors import DemonstrationError, UnknownGameError
from macro_gym.files import replacing
from macro_gym.games import find_game, game_name

if TYPE_CHECKING:
    from ale_py import Action, ALEInterface, ALEState

Plan = NDArray[np.int64]
"""Indices of primitives, shape ``(horizon,)``."""


@dataclass(frozen=True, slots=True)
class PlannerSettings:
    """How the planner searches. Times are in steps of ``frameskip`` frames.

    Args:
        plans: Plans rolled out at each point, the rest of the last best one included.
        horizon: Steps in a plan.
        commit: Steps taken of the best plan before planning anew.
        steps: Steps after which an episode is cut, if the game is not over before.
        holds: How long an action may be held; each equally likely. Short and long holds both
            matter: Pong needs single steps, Freeway a whole horizon of one action.
        life_penalty: Points that losing a life costs; a roll-out ends there.
        discount: What a step's delay leaves of a point: of two plans of the same score the
            sooner wins.
        frameskip: Frames per step.

    Raises:
        DemonstrationError: A setting is out of its range.
    """

    plans: int = 16
    horizon: int = 40
    commit: int = 4
    steps: int = 1200
    holds: tuple[int, ...] = (1, 2, 3, 4, 6, 8, 12, 16, 24, 40)
    life_penalty: float = 100.0
    discount: float = 0.99
    frameskip: int = 4

    def __post_init__(self) -> None:
        """Refuse settings that describe no search."""
        for name in ("plans", "horizon", "commit", "steps", "frameskip"):
            if getattr(self, name) < 1:
                raise DemonstrationError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.commit > self.horizon:
            raise DemonstrationError(
                f"commit is {self.commit}, but a plan has only {self.horizon} steps (horizon)"
            )
        if not self.holds or min(self.holds) < 1:
            raise DemonstrationError(f"holds is {self.holds}; it must list lengths of at least 1")
        if not 0 < self.discount <= 1:
            raise DemonstrationError(f"discount is {self.discount}; it must be within (0, 1]")

    def __str__(self) -> str:
        """All settings, as in ``plans=16, horizon=40``."""
        return ", ".join(f"{name}={value}" for name, value in asdict(self).items())


DEFAULTS = PlannerSettings()


def plan_episode(
    game: str,
    settings: PlannerSettings = DEFAULTS,
    seed: int = 0,
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_seconds: float = 5.0,
    on_steps: Callable[[int], None] = lambda steps: None,
) -> Demonstration:
    """Play one episode from the game's start: sticky actions off, minimal action set.

    The same arguments give the same play, whether or not it was interrupted and resumed.

    Args:
        game: The game, as in ``breakout``, ``Breakout`` or ``ALE/Breakout-v5``.
        settings: How to search.
        seed: Seeds the search and the emulator.
        checkpoint: A file to save progress in and to resume from if it exists; None for neither.
        checkpoint_seconds: Time between two savings.
        on_steps: Called with the number of steps done since the last call.

    Returns:
        The play; it ends with the game or after ``settings.steps`` steps.

    Raises:
        UnknownGameError: ale-py has no such game.
        DemonstrationError: The checkpoint is of another game, seed or settings, or damaged.
    """
    rom = known_rom(game)
    search = _Search(rom, settings, seed)
    if checkpoint is not None and Path(checkpoint).exists():
        search.restore(Path(checkpoint))
        on_steps(len(search.actions))
    saved = time.monotonic()
    while not search.is_over():
        on_steps(search.advance())
        if checkpoint is not None and time.monotonic() - saved >= checkpoint_seconds:
            search.save(Path(checkpoint))
            saved = time.monotonic()
    return Demonstration(
        primitives=tuple(code.name for code in search.codes),
        actions=np.array(search.actions, dtype=np.uint8),
        rewards=np.array(search.rewards, dtype=np.float32),
        game=game_name(rom),
        frameskip=settings.frameskip,
        source=describe(settings),
    )


def describe(settings: PlannerSettings) -> str:
    """Return what a planned demonstration states as its source."""
    return f"clone-and-restore planner: {settings}"


def known_rom(game: str) -> str:
    """Return ale-py's id of ``game``.

    Raises:
        UnknownGameError: ale-py has no such game.
    """
    from ale_py import roms

    rom = find_game(game, roms.get_all_rom_ids())
    if rom is None:
        raise UnknownGameError(
            f"game is {game!r}, but ale-py has no such game; it has "
            f"{', '.join(sorted(roms.get_all_rom_ids()))}"
        )
    return rom


def held_actions(
    rng: np.random.Generator, steps: int, n_actions: int, holds: Sequence[int]
) -> Plan:
    """Draw random actions, each held for a random length; shape ``(steps,)``."""
    actions = rng.integers(n_actions, size=steps)
    lengths = np.asarray(holds)[rng.integers(len(holds), size=steps)]
    return np.repeat(actions, lengths)[:steps]


def plan_value(
    ale: "ALEInterface", codes: Sequence["Action"], plan: Plan, settings: PlannerSettings
) -> float:
    """Run ``plan`` and return its discounted points, up to a lost life, which costs its penalty."""
    lives, value, weight = ale.lives(), 0.0, 1.0
    for action in plan:
        value += weight * _step(ale, codes[action], settings.frameskip)
        if ale.lives() < lives or ale.game_over():
            return value - weight * settings.life_penalty
        weight *= settings.discount
    return value


class _Search:
    """One episode's search: the play so far, and what it takes to go on.

    The play runs in an emulator that is never rewound, so that replaying its actions gives its
    rewards whatever cloning may lose; plans run in a second one.
    """

    def __init__(self, rom: str, settings: PlannerSettings, seed: int) -> None:
        self.settings = settings
        self.identity = f"{rom}, seed {seed}, {describe(settings)}"
        self.game, self.scratch = _emulator(rom, seed), _emulator(rom, seed)
        self.codes = self.game.getMinimalActionSet()
        self.rng = np.random.default_rng(seed)
        self.candidate = self._held(settings.horizon)
        self.actions: list[int] = []
        self.rewards: list[int] = []

    def is_over(self) -> bool:
        """Whether the game or the steps have run out."""
        return len(self.actions) >= self.settings.steps or self.game.game_over()

    def advance(self) -> int:
        """Plan once and commit the first steps of the best plan; return how many."""
        before, commit = len(self.actions), self.settings.commit
        best = self._best_plan()
        for action in best[:commit]:
            if not self.is_over():
                self._play(int(action))
        self.candidate = np.concatenate([best[commit:], self._held(commit)])
        return len(self.actions) - before

    def save(self, path: Path) -> None:
        """Write where the search stands, whole or not at all."""
        content = {
            "identity": self.identity,
            "rng": self.rng.bit_generator.state,
            "candidate": self.candidate.tolist(),
            "actions": self.actions,
        }
        with replacing(path) as file:
            file.write(json.dumps(content).encode())

    def restore(self, path: Path) -> None:
        """Go to where `save` wrote that a search of the same play stood."""
        content = _checkpoint(path, self.identity)
        self.rng.bit_generator.state = content["rng"]
        self.candidate = np.array(content["candidate"], dtype=np.int64)
        for action in content["actions"]:
            self._play(action)

    def _play(self, action: int) -> None:
        """Take one step of the play."""
        self.rewards.append(_step(self.game, self.codes[action], self.settings.frameskip))
        self.actions.append(action)

    def _held(self, steps: int) -> Plan:
        """Random held actions, shape ``(steps,)``."""
        return held_actions(self.rng, steps, len(self.codes), self.settings.holds)

    def _best_plan(self) -> Plan:
        """The first of the most valuable among the candidate and random plans."""
        here = self.game.cloneState()
        fresh = [self._held(self.settings.horizon) for _ in range(self.settings.plans - 1)]
        plans = [self.candidate, *fresh]
        values = []
        for plan in plans:
            _rewind(self.scratch, here)
            values.append(plan_value(self.scratch, self.codes, plan, self.settings))
        return plans[int(np.argmax(values))]


def _rewind(ale: "ALEInterface", state: "ALEState") -> None:
    """Restore ``state`` so that what follows depends on nothing else.

    Clones of ale-py 0.12.1 forget that a frame is half done, which Q*bert's may be; the frame
    run in between finishes such a one.
    """
    ale.restoreState(state)
    ale.act(0)
    ale.restoreState(state)


def _step(ale: "ALEInterface", code: "Action", frameskip: int) -> int:
    """Act for ``frameskip`` frames; return the points."""
    return sum(ale.act(code) for _ in range(frameskip))


def _emulator(rom: str, seed: int) -> "ALEInterface":
    """The emulator at the game's start, without sticky actions."""
    import ale_py
    from ale_py import roms

    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    ale = ale_py.ALEInterface()
    ale.setInt("random_seed", seed)
    ale.setFloat("repeat_action_probability", 0.0)
    ale.loadROM(cast(Path, roms.get_rom_path(rom)))
    ale.reset_game()
    return ale


def _checkpoint(path: Path, identity: str) -> dict[str, Any]:
    """What ``path`` holds, if it is the progress of the play called ``identity``."""
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
        found = content["identity"]
    except (ValueError, KeyError, TypeError) as error:
        raise DemonstrationError(
            f"{path} is not a whole checkpoint of the planner ({error!r}); delete it to start anew"
        ) from error
    if found != identity:
        raise DemonstrationError(
            f"{path} holds the progress of other play ({found}) than is asked for ({identity}); "
            "delete it, or write elsewhere"
        )
    return content
