import copy
import pickle
import sys

import gymnasium as gym
import numpy as np
import pytest
from bsuite import bsuite as suite
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from macro_gym.errors import EnvironmentSettingError, MissingDependencyError
from sb3_masp.pairwise.problems import BsuiteEnv
from sb3_masp.pairwise.problems.bsuite import DOMAINS

IDS = [f"{domain}/3" for domain in DOMAINS]


def steps(env, n, seed):
    """What ``n`` random steps give: observations, rewards, ends and infos, resets included."""
    env.action_space.seed(seed)
    observation, _ = env.reset(seed=seed)
    rows = [(observation, 0.0, False, {})]
    for _ in range(n):
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        assert not truncated
        rows.append((observation, reward, terminated, info))
        if terminated:
            rows.append((env.reset()[0], 0.0, False, {}))
    return rows


@pytest.mark.parametrize("bsuite_id", IDS)
def test_steps_are_those_of_bsuites_own_environment(bsuite_id):
    """bsuite's loader is asked for the seed that the first number of the generator gives."""
    env = BsuiteEnv(bsuite_id)
    rows = steps(env, 257, seed=5)
    seed = int(np.random.Generator(np.random.PCG64(5)).integers(2**31))
    domain, _ = suite.unpack_bsuite_id(bsuite_id)
    settings = dict(suite.sweep.SETTINGS[bsuite_id])
    if domain != "discounting_chain":
        settings["seed"] = seed
    own = suite.load(domain, settings)
    env.action_space.seed(5)
    timestep = own.reset()
    for observation, reward, terminated, _ in rows:
        np.testing.assert_array_equal(observation, timestep.observation)
        assert reward == (timestep.reward or 0)
        assert terminated == timestep.last()
        timestep = own.reset() if timestep.last() else own.step(env.action_space.sample())


@pytest.mark.parametrize(
    ("bsuite_id", "best"), [("catch/0", 1), ("cartpole/0", 1000), ("discounting_chain/2", 1.1)]
)
def test_regret_is_the_best_return_less_what_was_got_in_all_episodes(bsuite_id, best):
    total, expected, seen = 0.0, 0.0, []
    for _, reward, terminated, info in steps(BsuiteEnv(bsuite_id), 500, seed=7):
        total += reward
        if terminated:
            expected, total = expected + best - total, 0.0
            seen.append(info["regret"] - expected)
        else:
            assert info == {}
    assert len(seen) > 2
    np.testing.assert_allclose(seen, 0, atol=1e-9)


@pytest.mark.parametrize("bsuite_id", ["catch_noise/17", "catch_scale/17"])
def test_regret_of_noisy_and_scaled_rewards_is_that_of_the_true_ones(bsuite_id):
    regrets = [info["regret"] for *_, info in steps(BsuiteEnv(bsuite_id), 300, seed=11) if info]
    assert len(regrets) > 20
    assert set(np.diff([0, *regrets])) == {0, 2}


@pytest.mark.parametrize("bsuite_id", ["umbrella_length/3", "umbrella_distract/3"])
def test_regret_of_umbrellas_is_that_of_the_last_reward(bsuite_id):
    ends = [row for row in steps(BsuiteEnv(bsuite_id), 400, seed=13) if row[2]]
    regrets = [info["regret"] for *_, info in ends]
    assert [1 - reward for _, reward, *_ in ends] == list(np.diff([0, *regrets]))


@pytest.mark.parametrize("bsuite_id", [id for id in IDS if not id.startswith("discounting")])
def test_seeds_decide_what_happens(bsuite_id):
    def story(seed):
        rows = steps(env, 100, seed)
        return [(observation.tolist(), reward) for observation, reward, *_ in rows]

    env = BsuiteEnv(bsuite_id)
    first = story(17)
    assert story(19) != first
    assert story(17) == first


def test_a_reset_with_a_seed_forgets_regret_and_one_without_goes_on():
    env = BsuiteEnv("catch/0")
    rows = steps(env, 95, seed=23)
    assert env.regret() > 0
    assert [info["regret"] for *_, info in rows if info][-1] == env.regret()
    env.reset()
    assert env.regret() > 0
    env.reset(seed=23)
    assert env.regret() == 0


@pytest.mark.parametrize("bsuite_id", IDS)
def test_copies_and_pickles_go_on_as_the_original(bsuite_id):
    env = BsuiteEnv(bsuite_id)
    steps(env, 47, seed=29)
    copies = [copy.deepcopy(env), pickle.loads(pickle.dumps(env))]
    env.reset()
    story = [env.step(1)[:2] for _ in range(3)] + [env.reset()]
    for other in copies:
        other.reset()
        again = [other.step(1)[:2] for _ in range(3)] + [other.reset()]
        for (observation, what), (expected, that) in zip(again, story, strict=True):
            np.testing.assert_array_equal(observation, expected)
            assert what == that
        assert other.regret() == env.regret()


def test_a_seed_leaves_the_chain_with_the_bonus_where_bsuites_setting_has_it():
    env = BsuiteEnv("discounting_chain/3")
    returns = []
    for chain in range(5):
        env.reset(seed=chain)
        returns.append(sum(env.step(chain)[1] for _ in range(100)))
    assert returns == [1, 1, 1, 1.1, 1]


def test_unknown_ids_are_refused_with_what_there_is():
    with pytest.raises(EnvironmentSettingError, match=r"'mars/0'.*the domains are .*catch_scale,"):
        BsuiteEnv("mars/0")
    with pytest.raises(
        EnvironmentSettingError, match=r"'catch/20'.*catch has the settings 0 to 19"
    ):
        BsuiteEnv("catch/20")


def test_where_bsuite_is_missing_it_is_said_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "bsuite", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'macro-gym\[bsuite\]'"):
        BsuiteEnv("catch/0")


@pytest.mark.parametrize("bsuite_id", IDS)
@pytest.mark.filterwarnings("ignore:.*A Box observation space (min|max)imum value is -?infinity")
@pytest.mark.filterwarnings("ignore:Your observation  has an unconventional shape")
def test_gymnasium_and_sb3_accept_it_and_its_spec_rebuilds_it(bsuite_id):
    env = gym.make("Credit/Bsuite-v0", bsuite_id=bsuite_id)
    check_env(env.unwrapped, skip_render_check=True)
    sb3_check_env(env)
    assert gym.make(env.spec).unwrapped.bsuite_id == bsuite_id
