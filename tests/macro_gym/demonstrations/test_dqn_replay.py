"""DQN Replay: checkpoints are cut by their terminals, and nothing in them is unpickled."""

import gzip
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from macro_gym.demonstrations.dqn_replay import read_dqn_replay
from macro_gym.errors import DemonstrationError

ACTIONS = np.array([3, 1, 0, 2, 2, 3, 1], dtype=np.uint8)
REWARDS = np.array([0, 1, -1, 0, 0, 1, 0], dtype=np.float32)
TERMINALS = np.array([0, 0, 1, 0, 0, 1, 0], dtype=np.uint8)


def write(folder, number=0, **arrays):
    folder.mkdir(parents=True, exist_ok=True)
    elements = {"action": ACTIONS, "reward": REWARDS, "terminal": TERMINALS} | arrays
    for element, array in elements.items():
        path = folder / f"$store$_{element}_ckpt.{number}.gz"
        if array is not None:
            with gzip.open(path, "wb") as file:
                np.save(file, array, allow_pickle=True)
    return folder / f"$store$_action_ckpt.{number}.gz"


def logs(tmp_path):
    return tmp_path / "Breakout" / "1" / "replay_logs"


def read(path, **kwargs):
    return list(read_dqn_replay(path, **kwargs))


def test_a_checkpoint_is_cut_after_each_terminal_step(tmp_path):
    plays = read(write(logs(tmp_path)))
    assert [play.actions.tolist() for play in plays] == [[3, 1, 0], [2, 2, 3], [1]]
    assert [play.rewards.tolist() for play in plays] == [[0, 1, -1], [0, 0, 1], [0]]
    assert plays[0].primitives == ("NOOP", "FIRE", "RIGHT", "LEFT")
    assert (plays[0].game, plays[0].frameskip) == ("Breakout", 4)
    assert plays[0].source == "DQN Replay: $store$_action_ckpt.0.gz"


def test_checkpoints_come_in_the_order_of_their_numbers(tmp_path):
    for number in (10, 9):
        write(logs(tmp_path), number, action=np.full(7, number - 9, np.uint8))
    assert [play.actions[0] for play in read(tmp_path)] == [0, 0, 0, 1, 1, 1]


def test_rewards_are_unknown_without_their_file_and_terminals_may_be_truths(tmp_path):
    file = write(logs(tmp_path), reward=None, terminal=TERMINALS != 0)
    assert [play.rewards for play in read(file)] == [None, None, None]


def test_the_game_is_that_of_the_path_or_that_named(tmp_path):
    assert read(write(tmp_path / "data"), game="pong")[0].game == "Pong"
    assert read(write(tmp_path / "Pong" / "Breakout" / "1"))[0].game == "Breakout"
    with pytest.raises(DemonstrationError, match="the game is 'not named', which is none"):
        read(write(tmp_path / "data"))


def test_play_of_other_games_is_left_out(tmp_path):
    file = write(logs(tmp_path))
    write(tmp_path / "Pong" / "1" / "replay_logs")
    assert [play.game for play in read(tmp_path, game="ALE/Pong-v5")] == ["Pong"] * 3
    assert read(file, game="pong") == []


@pytest.mark.parametrize(
    ("arrays", "problem"),
    [
        ({"action": np.full(7, 4)}, "action 0 is 4, but Breakout has only 4"),
        ({"action": ACTIONS[:5]}, "has 5 actions, but there are 7 terminals"),
        ({"reward": REWARDS[:5]}, "has 7 actions, but there are 5 rewards"),
        ({"action": ACTIONS.reshape(7, 1)}, r"must hold one array of shape \(steps,\)"),
        ({"action": ACTIONS[:0]}, r"must hold one array of shape \(steps,\)"),
        ({"action": ACTIONS.astype(object)}, "is not a whole compressed array: .*pickle"),
        ({"action": ACTIONS / 2}, "holds float64 out of range"),
        ({"reward": REWARDS * np.nan}, "holds float32 out of range"),
        ({"terminal": None}, r"terminal_ckpt\.0\.gz is not a whole compressed array: .*No such"),
    ],
)
def test_arrays_that_cannot_be_play_are_refused_by_file(tmp_path, arrays, problem):
    with pytest.raises(DemonstrationError, match=problem):
        read(write(logs(tmp_path), **arrays))


def test_a_file_of_another_name_is_refused(tmp_path):
    file = write(logs(tmp_path))
    with pytest.raises(DemonstrationError, match="is not called"):
        read(file.with_name("$store$_reward_ckpt.0.gz"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DemonstrationError, match="holds no"):
        read(tmp_path / "empty")


def test_bad_checkpoints_can_be_passed_over(tmp_path):
    write(logs(tmp_path), 0)
    write(logs(tmp_path), 1).write_bytes(b"bad")
    bad = []
    assert len(read(tmp_path, on_bad=bad.append)) == 3
    assert len(bad) == 1


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damage_is_refused_with_the_documented_error_or_read(tmp_path, data):
    file = write(logs(tmp_path))
    damaged = data.draw(st.sampled_from(sorted(os.listdir(file.parent))))
    content = bytearray((file.parent / damaged).read_bytes())
    if data.draw(st.booleans()):
        content = bytearray(gzip.decompress(content))
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    if data.draw(st.booleans()):
        content = gzip.compress(bytes(content))
    (file.parent / damaged).write_bytes(content)
    bad = []
    plays = read(file, on_bad=bad.append)
    assert bool(plays) != bool(bad)
