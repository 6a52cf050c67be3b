"""MacroVectorEnv: what its environments do one by one (law 4)."""

import os
from functools import partial

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

from macro_gym.errors import ArgumentTypeError, EnvironmentSettingError, VectorEnvError
from macro_gym.vector import MacroVectorEnv
from tests.macro_gym.vectors import (
    BREAKOUT,
    N_ENVS,
    N_WORKERS,
    SEED,
    SHORT,
    assert_same,
    assert_same_play,
    breakout,
    cart_pole,
    cart_poles,
    one_by_one,
)


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize("obs_type", ["ram", "grayscale", "rgb"])
def test_it_equals_its_environments_one_by_one(mode, obs_type):
    settings = {"obs_type": obs_type, "autoreset_mode": mode}
    _, truncated = assert_same_play(breakout(**settings), one_by_one(**settings), decisions=23)
    assert truncated > N_ENVS


def test_it_equals_its_environments_where_lives_end_episodes_and_start_with_noops():
    settings = {
        "terminal_on_life_loss": True,
        "noop_max": 7,
        "max_num_frames_per_episode": 1000,
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }
    terminated, _ = assert_same_play(breakout(**settings), one_by_one(**settings), decisions=60)
    assert terminated > 0


@pytest.mark.parametrize(("n_envs", "n_workers"), [(1, 1), (2, 7), (7, 2), (3, 1)])
def test_the_number_of_processes_changes_nothing(n_envs, n_workers):
    vector = cart_poles(n_envs, n_workers)
    assert len(vector.processes) == min(n_envs, n_workers)
    assert_same_play(vector, SyncVectorEnv([cart_pole] * n_envs), decisions=13)


def test_there_are_as_many_processes_as_usable_cores_but_no_more_than_environments():
    cores = len(os.sched_getaffinity(0))
    for n_envs in (1, cores + 1):
        vector = cart_poles(n_envs, n_workers=None)
        assert len(vector.processes) == min(n_envs, cores)
        vector.close()


def test_disabled_autoreset_leaves_resets_to_a_mask():
    vector = breakout(autoreset_mode=AutoresetMode.DISABLED)
    reference = one_by_one(autoreset_mode=AutoresetMode.DISABLED)
    assert_same(vector.reset(seed=SEED), reference.reset(seed=SEED))
    rng, n_partial = np.random.default_rng(3), 0
    for seed in range(23):
        actions = rng.integers(vector.single_action_space.n, size=N_ENVS)
        mine = vector.step(actions)
        assert_same(mine, reference.step(actions))
        mask = mine[2] | mine[3]
        if mask.any():
            n_partial += not mask.all()
            # Gymnasium takes the mask out of the options that it is given.
            options = ({"reset_mask": mask}, {"reset_mask": mask})
            seeds = [seed, None, seed + 7]
            mine = vector.reset(seed=seeds, options=options[0])
            assert_same(mine, reference.reset(seed=seeds, options=options[1]))
    assert n_partial > 2
    vector.close()


def test_an_ended_episode_is_not_gone_on_with_when_autoreset_is_disabled():
    vector = breakout(autoreset_mode="Disabled", max_num_frames_per_episode=8)
    vector.reset(seed=SEED)
    vector.step([0, 9, 0])
    with pytest.raises(VectorEnvError, match=r"(?s)its episode has ended.*in environment 1"):
        vector.step([0, 0, 0])
    vector.close()


@pytest.mark.parametrize("mask", [np.ones(4, bool), np.zeros(5, bool)])
def test_a_mask_that_selects_nothing_or_is_of_a_wrong_shape_is_refused(envs, mask):
    with pytest.raises(EnvironmentSettingError, match=r"shape must be \(5,\), and at least one"):
        envs.reset(options={"reset_mask": mask})
    with pytest.raises(ArgumentTypeError, match="must be a NumPy array of booleans"):
        envs.reset(options={"reset_mask": mask.tolist()})


def test_seeds_are_counted_up_listed_or_left_alone(envs, reference):
    for seed in (SEED, None, [5, None, 2, 2, 3], None):
        assert_same(envs.reset(seed=seed), reference.reset(seed=seed))
        assert_same(envs.np_random_seed, reference.np_random_seed)
    assert_same(envs.reset(seed=np.int64(4)), reference.reset(seed=4))
    with pytest.raises(EnvironmentSettingError, match="there are 2 seeds for 5 environments"):
        envs.reset(seed=[1, 2])


def test_make_vec_makes_it_and_makes_it_again_from_its_spec():
    envs = breakout()
    assert type(envs) is MacroVectorEnv
    again = gym.make_vec(envs.spec)
    assert_same(again.reset(seed=SEED), envs.reset(seed=SEED))
    assert (again.num_envs, len(again.processes)) == (N_ENVS, N_WORKERS)
    again.close()
    envs.close()


def test_the_vectors_of_gymnasium_are_there_by_name():
    for mode, kind in (("sync", SyncVectorEnv), ("async", AsyncVectorEnv)):
        vector = gym.make_vec(BREAKOUT, 2, vectorization_mode=mode, **SHORT)
        assert type(vector) is kind
        vector.close()


def test_spaces_and_metadata_are_those_of_gymnasiums_vectors():
    envs, reference = breakout(1), one_by_one(1)
    for name in (
        "single_observation_space",
        "single_action_space",
        "observation_space",
        "action_space",
        "metadata",
        "render_mode",
    ):
        assert getattr(envs, name) == getattr(reference, name)
    envs.close()


def test_decisions_can_be_limited_as_gym_make_limits_them():
    vector, reference = breakout(1, max_episode_steps=3), one_by_one(1, max_episode_steps=3)
    assert assert_same_play(vector, reference, decisions=7)[1] == 2


def test_attributes_and_methods_are_reached_as_in_gymnasiums_vectors(envs, reference):
    assert envs.call("get_action_meanings") == reference.call("get_action_meanings")
    for name in ("macro_set", "spec", "render_mode"):
        assert_same(envs.get_attr(name), reference.get_attr(name))
    envs.set_attr("handicap", 3)
    assert envs.get_attr("handicap") == (3,) * 5
    envs.set_attr("handicap", [2, 3, 5, 7, 11])
    assert envs.get_attr("handicap") == (2, 3, 5, 7, 11)
    with pytest.raises(EnvironmentSettingError, match="2 values of handicap for 5 environments"):
        envs.set_attr("handicap", [1, 2])
    with pytest.raises(EnvironmentSettingError, match="use its own reset"):
        envs.call("reset")


def test_it_renders_what_its_environments_render():
    settings = {"render_mode": "rgb_array"}
    vector, reference = breakout(2, **settings), one_by_one(2, **settings)
    for env in (vector, reference):
        env.reset(seed=SEED)
        env.step(np.array([9, 4]))
    assert_same(vector.render(), reference.render())
    assert vector.render()[0].shape == (210, 160, 3)
    vector.close()


def test_observations_are_copies_unless_asked_otherwise():
    for copy in (True, False):
        vector = cart_poles(2, copy=copy)
        first, _ = vector.reset(seed=SEED)
        held = first.copy()
        second = vector.step([3, 4])[0]
        assert np.shares_memory(first, second) is not copy
        np.testing.assert_array_equal(first, held if copy else second)
        vector.close()


def test_actions_must_be_as_many_as_environments(envs):
    with pytest.raises(EnvironmentSettingError, match="4 actions for 5 environments"):
        envs.step(np.zeros(4, int))


def test_processes_can_be_started_anew_instead_of_forked():
    vector = breakout(1, context="spawn")
    assert_same_play(vector, one_by_one(1), decisions=5)


def test_any_environments_can_be_stepped_so():
    makers = [lambda: cart_pole(), cart_pole, cart_pole]
    terminated, _ = assert_same_play(
        MacroVectorEnv(makers, num_workers=2), SyncVectorEnv(makers), decisions=31
    )
    assert terminated > 3


def test_observations_may_be_numbers():
    maker = partial(gym.make, "CliffWalking-v1", is_slippery=True, max_episode_steps=11)
    assert_same_play(MacroVectorEnv([maker] * 3), SyncVectorEnv([maker] * 3), decisions=23)


def test_environments_of_different_spaces_are_refused():
    other = partial(cart_pole, ((0, 1),))  # one macro less
    with pytest.raises(EnvironmentSettingError, match=r"(?s)environment 1 has the spaces.*as many"):
        MacroVectorEnv([cart_pole, other])


def test_observations_that_are_no_arrays_are_refused():
    maker = partial(gym.make, "Blackjack-v1")
    with pytest.raises(ArgumentTypeError, match=r"which is no array; use .*AsyncVectorEnv"):
        MacroVectorEnv([maker])


@pytest.mark.parametrize(("n_envs", "n_workers", "name"), [(0, 1, "num_envs"), (1, 0, "num_work")])
def test_numbers_below_one_are_refused(n_envs, n_workers, name):
    with pytest.raises(EnvironmentSettingError, match=f"{name}.* is 0"):
        MacroVectorEnv([cart_pole] * n_envs, num_workers=n_workers)
