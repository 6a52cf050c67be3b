"""Small deterministic problems whose values are known, as Gymnasium environments with macros."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import gymnasium as gym
import numpy as np

from examples.experiments.table import Table, optimal_q_values
from macro_gym import MacroAction, MacroSet
from macro_gym.demonstrations import Demonstration
from macro_gym.extraction import frequent_ngrams

GAMMA = 0.97
"""Discount per step, in all problems."""

ROOMS = """
#############
#     #     #
#     #     #
#           #
#     #     #
#     #     #
## ####     #
#     ### ###
#     #     #
#     #     #
#           #
#     #     #
#############
"""

MOVES = {"UP": (-1, 0), "DOWN": (1, 0), "LEFT": (0, -1), "RIGHT": (0, 1)}


@dataclass(frozen=True)
class Problem:
    """A problem with one start, whose goal pays 1 and ends the episode.

    Args:
        about: Description for readers.
        primitives: Names of the actions.
        table: Their transitions and rewards.
        start: Number of the state in which episodes begin.
        limit: Steps after which an episode is truncated.
    """

    about: str
    primitives: tuple[str, ...]
    table: Table
    start: int
    limit: int

    @property
    def best(self) -> float:
        """V* of the start, the best possible value with or without macros."""
        return float(optimal_q_values(self.table)[self.start].max())


class TableEnv(gym.Env[np.int64, np.int64]):
    """Environment of a problem; observations are the numbers of its states.

    Args:
        problem: The problem.
    """

    def __init__(self, problem: Problem) -> None:
        """Build the spaces of the problem."""
        self.problem = problem
        n_states, n_actions = problem.table.rewards.shape
        self.observation_space = gym.spaces.Discrete(n_states)
        self.action_space = gym.spaces.Discrete(n_actions)

    def get_action_meanings(self) -> list[str]:
        """Names of the actions."""
        return list(self.problem.primitives)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.int64, dict[str, Any]]:
        """Go to the start."""
        super().reset(seed=seed)
        self._state = np.int64(self.problem.start)
        self._steps = 0
        return self._state, {}

    def step(self, action: np.int64) -> tuple[np.int64, float, bool, bool, dict[str, Any]]:
        """Take a step by the problem's table."""
        table, entry = self.problem.table, (self._state, action)
        self._steps += 1
        self._state = table.next_states[entry]
        ended = table.discounts[entry] == 0
        cut = self._steps >= self.problem.limit
        return self._state, float(table.rewards[entry]), bool(ended), cut, {}


def macro_env(problem: Problem, macro_set: MacroSet) -> gym.Env[np.int64, np.int64]:
    """Make the problem's environment, with macros."""
    return MacroAction(TableEnv(problem), macro_set)


def four_rooms(start: tuple[int, int], where: str) -> Problem:
    """Four rooms with doors between neighbours, and the goal in the corner of the last one.

    Args:
        start: Row and column, where the outer walls are at 0.
        where: The same in words.
    """
    lines = enumerate(ROOMS.strip().split("\n"))
    cells = [(y, x) for y, line in lines for x, mark in enumerate(line) if mark == " "]

    def move(cell: tuple[int, int], primitive: str) -> tuple[int, int]:
        ahead = cell[0] + MOVES[primitive][0], cell[1] + MOVES[primitive][1]
        return ahead if ahead in cells else cell

    about = f"Four rooms of {len(cells)} cells, the goal in a corner, the start {where}."
    return _problem(about, tuple(MOVES), cells, move, start, cells[-1], 100)


def key_and_door(length: int = 13) -> Problem:
    """A corridor with a key at its left end and a door at its right end, starting in the middle.

    Args:
        length: Number of places.
    """
    home, door = (length // 2, False), (length - 1, True)
    goal = (length, True)
    places = [(place, key) for key in (False, True) for place in range(length)]

    def move(state: tuple[int, bool], primitive: str) -> tuple[int, bool]:
        place, key = state
        if primitive == "OPEN":
            return goal if state == door else state
        if primitive == "TAKE":
            return place, key or place == 0
        return min(max(place + (1 if primitive == "RIGHT" else -1), 0), length - 1), key

    about = (
        f"A corridor of {length} places: from the middle to the key at the left end (TAKE), then "
        "to the door at the right end (OPEN)."
    )
    primitives = ("LEFT", "RIGHT", "TAKE", "OPEN")
    return _problem(about, primitives, [*places, goal], move, home, goal, 150)


def chain(length: int = 24) -> Problem:
    """Places in a row, in each of which two of four actions lead forward and the others back.

    Args:
        length: Steps from the first place to the last.
    """
    primitives = ("A", "B", "C", "D")

    def move(place: int, primitive: str) -> int:
        goes_on = (primitives.index(primitive) - place) % 3 < 2 and primitive != "D"
        return place + 1 if goes_on else max(place - 1, 0)

    about = (
        f"{length + 1} places in a row; in each, two of four actions lead one place forward (AB, "
        "BC and CA in turn) and the others one place back."
    )
    return _problem(about, primitives, list(range(length + 1)), move, 0, length, 120)


def _problem(
    about: str,
    primitives: tuple[str, ...],
    states: list[Any],
    move: Callable[[Any, str], Any],
    start: Any,
    goal: Any,
    limit: int,
) -> Problem:
    """Build a problem from its transitions; reaching the goal pays 1 and ends the episode."""
    numbers = {state: number for number, state in enumerate(states)}
    next_states = np.array(
        [
            [numbers[goal if state == goal else move(state, primitive)] for primitive in primitives]
            for state in states
        ]
    )
    ends = next_states == numbers[goal]
    from_elsewhere = np.arange(len(states))[:, None] != numbers[goal]
    table = Table(next_states, 1.0 * (ends & from_elsewhere), GAMMA * ~ends)
    return Problem(about, primitives, table, numbers[start], limit)


PROBLEMS: dict[str, Callable[[], Problem]] = {
    "rooms, near": lambda: four_rooms((4, 8), "near it"),
    "rooms, far": lambda: four_rooms((1, 1), "in the opposite corner"),
    "key and door": key_and_door,
    "chain": chain,
}


def play(
    problem: Problem, rng: np.random.Generator, steps: int, errors: float = 0.1
) -> Iterator[Demonstration]:
    """Play optimally from random states, except for occasional random actions.

    Args:
        problem: Problem to play.
        rng: Draws start states, errors, and one of the equally good actions.
        steps: Minimum number of primitive steps in total.
        errors: Share of the steps in which a random action is taken.
    """
    table, q_values = problem.table, optimal_q_values(problem.table)
    best = np.isclose(q_values, q_values.max(axis=1, keepdims=True))
    while steps > 0:
        state, actions, ended = rng.integers(len(q_values)), [], False
        while not ended and len(actions) < problem.limit:
            choices = best[state] if rng.random() < 1 - errors else np.ones_like(best[state])
            action = rng.choice(np.flatnonzero(choices))
            actions.append(action)
            ended = table.discounts[state, action] == 0
            state = table.next_states[state, action]
        steps -= len(actions)
        yield Demonstration(problem.primitives, np.array(actions, np.uint8))


@cache
def macros(name: str, k: int, share: float, seed: int, steps: int = 10_000) -> MacroSet:
    """Macros of which a share is mined from `play`, most frequent first, and the rest is random.

    The random ones have the lengths of the mined ones, but are different sequences.

    Args:
        name: Name of the problem.
        k: Number of macros.
        share: Share of them that is mined, within 0..1.
        seed: Seed of the play and of the random macros.
        steps: Primitive steps of play to mine.
    """
    problem, rng = PROBLEMS[name](), np.random.default_rng(seed)
    if k == 0:
        return MacroSet(problem.primitives)
    mined = frequent_ngrams(play(problem, rng, steps), k, primitives=problem.primitives)
    useful = round(share * k)
    random = mined.with_noise(k - useful, rng).macros[k:]
    return MacroSet(problem.primitives, mined.macros[:useful] + random)
