"""Vector environments that are saved in the middle of episodes."""

import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from macro_gym import MacroAction, MacroSet
from macro_gym.errors import RestoreError, VectorEnvError
from macro_gym.vector import MacroVectorEnv

MACROS = MacroSet(("LEFT", "RIGHT"), ((0, 0), (1, 1), (0, 1, 0)))


def pole():
    return gym.wrappers.TimeLimit(MacroAction(gym.make("CartPole-v1"), MACROS), 7)


def played(env, steps, seed, mode):
    """What some actions lead to; episodes that ended are reset by hand where nobody else does."""
    rng = np.random.default_rng(seed)
    seen = []
    for _ in range(steps):
        seen.append(env.step(rng.integers(5, size=env.num_envs)))
        infos = seen[-1][4]
        if "final_obs" in infos:
            infos["final_obs"] = list(infos["final_obs"])
        ended = seen[-1][2] | seen[-1][3]
        if mode is AutoresetMode.DISABLED and ended.any():
            seen.append(env.reset(options={"reset_mask": ended}))
    return seen


@pytest.mark.parametrize("copy", [True, False])
@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_a_vector_environment_comes_back_in_the_middle_of_its_episodes(mode, copy):
    env = MacroVectorEnv([pole] * 3, num_workers=2, autoreset_mode=mode, copy=copy)
    env.reset(seed=5)
    *_, last = played(env, 6, 1, mode)
    # In the next-step mode some environment is to be reset by the next step, and must remember it.
    while mode is AutoresetMode.NEXT_STEP and not (last[2] | last[3]).any():
        (last,) = played(env, 1, 2, mode)
    again = pickle.loads(pickle.dumps(env))
    assert (again.copy, again.autoreset_mode, len(again.processes)) == (copy, mode, 2)
    assert again.single_action_space == env.single_action_space
    np.testing.assert_equal(again._observations, env._observations)
    np.testing.assert_equal(played(again, 30, 3, mode), played(env, 30, 3, mode))
    for vector in (env, again):
        vector.close()


def test_environments_that_would_come_back_new_are_not_saved():

    class New(gym.Wrapper, gym.utils.EzPickle):
        def __init__(self):
            gym.utils.EzPickle.__init__(self)
            super().__init__(pole())

    env = MacroVectorEnv([New] * 2, num_workers=1)
    with pytest.raises(RestoreError, match="New is pickled as the arguments of its constructor"):
        pickle.dumps(env)
    env.close()


def test_nothing_is_saved_in_the_middle_of_a_step():
    env = MacroVectorEnv([pole] * 2, num_workers=1)
    env.reset(seed=1)
    env.step_async([0, 1])
    with pytest.raises(VectorEnvError, match="called while a step is under way"):
        pickle.dumps(env)
    env.step_wait()
    env.close()
