"""Atari Grand Challenge: every version is read as it is written, or refused by file and line."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from macro_gym.demonstrations.actions import ALE_ACTIONS
from macro_gym.demonstrations.atari_grand_challenge import read_atari_grand_challenge
from macro_gym.errors import DemonstrationError

HEADER = "frame,reward,score,terminal,action"
ROWS = [(0, 0, 0, 0, 0), (1, 0, 0, 0, 3), (2, 5, 5, 0, 11), (3, -10, -5, 0, 17), (4, 0, -5, 1, 1)]


def version_1(rows=ROWS):
    lines = [",".join(map(str, row)) for row in rows]
    return "\n".join(["db traj id : 1234", HEADER, *lines, ""])


def version_2(rows=ROWS):
    words = [(*row[:3], str(bool(row[3])), row[4]) for row in rows]
    lines = [" , ".join(map(str, row)) for row in words]
    return "\r\n".join(["db traj id : 7", "frame, reward, score, terminal, action", *lines])


def fork(rows=ROWS):
    lines = ["\t".join([*map(str, row), "[1, 2, 3]"]) for row in rows]
    head = "db traj id : 1, timestamp: 2016-12-01 10:00:00"
    return "\n".join([head, HEADER.replace(",", "\t") + "\tram_state", *lines, ""])


def headless(rows=ROWS):
    return "\n".join(["db traj id : x", *(", ".join(map(str, row)) for row in rows), ""])


def write(root, text, game="revenge", name="12.txt"):
    file = root / "trajectories" / game / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def read(path, **kwargs):
    return list(read_atari_grand_challenge(path, **kwargs))


@pytest.mark.parametrize("text", [version_1, version_2, fork, headless])
def test_every_version_is_read_as_it_is_written(tmp_path, text):
    (play,) = read(write(tmp_path, text()))
    assert play.actions.tolist() == [0, 3, 11, 17, 1]
    assert play.actions.dtype == np.uint8
    assert play.rewards.tolist() == [0, 0, 5, -10, 0]
    assert play.primitives == ALE_ACTIONS
    assert (play.game, play.frameskip) == ("MontezumaRevenge", 1)
    assert play.source == "Atari Grand Challenge: revenge/12.txt"


def test_any_rows_are_read_as_python_reads_them(tmp_path):
    rng = np.random.default_rng(7)
    steps = 997
    rewards = rng.choice([0, -3, 25, 12345], steps)
    scores, actions = rewards.cumsum(), rng.integers(18, size=steps)
    rows = [
        (i, r, s, 0, a) for i, (r, s, a) in enumerate(zip(rewards, scores, actions, strict=True))
    ]
    for text in (version_1, version_2, fork, headless):
        (play,) = read(write(tmp_path, text(rows)))
        np.testing.assert_array_equal(play.actions, actions)
        np.testing.assert_array_equal(play.rewards, rewards)


def test_the_first_line_may_be_missing_and_a_byte_order_mark_present(tmp_path):
    text = "\N{ZERO WIDTH NO-BREAK SPACE}" + version_1().partition("\n")[2]
    (play,) = read(write(tmp_path, text))
    assert play.actions.tolist() == [0, 3, 11, 17, 1]
    with pytest.raises(DemonstrationError, match=r"line 4: action is '99'"):
        read(write(tmp_path, text.replace("0,11", "0,99")))
    with pytest.raises(DemonstrationError, match="line 4: frame 1 follows frame 1"):
        read(write(tmp_path, text.replace("2,5,5", "1,5,5")))


@pytest.mark.parametrize(
    ("rows", "line"), [("0,0,0\n1,0,0,0,0,0,1", 3), ("0,0,0,0,0,1\n0,0,0,1", 3)]
)
def test_a_field_too_few_is_not_made_up_for_by_one_too_many(tmp_path, rows, line):
    with pytest.raises(DemonstrationError, match=rf"line {line}: \d fields where 5 are due"):
        read(write(tmp_path, f"db traj id : 1\n{HEADER}\n{rows}\n"))


def test_play_is_cut_after_terminals_and_where_frames_are_missing(tmp_path):
    rows = [(0, 0, 0, 0, 1), (1, 0, 0, 1, 2), (0, 0, 0, 0, 3), (5, 0, 0, 0, 4), (6, 0, 0, 0, 5)]
    plays = read(write(tmp_path, version_1(rows)))
    assert [play.actions.tolist() for play in plays] == [[1, 2], [3], [4, 5]]


def test_the_first_reward_is_taken_from_the_score(tmp_path):
    rows = [(0, 999, 10, 0, 0), (1, 5, 15, 0, 0)]
    (play,) = read(write(tmp_path, version_1(rows)))
    assert play.rewards.tolist() == [10, 5]


def test_trajectories_come_in_the_order_of_their_numbers_game_by_game(tmp_path):
    for game, number in [("qbert", 10), ("qbert", 9), ("pinball", 2)]:
        write(tmp_path, version_1([(0, 0, 0, 0, number)]), game, f"{number}.txt")
    (tmp_path / "screens" / "qbert" / "9").mkdir(parents=True)
    (tmp_path / "screens" / "qbert" / "9" / "1.txt").write_text("no trajectory")
    assert [play.actions.tolist() for play in read(tmp_path)] == [[2], [9], [10]]


def test_play_of_other_games_is_left_out(tmp_path):
    file = write(tmp_path, version_1(), "qbert")
    write(tmp_path, version_1(), "revenge")
    assert [play.game for play in read(tmp_path, game="ALE/Qbert-v5")] == ["Qbert"]
    assert read(tmp_path, game="Pong") == read(file, game="revenge") == []
    (unnamed,) = read(write(tmp_path, version_1(), "x"), game="qbert")
    assert unnamed.game == "Qbert"
    (tmp_path / "empty").mkdir()
    with pytest.raises(DemonstrationError, match="empty holds no trajectories; Atari Grand Ch"):
        read(tmp_path / "empty", game="Qbert")


def test_reading_is_lazy(tmp_path):
    for number in (1, 2):
        write(tmp_path, version_1(), name=f"{number}.txt")
    plays = read_atari_grand_challenge(tmp_path)
    next(plays)
    write(tmp_path, "bad", name="2.txt")
    with pytest.raises(DemonstrationError, match=r"2\.txt, line 2: b'' does not name"):
        next(plays)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("2,5,5,0,11", "2,5,5,0,18", r"line 5: action is '18'; it must be 0\.\.17"),
        ("2,5,5,0,11", "2,5,5,0,null", "line 5: action is 'null'"),
        ("2,5,5,0,11", "2,5,5,0,", "line 5: action is ''"),
        ("2,5,5,0,11", "2,5,5,0,1 1", "line 5: action is '1 1'"),
        ("2,5,5,0,11", "2,5,5,0,-1", "line 5: action is '-1'"),
        ("2,5,5,0,11", "2,5,5,maybe,11", "line 5: terminal is 'maybe'; it must be 0/1"),
        ("2,5,5,0,11", "2,five,5,0,11", "line 5: reward is 'five'; it must be a number"),
        ("2,5,5,0,11", "2,nan,5,0,11", "line 5: reward is 'nan'"),
        ("2,5,5,0,11", "2,5,1e99,0,11", "line 5: score is '1e99'"),
        ("2,5,5,0,11", "2,5,5,0", "line 5: 4 fields where 5 are due"),
        ("2,5,5,0,11", "2,5,5,0,11,1", "line 5: 6 fields where 5 are due"),
        ("2,5,5,0,11", "1,5,5,0,11", "line 5: frame 1 follows frame 1"),
        ("2,5,5,0,11", "\n\n2,5,5,0,99", "line 7: action is '99'"),
        ("2,5,5,0,11", "2,5,5,0,1٣", r"line 5: action is '1\\\\xd9\\\\xa3'"),
        (",action", ",move", "line 2: b'frame,reward,score,terminal,move' does not name"),
    ],
)
def test_a_bad_row_is_refused_by_file_and_line(tmp_path, old, new, problem):
    file = write(tmp_path, version_1().replace(old, new))
    with pytest.raises(DemonstrationError, match=r"12\.txt, " + problem):
        read(file)


def test_rewards_may_be_written_with_a_decimal_point(tmp_path):
    (play,) = read(write(tmp_path, version_1().replace("2,5,5", "2,5.5,+5")))
    assert play.rewards.tolist() == [0, 0, 5.5, -10, 0]


@pytest.mark.parametrize("text", [f"db traj id : 1\n{HEADER}\n", f"db traj id : 1\n{HEADER}", ""])
def test_a_file_without_rows_is_refused(tmp_path, text):
    with pytest.raises(DemonstrationError, match=r"12\.txt( holds no rows|, line 2: b'' does not)"):
        read(write(tmp_path, text))


def test_bad_files_can_be_passed_over(tmp_path):
    for number in (1, 2, 3):
        write(tmp_path, "bad" if number == 2 else version_1(), name=f"{number}.txt")
    bad = []
    assert len(read(tmp_path, on_bad=bad.append)) == 2
    assert [str(error).split(",")[0].endswith("2.txt") for error in bad] == [True]


@st.composite
def damaged(draw):
    """A trajectory that was cut, shuffled, spliced or encoded another way."""
    text = draw(st.sampled_from([version_1, version_2, fork, headless]))()
    lines = draw(st.permutations(text.splitlines(keepends=True)))
    text = draw(st.sampled_from([text, "".join(lines)]))
    text = text.replace(*draw(st.sampled_from([("0", "null"), ("5", ""), (",", ";"), ("1", "٣")])))
    content = text.encode(draw(st.sampled_from(["utf-8", "utf-16", "utf-8-sig"])))
    at = draw(st.integers(0, len(content)))
    splice = draw(st.binary(max_size=5))
    return draw(st.sampled_from([content[:at], content[:at] + splice + content[at:]]))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(content=damaged())
def test_damage_is_refused_with_the_documented_error_or_read_as_legal_actions(tmp_path, content):
    file = write(tmp_path, content)
    bad = []
    plays = read(file, on_bad=bad.append)
    assert all("12.txt" in str(error) for error in bad)
    assert bool(plays) != bool(bad)
    assert all(len(play.actions) for play in plays)
