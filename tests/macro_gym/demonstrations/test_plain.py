"""Plain files: our own recordings, other arrays, and tables."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from macro_gym.demonstrations import Demonstration
from macro_gym.demonstrations.actions import ALE_ACTIONS
from macro_gym.demonstrations.plain import read_plain
from macro_gym.errors import DemonstrationError

NAMES = ("NOOP", "LEFT", "JUMP")
TABLE = "step,action,reward,terminal\n0,1,0.5,0\n1,0,-2,True\n2,2,0,\n3,2,7,false\n"


def npz(tmp_path, **arrays):
    np.savez(tmp_path / "play.npz", **arrays)
    return tmp_path / "play.npz"


def table(tmp_path, text=TABLE, name="play.csv"):
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return tmp_path / name


def read(path, **kwargs):
    return list(read_plain(path, **kwargs))


def test_our_own_recordings_are_read_as_they_were_saved(tmp_path):
    saved = Demonstration(NAMES, np.array([2, 1, 1]), np.ones(3, np.float32), "Pong", 4, "me")
    saved.save(tmp_path / "a.npz")
    (play,) = read(tmp_path)
    np.testing.assert_array_equal(play.actions, saved.actions)
    np.testing.assert_array_equal(play.rewards, saved.rewards)
    for field in ("primitives", "game", "frameskip", "source"):
        assert getattr(play, field) == getattr(saved, field)


def test_arrays_are_cut_by_terminals_dones_and_episode_starts(tmp_path):
    actions = np.array([2, 1, 0, 1, 2, 2])
    for name, flags in [
        ("terminals", [0, 1, 0, 0, 1, 0]),
        ("dones", [False, True, False, False, True, True]),
        ("episode_starts", [True, False, True, False, False, True]),
    ]:
        plays = read(npz(tmp_path, actions=actions, **{name: np.array(flags)}))
        assert [play.actions.tolist() for play in plays] == [[2, 1], [0, 1, 2], [2]]
        assert {play.rewards for play in plays} == {None}


@pytest.mark.parametrize(
    "names", [("terminals", "timeouts"), ("terminated", "truncated"), ("terminations", "done")]
)
def test_an_episode_ends_where_any_of_several_says_so(names, tmp_path):
    one, other = [0, 1, 0, 0, 0], [0, 0, 0, 1, 0]
    arrays = {name: np.array(ends) for name, ends in zip(names, (one, other), strict=True)}
    plays = read(npz(tmp_path, actions=np.array([2, 1, 0, 1, 2]), **arrays))
    assert [len(play.actions) for play in plays] == [2, 2, 1]
    rows = [f"1,{ended},{cut}" for ended, cut in zip(one, other, strict=True)]
    (tmp_path / "play.npz").unlink()
    plays = read(table(tmp_path, "\n".join([f"action,{','.join(names)}", *rows])))
    assert [len(play.actions) for play in plays] == [2, 2, 1]


def test_names_are_those_given_or_the_games_or_the_numbers(tmp_path):
    arrays = {"actions": np.array([[2], [1]]), "rewards": np.array([1.5, 0])}
    (named,) = read(npz(tmp_path, primitives=np.array(NAMES), **arrays), game="Pong")
    assert (named.primitives, named.game) == (NAMES, "Pong")
    (of_game,) = read(npz(tmp_path, **arrays), game="breakout")
    assert (of_game.primitives, of_game.game) == (("NOOP", "FIRE", "RIGHT", "LEFT"), "Breakout")
    (numbered,) = read(npz(tmp_path, **arrays))
    assert (numbered.primitives, numbered.game) == (("0", "1", "2"), "")
    assert numbered.actions.tolist() == [2, 1]
    assert numbered.rewards.tolist() == [1.5, 0]
    assert numbered.frameskip == 0


@pytest.mark.parametrize(
    ("arrays", "problem"),
    [
        ({"action": [1]}, "not a whole demonstration"),
        ({"actions": []}, "actions is an array of float64"),
        ({"actions": np.zeros(0, int)}, "holds no actions"),
        ({"actions": [0.5]}, r"actions is an array of float64 of shape \(1,\)"),
        ({"actions": [[1, 2], [0, 1]]}, r"actions is an array of int64 of shape \(2, 2\)"),
        ({"actions": 3}, r"shape \(\)"),
        ({"actions": np.array([None])}, "not a whole demonstration: .*pickle"),
        ({"actions": [-1]}, r"range over -1\.\.-1"),
        ({"actions": [10**12]}, r"range over 1000000000000\.\.1000000000000, no indices"),
        ({"actions": [2], "primitives": ["A", "B"]}, r"range over 2\.\.2, but there are 2: A, B"),
        ({"actions": [1, 2], "rewards": [1.0]}, "1 rewards for 2 actions"),
        ({"actions": [1], "rewards": [np.inf]}, "rewards is an array .* must be finite"),
        ({"actions": [1], "terminals": ["yes"]}, "terminals is an array of <U3"),
    ],
)
def test_arrays_that_cannot_be_play_are_refused_by_file(tmp_path, arrays, problem):
    with pytest.raises(DemonstrationError, match=rf"play\.npz.*{problem}"):
        read(npz(tmp_path, **{name: np.array(value) for name, value in arrays.items()}))


def test_tables_are_cut_by_their_terminals_and_episodes(tmp_path):
    one, two = read(table(tmp_path))
    assert (one.actions.tolist(), one.rewards.tolist()) == ([1, 0], [0.5, -2])
    assert (two.actions.tolist(), two.rewards.tolist()) == ([2, 2], [0, 7])
    assert one.primitives == ("0", "1", "2")
    plays = read(table(tmp_path, "episode,Action\r\n a,1\r\na,2\r\n\r\nb,1\r\n"))
    assert [play.actions.tolist() for play in plays] == [[1, 2], [1]]


def test_a_table_may_have_a_single_row(tmp_path):
    text = "episode,action,reward,terminal\n3,1,0.5,1\n"
    (play,) = read(table(tmp_path, text))
    assert (play.actions.tolist(), play.rewards.tolist()) == ([1], [0.5])


def test_tables_may_name_their_actions(tmp_path):
    (play,) = read(table(tmp_path, "action\nLEFT\nNOOP\nUPFIRE\n"), game="breakout")
    assert play.primitives == ALE_ACTIONS
    assert [play.primitives[action] for action in play.actions] == ["LEFT", "NOOP", "UPFIRE"]
    (play,) = read(table(tmp_path, "action\njump\nduck\njump\n"))
    assert play.primitives == ("duck", "jump")
    assert play.actions.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (TABLE.replace("2,2,0,", "2,LEFT,0,"), "line 2: action is '1'; actions must be all names"),
        (TABLE.replace("2,2,0,", "2,,0,"), "line 2: action is '1'"),
        ("action\nLEFT\nnull\n", "line 3: action is 'null'"),
        ("action\n1.0\n3.0\n", r"line 2: action is '1\.0'.* without a point"),
        ("action,truncated\n1,maybe\n", "line 2: truncated is 'maybe'"),
        ("action\nLEFT\n -\n\n  \nUP", "line 5: action is ''"),
        (TABLE.replace("-2", "much"), "line 3: reward is 'much'"),
        (TABLE.replace("-2", "inf"), "line 3: reward is 'inf'"),
        (TABLE.replace("True", "perhaps"), "line 3: terminal is 'perhaps'"),
        (TABLE.replace("3,2,7,false", "3,2"), "line 5: 2 fields where 4 are due"),
        (TABLE.replace("action", "move"), "line 1: no column is named action"),
        ("action\n", "holds no rows"),
        ("", "line 1: no column is named action"),
        (TABLE.encode("utf-16"), "is not a table in UTF-8"),
    ],
)
def test_a_bad_table_is_refused_by_file_and_line(tmp_path, text, problem):
    with pytest.raises(DemonstrationError, match=rf"play\.csv.*{problem}"):
        read(table(tmp_path, text))


def test_a_folder_is_read_in_the_order_of_names_and_bad_files_can_be_passed_over(tmp_path):
    for name, action in [("10.csv", 7), ("9.csv", 5), ("11.csv", None)]:
        table(tmp_path, f"action\n{action}", name)
    bad = []
    plays = read(tmp_path, on_bad=bad.append)
    assert [play.actions.tolist() for play in plays] == [[5], [7]]
    assert "11.csv, line 2: action is 'None'" in str(*bad)


def test_missing_files_and_empty_folders_say_so(tmp_path):
    for name in ("nothing.csv", "nothing.npz"):
        with pytest.raises(FileNotFoundError, match="nothing"):
            read(tmp_path / name)
    with pytest.raises(DemonstrationError, match=r"holds no play \(\.npz\)"):
        read(tmp_path)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_damaged_table_is_refused_with_the_documented_error_or_read(tmp_path, data):
    lines = data.draw(st.permutations(TABLE.splitlines(keepends=True)))
    text = data.draw(st.sampled_from([TABLE, "".join(lines)]))
    text = text.replace(
        *data.draw(st.sampled_from([("0", "null"), ("2", ""), (",", '"'), ("1", "٣")]))
    )
    content = text.encode(data.draw(st.sampled_from(["utf-8", "utf-16", "utf-8-sig"])))
    at = data.draw(st.integers(0, len(content)))
    content = content[:at] + data.draw(st.binary(max_size=5)) + content[at:]
    bad = []
    plays = read(table(tmp_path, content), on_bad=bad.append)
    assert bool(plays) != bool(bad)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), own=st.booleans())
def test_damaged_arrays_are_refused_with_the_documented_error_or_read(tmp_path, data, own):
    if own:
        Demonstration(NAMES, np.array([2, 1, 1]), np.ones(3, np.float32)).save(
            tmp_path / "play.npz"
        )
    else:
        npz(tmp_path, actions=np.array([2, 1, 1]), dones=np.zeros(3), rewards=np.ones(3))
    content = bytearray((tmp_path / "play.npz").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "play.npz").write_bytes(content[: data.draw(st.integers(0, len(content)))])
    bad = []
    plays = read(tmp_path / "play.npz", on_bad=bad.append)
    assert bool(plays) != bool(bad)
