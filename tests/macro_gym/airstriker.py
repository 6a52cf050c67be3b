"""The Genesis game that stable-retro ships, with random macros, and how to play it."""

from contextlib import closing

import numpy as np

from macro_gym import MacroSet
from macro_gym.retro_games import integration

GAME = "Airstriker-Genesis-v0"
ID = f"MacroRetro/{GAME}"
NAMES = integration(GAME).combinations()
LENGTHS = (1, 2, 3, 4, 5, 6, 7, 8, 8, 11)


def random_macros(lengths=LENGTHS, seed=0):
    rng = np.random.default_rng(seed)
    macros = {tuple(rng.integers(len(NAMES), size=length).tolist()) for length in lengths}
    return MacroSet(NAMES, tuple(sorted(macros)))


def play(env, decisions, seed=3):
    """What random play returns, resets included; the environment is closed after it."""
    rng = np.random.default_rng(seed)
    with closing(env):
        results = [env.reset(seed=seed)]
        for _ in range(decisions):
            results.append(env.step(rng.integers(env.action_space.n)))
            if results[-1][2] or results[-1][3]:
                results.append(env.reset())
    return results


def assert_same_play(expected, found, *, infos=("duration", "primitive_rewards", "score", "lives")):
    """Compare all but what only one of the two says in its infos."""
    assert len(expected) == len(found)
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one[0], other[0], strict=True)
        assert one[1:-1] == other[1:-1]
        for name in infos if len(one) == 5 else ():
            np.testing.assert_array_equal(one[-1][name], other[-1][name], err_msg=name)
