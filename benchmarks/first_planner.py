"""The planner's first version, a baseline for the current one: it always draws new random plans."""

from typing import TYPE_CHECKING

import numpy as np

from macro_gym.demonstrations.atari_sandbox import act, emulator, rewind
from macro_gym.demonstrations.planner import DEFAULTS
from macro_gym.demonstrations.search import Plan, held_actions

if TYPE_CHECKING:
    from ale_py import ALEInterface

PLANS, HORIZON, COMMIT = 16, 40, 4


def first_planner_score(game: str, steps: int, seed: int) -> float:
    """Score of one episode: of 16 plans, each run to its end, play the first 4 steps of the best.

    Args:
        game: The game, by ale-py's id.
        steps: Steps after which the episode is truncated.
        seed: Seeds the search and the emulator.
    """
    ale, scratch = emulator(game, seed), emulator(game, seed)
    codes, rng = ale.getMinimalActionSet(), np.random.default_rng(seed)
    rest, score, played = held_actions(rng, HORIZON, len(codes), DEFAULTS.holds), 0, 0
    while played < steps and not ale.game_over():
        here = ale.cloneState()
        drawn = [held_actions(rng, HORIZON, len(codes), DEFAULTS.holds) for _ in range(PLANS - 1)]
        plans, values = [rest, *drawn], []
        for plan in plans:
            rewind(scratch, here)
            values.append(_value(scratch, plan))
        best = plans[int(np.argmax(values))]
        for action in best[: min(COMMIT, steps - played)]:
            score += act(ale, codes[action], DEFAULTS.frameskip)
            played += 1
        rest = np.concatenate(
            [best[COMMIT:], held_actions(rng, COMMIT, len(codes), DEFAULTS.holds)]
        )
    return float(score)


def _value(ale: "ALEInterface", plan: Plan) -> float:
    """Discounted points of a plan, up to the loss of a life, which incurs a penalty."""
    codes, lives, value, weight = ale.getMinimalActionSet(), ale.lives(), 0.0, 1.0
    for action in plan:
        value += weight * act(ale, codes[action], DEFAULTS.frameskip)
        if ale.lives() < lives or ale.game_over():
            return value - weight * DEFAULTS.life_penalty
        weight *= DEFAULTS.discount
    return value
