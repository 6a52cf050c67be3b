"""The planner's search: one plan, kept from point to point and improved where it may be.

The emulator's state is kept every few steps of the plan, so that a change runs only what comes
after it, and a plan that goes on as foreseen is not run again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from macro_gym.demonstrations.planner import PlannerSettings

Plan = NDArray[np.int64]
"""Indices of primitives, shape ``(horizon,)``."""

Memory = NDArray[np.uint8]
"""The console's memory, or the part of it that is watched, shape ``(cells,)``."""

State = Any
"""The emulator at some moment, as its sandbox keeps it."""


class Sandbox(Protocol):
    """A game in an emulator that can be rewound."""

    @property
    def primitives(self) -> tuple[str, ...]:
        """Names of the actions."""

    def act(self, action: int) -> float:
        """Take one step; return the points."""

    def save(self) -> State:
        """Return the present state."""

    def restore(self, state: State) -> None:
        """Go to ``state`` so that what follows depends on nothing else."""

    def same(self, one: State, other: State) -> bool:
        """Whether what follows either state is the same."""

    def memory(self) -> Memory:
        """Return the memory, in which novelty is looked for; always as many cells."""

    def lives(self) -> int:
        """Return the lives left; always the same if the game does not tell."""

    def over(self) -> bool:
        """Whether the game is over."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """A plan, and what it leads to up to the first lost life.

    Args:
        plan: The actions.
        rewards: Points of each step that was run.
        lost: Whether the last of them lost a life.
        states: The emulator before every ``commit``-th step, the first included.
        memories: The memory in each of ``states`` but the first.
    """

    plan: Plan
    rewards: tuple[float, ...]
    lost: bool
    states: tuple[State, ...]
    memories: tuple[Memory, ...]


def rollout_value(rollout: Rollout, seen: NDArray[np.bool_], settings: "PlannerSettings") -> float:
    """Discounted points, less the penalty of a lost life, plus what novelty is worth.

    Args:
        rollout: What happens.
        seen: Which values the play has shown in which memory cell, shape
            ``(cells, 256)``.
        settings: What it is worth.

    Returns:
        ``Σ_t discount^t rewards_t − lost · discount^(T−1) life_penalty + novelty · news``, where
        news is the mean number of cells whose value is new, over the memories.
    """
    weights = settings.discount ** np.arange(len(rollout.rewards))
    value = float(weights @ np.array(rollout.rewards, dtype=float))
    if rollout.lost:
        value -= settings.life_penalty * float(weights[-1])
    if rollout.memories:
        news = ~seen[np.arange(len(seen)), np.array(rollout.memories)]
        value += settings.novelty * float(news.sum(axis=1).mean())
    return value


def held_actions(
    rng: np.random.Generator, steps: int, n_actions: int, holds: Sequence[int]
) -> Plan:
    """Draw random actions, each held for a random length; shape ``(steps,)``."""
    actions = rng.integers(n_actions, size=steps)
    lengths = np.asarray(holds)[rng.integers(len(holds), size=steps)]
    return np.repeat(actions, lengths)[:steps]


def changed_plan(
    rng: np.random.Generator,
    plan: Plan,
    last: int,
    n_actions: int,
    settings: "PlannerSettings",
) -> tuple[Plan, int]:
    """Change a plan from one of its kept states on, more often an early one.

    Either all that follows is drawn anew, or one held action is put in, and the rest stays.

    Args:
        rng: What draws.
        plan: The plan.
        last: The last of the kept states from which it may change.
        n_actions: Number of primitives.
        settings: The search's; ``splice`` is the probability of putting one action in.

    Returns:
        The new plan, and the state at which it departs from the old one.
    """
    part = int(rng.random() ** 2 * (last + 1))
    start, new = part * settings.commit, plan.copy()
    if rng.random() < settings.splice:
        length = settings.holds[rng.integers(len(settings.holds))]
        new[start : start + length] = rng.integers(n_actions)
    else:
        new[start:] = held_actions(rng, len(plan) - start, n_actions, settings.holds)
    return new, part


class Search:
    """The best plan so far and the emulator in which others are tried.

    Args:
        scratch: The game, where the search may rewind it.
        settings: How to search.
        rng: What draws.
    """

    best: Rollout

    def __init__(
        self, scratch: Sandbox, settings: "PlannerSettings", rng: np.random.Generator
    ) -> None:
        """Begin with nothing seen and no plan; call `begin` next."""
        self.settings, self.rng = settings, rng
        self._scratch = scratch
        self._n_actions = len(scratch.primitives)
        self._seen = np.zeros((len(scratch.memory()), 256), dtype=bool)

    def draw(self, steps: int) -> Plan:
        """Random held actions, shape ``(steps,)``."""
        return held_actions(self.rng, steps, self._n_actions, self.settings.holds)

    def see(self, memory: Memory) -> None:
        """Note what the play has shown."""
        self._seen[np.arange(len(memory)), memory] = True

    def begin(self, here: State, plan: Plan) -> None:
        """Take ``plan`` as the best, from ``here`` on."""
        self.best = self._run(Rollout(plan, (), False, (here,), ()), 0)

    def improve(self) -> None:
        """Try changes of the best plan, keep each that is worth more; try on while it is bad."""
        value = self._value(self.best)
        for trial_number in range(max(self.settings.trials, self.settings.rescue_trials)):
            if trial_number >= self.settings.trials and value >= 0:
                break
            last = min(len(self.best.states), len(self.best.plan) // self.settings.commit) - 1
            plan, part = changed_plan(
                self.rng, self.best.plan, last, self._n_actions, self.settings
            )
            trial = self._run(replace(self.best, plan=plan), part, self.best)
            worth = self._value(trial)
            if worth > value:
                self.best, value = trial, worth

    def go_on(self, here: State, memory: Memory) -> None:
        """Drop the steps that were played and add as many at the end.

        Args:
            here: The game after them.
            memory: Its memory; if it is not as foreseen, the plan is run again.
        """
        best, commit = self.best, self.settings.commit
        plan = np.concatenate([best.plan[commit:], self.draw(commit)])
        if not best.memories or not np.array_equal(best.memories[0], memory):
            self.begin(here, plan)
            return
        rest = Rollout(
            plan,
            best.rewards[commit:],
            best.lost,
            (here, *best.states[2:]),
            best.memories[1:],
        )
        self.best = rest if rest.lost else self._run(rest, len(rest.states) - 1)

    def _value(self, rollout: Rollout) -> float:
        """What a rollout is worth to the play as it stands."""
        return rollout_value(rollout, self._seen, self.settings)

    def _run(self, prefix: Rollout, part: int, known: Rollout | None = None) -> Rollout:
        """Run ``prefix.plan`` from its state number ``part`` on; what is before stays.

        Where it comes to a state of ``known`` with the same left to do, the rest is taken from it.
        """
        settings, scratch = self.settings, self._scratch
        start = part * settings.commit
        rewards, lost = list(prefix.rewards[:start]), False
        states, memories = list(prefix.states[: part + 1]), list(prefix.memories[:part])
        scratch.restore(states[part])
        lives = scratch.lives()
        for step in range(start, len(prefix.plan)):
            rewards.append(scratch.act(int(prefix.plan[step])))
            lost = scratch.lives() < lives or scratch.over()
            if lost:
                break
            if (step + 1) % settings.commit == 0:
                states.append(scratch.save())
                memories.append(scratch.memory())
                if known is not None and self._meets(prefix.plan, step + 1, states, known):
                    rewards += known.rewards[step + 1 :]
                    states += known.states[len(states) :]
                    memories += known.memories[len(memories) :]
                    lost = known.lost
                    break
        return Rollout(prefix.plan, tuple(rewards), lost, tuple(states), tuple(memories))

    def _meets(self, plan: Plan, step: int, states: Sequence[State], known: Rollout) -> bool:
        """Whether a plan has come to a state that ``known`` was in, and goes on as it does.

        Args:
            plan: The plan.
            step: Steps of it that were run, a multiple of ``commit``.
            states: The emulator before every ``commit``-th of them, and after the last.
            known: What is known of another plan from the same state on.
        """
        return (
            len(states) <= len(known.states)
            and np.array_equal(plan[step:], known.plan[step:])
            and self._scratch.same(states[-1], known.states[len(states) - 1])
        )
