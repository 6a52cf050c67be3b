"""The planner's search: one plan, carried along the episode and improved by random changes.

The emulator's state is saved every few steps of the plan, so that a change reruns only what comes
after it, and a plan that unfolds as predicted is not rerun.
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
"""The console's memory, or the watched part of it, shape ``(cells,)``."""

State = Any
"""A saved state of the emulator, as its sandbox stores it."""


class Sandbox(Protocol):
    """A game in an emulator that can be rewound."""

    @property
    def primitives(self) -> tuple[str, ...]:
        """Names of the actions."""

    def act(self, action: int) -> float:
        """Take one step; return the points scored."""

    def save(self) -> State:
        """Return the current state."""

    def restore(self, state: State) -> None:
        """Restore ``state`` so fully that what follows depends on nothing else."""

    def same(self, one: State, other: State) -> bool:
        """Whether what follows is the same from either state."""

    def memory(self) -> Memory:
        """Return the memory to watch for novelty; always the same number of cells."""

    def lives(self) -> int:
        """Return the lives left; constant if the game does not report them."""

    def over(self) -> bool:
        """Whether the game is over."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """A plan and its outcome, up to the first lost life or the end of the game.

    Args:
        plan: The actions.
        rewards: Points of each step that was run.
        lost: Whether the last of them lost a life or ended the game.
        states: The emulator's states at the start and after every ``commit`` steps.
        memories: The memory in each of ``states`` but the first.
    """

    plan: Plan
    rewards: tuple[float, ...]
    lost: bool
    states: tuple[State, ...]
    memories: tuple[Memory, ...]


def rollout_value(rollout: Rollout, seen: NDArray[np.bool_], settings: "PlannerSettings") -> float:
    """Discounted points, less the penalty for a lost life, plus the novelty bonus.

    Args:
        rollout: The rollout.
        seen: Whether the play has shown each value in each memory cell, shape
            ``(cells, 256)``.
        settings: The search's settings.

    Returns:
        ``Σ_t discount^t rewards_t − lost · discount^(T−1) life_penalty + novelty · news``, where
        news is the number of cells whose value is new, averaged over the memories.
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
    """Change a plan from one of its saved states on, more often from an early one.

    Either everything that follows is redrawn, or one held action overwrites part of it.

    Args:
        rng: The random generator.
        plan: The plan.
        last: Index of the last saved state from which it may change.
        n_actions: Number of primitives.
        settings: The search's settings; ``splice`` is the probability of overwriting with one
            held action.

    Returns:
        The new plan, and the index of the state at which it departs from the old one.
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
    """The best plan so far, and the sandbox in which others are tried.

    Args:
        scratch: The game, which the search may rewind.
        settings: How to search.
        rng: The random generator.
    """

    best: Rollout

    def __init__(
        self, scratch: Sandbox, settings: "PlannerSettings", rng: np.random.Generator
    ) -> None:
        """Start with nothing seen and no plan; call `begin` next."""
        self.settings, self.rng = settings, rng
        self._scratch = scratch
        self._n_actions = len(scratch.primitives)
        self._seen = np.zeros((len(scratch.memory()), 256), dtype=bool)

    def draw(self, steps: int) -> Plan:
        """Random held actions, shape ``(steps,)``."""
        return held_actions(self.rng, steps, self._n_actions, self.settings.holds)

    def see(self, memory: Memory) -> None:
        """Record the memory values that the play has shown."""
        self._seen[np.arange(len(memory)), memory] = True

    def begin(self, here: State, plan: Plan) -> None:
        """Make ``plan``, run from ``here``, the best one."""
        self.best = self._run(Rollout(plan, (), False, (here,), ()), 0)

    def improve(self) -> None:
        """Try changes to the plan and keep improvements; try more while its value is negative."""
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
        """Drop the steps that were played and append as many.

        Args:
            here: The game's state after them.
            memory: Its memory; if it is not as predicted, the plan is rerun.
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
        """A rollout's value at the current point of the play."""
        return rollout_value(rollout, self._seen, self.settings)

    def _run(self, prefix: Rollout, part: int, known: Rollout | None = None) -> Rollout:
        """Run ``prefix.plan`` from state number ``part``, keeping what comes before it.

        If it reaches a state of ``known`` with the same steps ahead, the rest is copied from there.
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
        """Whether a plan has reached a state of ``known`` and has the same steps ahead.

        Args:
            plan: The plan.
            step: Steps of it that were run, a multiple of ``commit``.
            states: The emulator before every ``commit``-th of them, and after the last.
            known: The rollout of another plan from the same state.
        """
        return (
            len(states) <= len(known.states)
            and np.array_equal(plan[step:], known.plan[step:])
            and self._scratch.same(states[-1], known.states[len(states) - 1])
        )
