"""Deterministic problems as tables, in which values are known exactly: pure functions on arrays."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from macro_gym import MacroSet

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Table:
    """What each action does in each state; all of shape ``(states, actions)``.

    Args:
        next_states: Where it leads.
        rewards: What it pays, discounted within it.
        discounts: Weight of what follows: γ^τ, and 0 where the episode ends.
    """

    next_states: NDArray[np.int64]
    rewards: Values
    discounts: Values


def with_macros(primitives: Table, macro_set: MacroSet) -> Table:
    """The same problem with the set's actions: primitives first, then macros.

    Args:
        primitives: What the primitives do.
        macro_set: Over as many primitives.
    """
    columns = [_run(primitives, macro_set.expand(a)) for a in range(macro_set.n_actions)]
    return Table(*(np.stack(part, axis=1) for part in zip(*columns, strict=True)))


def _run(primitives: Table, sequence: tuple[int, ...]) -> tuple[NDArray[np.int64], Values, Values]:
    """Where a sequence leads from each state, what it pays, and the weight of what follows."""
    states = np.arange(len(primitives.rewards))
    rewards, discounts = np.zeros(len(states)), np.ones(len(states))
    for primitive in sequence:
        rewards += discounts * primitives.rewards[states, primitive]
        # Zero from the episode's end on, so that what comes after it counts for nothing.
        discounts *= primitives.discounts[states, primitive]
        states = primitives.next_states[states, primitive]
    return states, rewards, discounts


def optimal_q_values(table: Table, tolerance: float = 1e-12) -> Values:
    """Q* by value iteration: ``Q(s, a) ← R(s, a) + γ^τ max_a' Q(s', a')`` until it stands still.

    Args:
        table: The problem; where discounts are 1 for ever, it has no values.
        tolerance: Largest change of any entry in the last round.

    Returns:
        Q*, shape ``(states, actions)``.
    """
    q_values = np.zeros_like(table.rewards)
    while True:
        best = q_values.max(axis=1)[table.next_states]
        updated = table.rewards + table.discounts * best
        if np.abs(updated - q_values).max() <= tolerance:
            return updated
        q_values = updated


def epsilon_greedy_values(table: Table, q_values: Values, epsilon: float) -> Values:
    """V of the policy that is greedy in ``q_values`` but for a share ε of random decisions.

    Exact, by solving ``V = R_π + M_π V``; an episode ends only where the problem says so. Of
    actions of the same value the first is taken.

    Args:
        table: The problem.
        q_values: Any values, shape ``(states, actions)``.
        epsilon: ε, above 0 or the policy may go in circles, whose value is then 0.

    Returns:
        V, shape ``(states,)``.
    """
    n_states, n_actions = table.rewards.shape
    policy = np.full((n_states, n_actions), epsilon / n_actions)
    policy[np.arange(n_states), q_values.argmax(axis=1)] += 1 - epsilon
    moves = np.zeros((n_states, n_states))
    origins = np.arange(n_states)[:, None].repeat(n_actions, axis=1)
    np.add.at(moves, (origins, table.next_states), policy * table.discounts)
    return np.linalg.solve(np.eye(n_states) - moves, (policy * table.rewards).sum(axis=1))
