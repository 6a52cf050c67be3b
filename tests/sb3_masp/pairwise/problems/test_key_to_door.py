import copy
import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3 import A2C
from stable_baselines3.common.env_checker import check_env as sb3_check_env
from stable_baselines3.common.monitor import Monitor

from macro_gym.errors import ArgumentTypeError, EnvironmentSettingError
from sb3_masp.pairwise.problems import KeyToDoor, key_to_door

UP, DOWN, LEFT, RIGHT = range(4)
TO_THE_DOOR = [UP, UP]


def cell(env, what):
    """Where something of this colour is in the room, as the agent's view shows it."""
    view = env._observation()["view"][:: env.cell_size, :: env.cell_size]
    return [tuple(map(int, at)) for at in np.argwhere((view == key_to_door.PALETTE[what]).all(2))]


def walk(start, goal):
    """Moves from one cell to another, with no wall between."""
    down, right = goal[0] - start[0], goal[1] - start[1]
    return [UP if down < 0 else DOWN] * abs(down) + [LEFT if right < 0 else RIGHT] * abs(right)


def to_the_key(env):
    """Moves from the start to the key, as read off the view."""
    return walk(cell(env, key_to_door.AGENT)[0], cell(env, key_to_door.KEY)[0])


def padded(moves, steps, idle):
    return [*moves, *[idle] * (steps - len(moves))]


def play(env, actions, seed=None):
    """Observations, rewards and infos of one episode, the reset's included."""
    observation, info = env.reset(seed=seed)
    observations, rewards, infos = [observation], [], [info]
    for step, action in enumerate(actions):
        observation, reward, over, truncated, info = env.step(np.int64(action))
        assert (over, truncated) == (step == 119, False)
        observations.append(observation)
        rewards.append(reward)
        infos.append(info)
    return observations, rewards, infos


def with_key(env, seed, apples=(DOWN,) * 90, door=TO_THE_DOOR):
    """Actions of an episode that takes the key and opens the door."""
    env.reset(seed=seed)
    return [*padded(to_the_key(env), 15, DOWN), *apples, *padded(door, 15, UP)]


def without_key(apples=(DOWN,) * 90, door=TO_THE_DOOR):
    return [*[DOWN] * 15, *apples, *padded(door, 15, UP)]


def random_actions(seed, steps=120):
    return list(np.random.default_rng(seed).integers(4, size=steps))


def test_phases_last_15_90_and_15_steps_and_the_agent_starts_the_last_in_the_centre():
    env = KeyToDoor()
    _, _, infos = play(env, random_actions(3), seed=3)
    phases = [info["phase"] for info in infos]
    assert phases == ["key"] * 15 + ["apple"] * 90 + ["door"] * 16
    env.reset(seed=3)
    for action in random_actions(3, steps=105):
        env.step(np.int64(action))
    assert cell(env, key_to_door.AGENT) == [(3, 5)]
    assert cell(env, key_to_door.DOOR) == [(1, 5)]


@pytest.mark.parametrize("seed", range(7))
def test_the_door_pays_once_and_only_those_with_the_key(seed):
    env = KeyToDoor(door_reward=13)
    back_and_again = [UP, UP, DOWN, UP, DOWN, UP]
    _, rewards, infos = play(env, with_key(env, seed, door=back_and_again), seed)
    assert rewards[105:] == [0, 13, *[0] * 13]
    assert [info["door_reward"] for info in infos] == [0] * 107 + [13] * 14
    _, rewards, infos = play(env, without_key(door=back_and_again), seed)
    assert rewards[105:] == [0] * 15
    assert infos[-1]["door_reward"] == 0


def test_the_key_pays_nothing_is_shown_until_taken_and_the_bit_says_so():
    env = KeyToDoor()
    env.reset(seed=5)
    moves = to_the_key(env)
    for move in moves:
        assert len(cell(env, key_to_door.KEY)) == 1
        _, reward, *_ = env.step(move)
        assert reward == 0
    env.step(DOWN)
    assert cell(env, key_to_door.KEY) == []
    observations, rewards, _ = play(env, with_key(env, 5), 5)
    bits = [int(observation["has_key"]) for observation in observations]
    assert bits == [0] * len(moves) + [1] * (121 - len(moves))
    assert rewards[:15] == [0] * 15


def test_apples_disappear_when_collected_and_each_pays_its_own_reward_once():
    env = KeyToDoor(n_apples=11)
    env.reset(seed=7)
    rest = {round(reward, 6) for reward in env._apples.values()}
    assert len(rest) == 11
    for _ in range(15):
        env.step(DOWN)
    paid = []
    sweep = [UP, UP, *[LEFT] * 4]
    for row in range(5):
        sweep += [RIGHT if row % 2 == 0 else LEFT] * 8 + [DOWN]
    for action in sweep:
        there = cell(env, key_to_door.APPLE)
        _, reward, *_ = env.step(action)
        eaten = set(there) - set(cell(env, key_to_door.APPLE))
        assert len(eaten) == (reward != 0)
        paid += [round(reward, 6)] if reward else []
    assert sorted(paid) == sorted(rest)
    assert cell(env, key_to_door.APPLE) == []


def test_apple_rewards_are_normal_with_the_given_mean_and_deviation():
    env = KeyToDoor(apple_mean=5, apple_std=25, n_apples=44)
    drawn = []
    env.reset(seed=11)
    for _ in range(101):
        env.reset()
        drawn += env._apples.values()
    noise = (np.array(drawn) - 5) / 25
    assert abs(noise.mean()) < 4 / np.sqrt(len(noise))
    assert abs(noise.std() - 1) < 4 / np.sqrt(2 * len(noise))
    assert abs((np.abs(noise) < 1).mean() - 0.6827) < 0.03


def test_the_key_changes_no_apple_and_apples_do_not_change_the_door():
    env = KeyToDoor()
    apples = random_actions(13, steps=90)
    others = random_actions(17, steps=90)
    seen, rewards, _ = play(env, with_key(env, 19, apples), 19)
    seen_without, rewards_without, _ = play(env, without_key(apples), 19)
    assert rewards[:105] == rewards_without[:105]
    for one, other in zip(seen[15:105], seen_without[15:105], strict=True):
        np.testing.assert_array_equal(one["view"], other["view"])
    seen_other, rewards_other, _ = play(env, with_key(env, 19, others), 19)
    assert rewards_other[15:105] != rewards[15:105]
    assert rewards_other[105:] == rewards[105:]
    for one, other in zip(seen[105:], seen_other[105:], strict=True):
        np.testing.assert_array_equal(one["view"], other["view"])


def test_handcrafted_weights_are_zero_exactly_where_no_reward_ever_depends_on_the_action():
    """Dependence by phases: flip one action of many episodes and see in which rewards change."""
    env = KeyToDoor()
    changed = np.zeros((120, 120), bool)
    random = np.random.default_rng(23)
    for seed in range(150):
        env.reset(seed=seed)
        actions = random_actions(seed)
        actions[:15] = padded(to_the_key(env), 15, DOWN)
        actions[105:] = padded([*random_actions(seed, 2 * (seed % 2)), *TO_THE_DOOR], 15, UP)
        _, rewards, _ = play(env, actions, seed)
        for step in random.integers(120, size=3):
            flipped = list(actions)
            flipped[step] = (flipped[step] + 1 + random.integers(3)) % 4
            _, other, _ = play(env, flipped, seed)
            changed[step] |= np.array(rewards) != np.array(other)
    weights = key_to_door.handcrafted_weights()
    assert not np.any(changed & (weights == 0))
    for rows, columns in [((0, 15), (105, 120)), ((15, 105), (15, 105)), ((105, 120), (105, 120))]:
        assert changed[slice(*rows), slice(*columns)].any()


def test_handcrafted_weights_have_the_values_of_the_paper():
    weights = key_to_door.handcrafted_weights(discount=0.92)
    for t in range(120):
        for k in range(120):
            if t < 15:
                expected = float(k >= 105)
            else:
                same = (t < 105) == (k < 105)
                expected = 0.92 ** (k - t) if same and k >= t else 0
            assert weights[t, k] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("steps", "sides"), [(0, (1, 5, 3, 7)), (15, (1, 5, 1, 9)), (105, (2, 4, 4, 6))]
)
def test_walls_stop_the_agent(steps, sides):
    env = KeyToDoor()
    env.reset(seed=71)
    for _ in range(steps):
        env.step(DOWN)
    for action, side in zip((UP, DOWN, LEFT, RIGHT), sides, strict=True):
        inside = copy.deepcopy(env)
        for _ in range(9):
            inside.step(action)
        (place,) = cell(inside, key_to_door.AGENT)
        assert place[action // 2] == side


def test_seeds_decide_everything_and_rooms_seed_only_the_places():
    actions = random_actions(29)
    first, again, other = (play(KeyToDoor(), actions, seed) for seed in (31, 31, 37))
    assert first[1] == again[1] != other[1]
    for one, two in zip(first[0], again[0], strict=True):
        np.testing.assert_array_equal(one["view"], two["view"])
    env = KeyToDoor(rooms_seed=41)
    (seen, rewards, _), (seen_next, rewards_next, _) = play(env, actions, 31), play(env, actions)
    for one, two in zip(seen, seen_next, strict=True):
        np.testing.assert_array_equal(one["view"], two["view"])
    assert any(rewards)
    assert rewards != rewards_next


def test_all_places_of_the_key_and_the_start_come_up():
    env = KeyToDoor()
    env.reset(seed=43)
    keys, starts = set(), set()
    for _ in range(200):
        env.reset()
        keys.update(cell(env, key_to_door.KEY))
        starts.update(cell(env, key_to_door.AGENT))
    assert keys == set(key_to_door.KEY_PLACES)
    assert starts == set(key_to_door.START_PLACES)


def test_copies_and_pickles_go_on_as_the_original():
    env = KeyToDoor()
    play_on = random_actions(47)
    env.reset(seed=47)
    for action in play_on[:31]:
        env.step(action)
    copies = [copy.deepcopy(env), pickle.loads(pickle.dumps(env))]
    for action in play_on[31:]:
        expected = env.step(action)
        for other in copies:
            got = other.step(action)
            np.testing.assert_array_equal(got[0]["view"], expected[0]["view"])
            assert got[1:] == expected[1:]
    for other in copies:
        np.testing.assert_array_equal(other.reset()[0]["view"], copies[0]._observation()["view"])


def test_nine_settings_hold_the_two_that_the_paper_names():
    assert len(set(key_to_door.SETTINGS)) == 9
    assert {(5.0, 5.0), (5.0, 25.0)} < set(key_to_door.SETTINGS)
    assert key_to_door.SETTINGS[4] == (5.0, 25.0)


def test_rendering_shows_the_room_larger():
    env = gym.make("Credit/KeyToDoor-v0", render_mode="rgb_array", cell_size=1)
    observation, _ = env.reset(seed=53)
    picture = env.render()
    assert picture.shape == (7 * 24, 11 * 24, 3)
    np.testing.assert_array_equal(picture[::24, ::24], observation["view"])
    np.testing.assert_array_equal(picture[23::24, 23::24], observation["view"])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"apple_std": -1}, "apple_std is -1"),
        ({"n_apples": 45}, "n_apples is 45; their room has place for 44"),
        ({"n_apples": -1}, "n_apples is -1"),
        ({"cell_size": 0}, "cell_size is 0"),
        ({"render_mode": "human"}, "render_mode is 'human'"),
    ],
)
def test_settings_out_of_range_are_refused(settings, said):
    with pytest.raises(EnvironmentSettingError, match=said):
        KeyToDoor(**settings)


def test_numbers_that_are_no_integers_are_refused():
    with pytest.raises(ArgumentTypeError, match=r"n_apples is 2\.5; it must be an integer"):
        KeyToDoor(n_apples=2.5)


def test_gymnasium_and_sb3_accept_it_and_its_spec_rebuilds_it():
    env = gym.make("Credit/KeyToDoor-v0", apple_mean=1, n_apples=3, render_mode="rgb_array")
    check_env(env.unwrapped)
    sb3_check_env(env)
    again = gym.make(env.spec).unwrapped
    assert (again.apple_mean, again.n_apples, again.apple_std) == (1, 3, 25)


def test_sb3_learns_on_it_with_its_own_network_and_monitors_the_door():
    env = Monitor(gym.make("Credit/KeyToDoor-v0"), info_keywords=("door_reward",))
    model = A2C("MultiInputPolicy", env, n_steps=60, seed=59).learn(120)
    assert [episode["l"] for episode in model.ep_info_buffer] == [120]
    assert "door_reward" in model.ep_info_buffer[0]
