"""Deterministic problems as tables, with exact values: pure functions on arrays."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from macro_gym import MacroSet

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Table:
    """Transitions and rewards of each action in each state; all of shape ``(states, actions)``.

    Args:
        next_states: Next states.
        rewards: Rewards, discounted within the action.
        discounts: Weight of what follows: γ^τ, or 0 if the episode ends.
    """

    next_states: NDArray[np.int64]
    rewards: Values
    discounts: Values


def with_macros(primitives: Table, macro_set: MacroSet) -> Table:
    """The same problem with the set's actions: primitives first, then macros.

    Args:
        primitives: Table of the primitives.
        macro_set: Set of macros over the same number of primitives.
    """
    columns = [_run(primitives, macro_set.expand(a)) for a in range(macro_set.n_actions)]
    return Table(*(np.stack(part, axis=1) for part in zip(*columns, strict=True)))


def _run(primitives: Table, sequence: tuple[int, ...]) -> tuple[NDArray[np.int64], Values, Values]:
    """Next states, discounted rewards and discounts of a sequence, from each state."""
    states = np.arange(len(primitives.rewards))
    rewards, discounts = np.zeros(len(states)), np.ones(len(states))
    for primitive in sequence:
        rewards += discounts * primitives.rewards[states, primitive]
        # Zero from the end of the episode on, so that nothing after it counts.
        discounts *= primitives.discounts[states, primitive]
        states = primitives.next_states[states, primitive]
    return states, rewards, discounts


def optimal_q_values(table: Table, tolerance: float = 1e-12) -> Values:
    """Q* by value iteration: ``Q(s, a) ← R(s, a) + γ^τ max_a' Q(s', a')`` until convergence.

    Args:
        table: The problem; its values need not exist if discounts stay 1 forever.
        tolerance: Largest change of any entry in the last iteration.

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
    """V of the policy that is greedy in ``q_values`` except for a share ε of random decisions.

    Exact, by solving ``V = R_π + M_π V``; an episode ends only where the problem says so. Ties
    are broken in favour of the first action.

    Args:
        table: The problem.
        q_values: Any values, shape ``(states, actions)``.
        epsilon: ε; at 0 the policy may go in circles, and its value is then 0.

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
