"""A planner that plays emulated games by clone-and-restore search, without learning or drawing.

It keeps one plan of held actions, tries changes to it in the emulator, keeps those of higher value,
plays the first steps and repeats. It plays well enough to mine macros from, without human data.
"""

import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from macro_gym.demonstrations.atari_sandbox import AtariGame, known_rom
from macro_gym.demonstrations.demonstration import Demonstration
from macro_gym.demonstrations.retro_sandbox import RetroGame
from macro_gym.demonstrations.search import Plan, Sandbox, Search
from macro_gym.errors import DemonstrationError
from macro_gym.files import replacing
from macro_gym.games import bare_name

REFRESH = 25
"""Searches after which the plan is rerun from the game's state, so that play can resume there."""


PlannedGame = AtariGame | RetroGame


USUAL_FRAMES = 108_000
"""Frames after which environments truncate an episode by default."""


@dataclass(frozen=True, slots=True)
class PlannerSettings:
    """How the planner searches. Times are in steps of ``frameskip`` frames.

    Args:
        trials: Changes to the plan tried in each search.
        rescue_trials: Maximum number of changes tried while the plan's value is negative: a life or
            a point would be lost.
        horizon: Steps in a plan, a multiple of ``commit``.
        commit: Steps taken of the plan before the next search; the emulator's state is saved at the
            same interval.
        steps: Steps after which an episode is cut, if the game is not over before.
        holds: How long an action may be held; each equally likely. Short and long holds both
            matter: Pong needs single steps, Freeway a whole horizon of one action.
        splice: Probability that a change overwrites part of the plan with one held action;
            otherwise everything that follows is redrawn.
        life_penalty: Points that losing a life costs; a rollout stops there.
        discount: Discount per step: of two plans with the same score, the sooner one wins.
        novelty: Points for each memory cell with a value not yet seen in the play, averaged over
            the plan: next to nothing, but decisive where no points are in sight.
        repeat_action_probability: Probability of sticky actions in the game; the search assumes
            none.
        frameskip: Frames per step.

    Raises:
        DemonstrationError: A setting is out of range.
    """

    trials: int = 4
    rescue_trials: int = 40
    horizon: int = 48
    commit: int = 4
    steps: int = 4000
    holds: tuple[int, ...] = (1, 2, 3, 4, 6, 8, 12, 16, 24, 40)
    splice: float = 0.6
    life_penalty: float = 100.0
    discount: float = 0.99
    novelty: float = 0.001
    repeat_action_probability: float = 0.0
    frameskip: int = 4

    def __post_init__(self) -> None:
        """Validate the settings."""
        for name in ("horizon", "commit", "steps", "frameskip"):
            if getattr(self, name) < 1:
                raise DemonstrationError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("trials", "rescue_trials", "novelty", "life_penalty"):
            if not 0 <= getattr(self, name) < math.inf:
                raise DemonstrationError(
                    f"{name} is {getattr(self, name)}; it must be at least 0, and finite"
                )
        for name in ("splice", "repeat_action_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise DemonstrationError(f"{name} is {getattr(self, name)}; it must be within 0..1")
        if self.horizon % self.commit:
            raise DemonstrationError(
                f"horizon is {self.horizon}; it must be a multiple of commit, {self.commit}"
            )
        if not self.holds or min(self.holds) < 1:
            raise DemonstrationError(f"holds is {self.holds}; it must list lengths of at least 1")
        if not 0 < self.discount <= 1:
            raise DemonstrationError(f"discount is {self.discount}; it must be within (0, 1]")

    def __str__(self) -> str:
        """All settings, as in ``trials=4, horizon=48``."""
        return ", ".join(f"{name}={value}" for name, value in asdict(self).items())


DEFAULTS = PlannerSettings()


def plan_episode(
    game: str | PlannedGame,
    settings: PlannerSettings = DEFAULTS,
    seed: int = 0,
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_seconds: float = 5.0,
    on_steps: Callable[[int], None] = lambda steps: None,
) -> Demonstration:
    """Play one episode from the game's start; Atari games use the minimal action set.

    The same arguments give the same play, whether or not it was interrupted and resumed.

    Args:
        game: The game, as in `planned_game`.
        settings: How to search.
        seed: Seeds the search and the emulator.
        checkpoint: A file to save progress in and to resume from if it exists; None for neither.
        checkpoint_seconds: Minimum time between two saves.
        on_steps: Called with the number of steps taken since the last call.

    Returns:
        The play; it ends with the game or after ``settings.steps`` steps.

    Raises:
        UnknownGameError: There is no such game.
        DemonstrationError: The checkpoint is damaged, or of another game, seed or settings.
    """
    game = planned_game(game)
    with game.begun(settings, seed) as (sandbox, scratch):
        play = _Play(sandbox, scratch, settings, seed)
        identity = f"{game.key}, seed {seed}, {describe(game, settings)}"
        if checkpoint is not None and Path(checkpoint).exists():
            play.restore(Path(checkpoint), identity)
            on_steps(len(play.actions))
        saved = time.monotonic()
        while not play.is_over():
            on_steps(play.advance())
            due = checkpoint is not None and time.monotonic() - saved >= checkpoint_seconds
            if due and play.is_refreshed():
                play.save(Path(cast(str, checkpoint)), identity)
                saved = time.monotonic()
    rewards = game.paid(settings, seed, play.actions, play.rewards)
    return Demonstration(
        primitives=sandbox.primitives,
        actions=np.array(play.actions[: len(rewards)], np.min_scalar_type(len(sandbox.primitives))),
        rewards=np.array(rewards, dtype=np.float32),
        game=game.name,
        frameskip=settings.frameskip,
        source=describe(game, settings),
        settings=_to_replay(game, settings, seed),
    )


def _to_replay(game: PlannedGame, settings: PlannerSettings, seed: int) -> dict[str, Any]:
    """How to replay an episode, even if it may be longer than the environment allows."""
    stated = game.to_replay(settings, seed)
    if settings.steps * settings.frameskip > USUAL_FRAMES:
        stated["kwargs"]["max_num_frames_per_episode"] = None
    return stated


def planned_game(game: str | PlannedGame) -> PlannedGame:
    """Return the game that a name refers to.

    Args:
        game: An Atari game, such as ``breakout``, ``Breakout`` or ``ALE/Breakout-v5``; or one of
            stable-retro's, such as ``Airstriker-Genesis-v0`` or
            ``MacroRetro/Airstriker-Genesis-v0``.

    Raises:
        UnknownGameError: There is no such game.
        MissingRomError: stable-retro lacks the game's ROM.
    """
    if not isinstance(game, str):
        return game
    # stable-retro's names end in the console's name, and ale-py's have no hyphens.
    return RetroGame(game) if "-" in bare_name(game) else AtariGame(known_rom(game))


def describe(game: PlannedGame, settings: PlannerSettings) -> str:
    """Return the source that a planned demonstration states."""
    options = "".join(f", {name}={value}" for name, value in game.options.items())
    return f"clone-and-restore planner: {settings}{options}"


class _Play:
    """One episode: the play so far, and the search that continues it.

    Args:
        game: The sandbox to play in.
        scratch: The sandbox to try plans in.
        settings: How to search.
        seed: Seeds the search.
    """

    def __init__(
        self, game: Sandbox, scratch: Sandbox, settings: PlannerSettings, seed: int
    ) -> None:
        self.settings = settings
        self.game = game
        self.search = Search(scratch, settings, np.random.default_rng(seed))
        self.actions: list[int] = []
        self.rewards: list[float] = []
        self._begin(self.search.draw(settings.horizon))

    def is_over(self) -> bool:
        """Whether the game is over or the steps are used up."""
        return len(self.actions) >= self.settings.steps or self.game.over()

    def is_refreshed(self) -> bool:
        """Whether the plan has just been rerun from the game's state."""
        return len(self.actions) % (REFRESH * self.settings.commit) == 0

    def advance(self) -> int:
        """Search once and play the first steps of the plan; return how many."""
        before = len(self.actions)
        self.search.improve()
        for action in self.search.best.plan[: self.settings.commit]:
            if not self.is_over():
                self._play(int(action))
        self.search.go_on(self.game.save(), self.game.memory())
        if self.is_refreshed():
            self._begin(self.search.best.plan)
        return len(self.actions) - before

    def save(self, path: Path, identity: str) -> None:
        """Write the progress of the play, atomically."""
        content = {
            "identity": identity,
            "rng": self.search.rng.bit_generator.state,
            "plan": self.search.best.plan.tolist(),
            "actions": self.actions,
        }
        with replacing(path) as file:
            file.write(json.dumps(content).encode())

    def restore(self, path: Path, identity: str) -> None:
        """Resume from the progress that `save` wrote for the same play."""
        content = _checkpoint(path, identity)
        self.search.rng.bit_generator.state = content["rng"]
        for action in content["actions"]:
            self._play(action)
        self._begin(np.array(content["plan"], dtype=np.int64))

    def _begin(self, plan: Plan) -> None:
        """Run ``plan`` from the game's current state."""
        self.search.begin(self.game.save(), plan)

    def _play(self, action: int) -> None:
        """Take one step of the play."""
        self.rewards.append(self.game.act(action))
        self.actions.append(action)
        self.search.see(self.game.memory())


def _checkpoint(path: Path, identity: str) -> dict[str, Any]:
    """The progress in ``path``, checked to be of the play called ``identity``."""
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
        found = content["identity"]
    except (ValueError, KeyError, TypeError) as error:
        raise DemonstrationError(
            f"{path} is no complete checkpoint of the planner ({error!r}); delete it to start over"
        ) from error
    if found != identity:
        raise DemonstrationError(
            f"{path} holds the progress of other play ({found}) than is asked for ({identity}); "
            "delete it, or write elsewhere"
        )
    return content
