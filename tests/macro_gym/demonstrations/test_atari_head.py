"""Atari-HEAD: trials in folders and in zips are read alike, nulls are never actions."""

import io
import tarfile
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from macro_gym.demonstrations.actions import ALE_ACTIONS
from macro_gym.demonstrations.atari_head import read_atari_head
from macro_gym.errors import DemonstrationError

HEADER = "frame_id,episode_id,score,duration(ms),unclipped_reward,action,gaze_positions"
TRIAL = "52_RZ_2394668_Aug-10-14-52-42.txt"
ROWS = [  # episode, score, reward, action, gaze
    (0, 0, 0, 3, "80.12,100.50,81.00,101.25"),
    ("null", "null", 25, 11, "null"),
    (0, 25, -1, 3, ""),
    (1, 0, 0, 0, "1.5,2"),
    ("null", "null", 4, 17, "80.12,100.50,81.00,101.25,80.12,100.50"),
]


def trial(rows=ROWS):
    lines = [
        f"RZ_2464601_{i},{episode},{score},50,{reward},{action},{gaze}"
        for i, (episode, score, reward, action, gaze) in enumerate(rows)
    ]
    return "\n".join([HEADER, *lines, ""])


def write(folder, text=None, name=TRIAL):
    folder.mkdir(parents=True, exist_ok=True)
    content = trial() if text is None else text
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder / name


def zipped(path, trials, prefix=""):
    """A zip as it is downloaded: the trials, and the pictures of each beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in trials.items():
            pictures = io.BytesIO()
            with tarfile.open(fileobj=pictures, mode="w:bz2"):
                pass
            archive.writestr(prefix + name.replace(".txt", ".tar.bz2"), pictures.getvalue())
            archive.writestr(prefix + name, text)
    return path


def read(path, **kwargs):
    return list(read_atari_head(path, **kwargs))


def test_a_trial_is_read_as_it_is_written_and_cut_where_the_episode_changes(tmp_path):
    one, two = read(write(tmp_path / "ms_pacman"))
    assert (one.actions.tolist(), one.rewards.tolist()) == ([3, 11, 3], [0, 25, -1])
    assert (two.actions.tolist(), two.rewards.tolist()) == ([0, 17], [0, 4])
    assert one.primitives == ALE_ACTIONS
    assert one.actions.dtype == np.uint8
    assert (one.game, one.frameskip) == ("MsPacman", 1)
    assert one.source == f"Atari-HEAD: {TRIAL}"


def test_a_trial_whose_episodes_are_all_null_is_one_stretch(tmp_path):
    rows = [("null", "null", 0, action, "null") for action in (1, 2, 3)]
    (play,) = read(write(tmp_path / "hero", trial(rows)))
    assert play.actions.tolist() == [1, 2, 3]


def test_a_null_action_is_left_out_and_cuts_the_play(tmp_path):
    rows = [(0, 0, 1, action, "") for action in ("null", 5, 6, "null", "null", 7, "null")]
    plays = read(write(tmp_path / "hero", trial(rows)))
    assert [play.actions.tolist() for play in plays] == [[5, 6], [7]]
    assert [play.rewards.tolist() for play in plays] == [[1, 1], [1]]


def test_rewards_are_unknown_in_the_stretch_with_a_null_one_only(tmp_path):
    rows = [(0, 0, 1, 2, ""), (1, 0, "null", 2, ""), (1, 0, 1, 2, ""), (2, 0, 3, 2, "")]
    plays = read(write(tmp_path / "hero", trial(rows)))
    assert [play.rewards is None for play in plays] == [False, True, False]


@pytest.mark.parametrize("prefix", ["", "freeway/"])
def test_zips_and_folders_hold_the_same_play(tmp_path, prefix):
    names = [f"{number}_KM_99{number}_Jul-1{number}-09-00-00.txt" for number in (2, 3, 9)]
    rows = {name: trial([(0, 0, 0, i + 5, "")]) for i, name in enumerate(names)}
    zipped(tmp_path / "zips" / "freeway.zip", rows, prefix)
    for name, text in rows.items():
        write(tmp_path / "folders" / "freeway", text, name)
    (tmp_path / "zips" / "meta_data.csv").write_text("GameName,trial_id\n")
    (tmp_path / "folders" / "freeway" / "notes.txt").write_text("not a trial")
    for path in (tmp_path / "zips", tmp_path / "folders", tmp_path / "zips" / "freeway.zip"):
        plays = read(path)
        assert [play.actions.tolist() for play in plays] == [[5], [6], [7]]
        assert {play.game for play in plays} == {"Freeway"}


def test_one_game_of_many_can_be_chosen(tmp_path):
    archive = zipped(tmp_path / "breakout.zip", {TRIAL: trial()})
    file = write(tmp_path / "ms_pacman")
    assert {play.game for play in read(tmp_path)} == {"Breakout", "MsPacman"}
    assert {play.game for play in read(tmp_path, game="MsPacman")} == {"MsPacman"}
    assert {play.game for play in read(file, game="ALE/MsPacman-v5")} == {"MsPacman"}
    assert read(archive, game="MsPacman") == read(file, game="breakout") == []
    assert read(tmp_path, game="Pong") == []


def test_the_game_named_is_that_of_play_whose_path_names_none(tmp_path):
    assert {play.game for play in read(write(tmp_path / "trials"), game="hero")} == {"Hero"}


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (",25,11,", ",25,18,", r"line 3: action is '18'; it must be 0\.\.17 or null"),
        (",25,11,", ",25,1.5,", "line 3: action is '1.5'"),
        (",25,11,", ",25,nil,", "line 3: action is 'nil'; it must be a number or null"),
        (",25,11,", ",lots,11,", "line 3: unclipped_reward is 'lots'"),
        (",25,11,null", "", "line 3: 4 fields where 6 are due"),
        ("unclipped_reward", "reward", "line 1: b'frame_id,episode_id"),
    ],
)
def test_a_bad_row_is_refused_by_file_and_line(tmp_path, old, new, problem):
    file = write(tmp_path, trial().replace(old, new))
    with pytest.raises(DemonstrationError, match=r"52_RZ.*\.txt, " + problem):
        read(file)
    archive = zipped(tmp_path / "hero.zip", {TRIAL: trial().replace(old, new)})
    with pytest.raises(DemonstrationError, match=r"52_RZ.*\.txt in .*hero\.zip, " + problem):
        read(archive)


def test_files_without_play_are_refused(tmp_path):
    rows = [(0, 0, 0, "null", "")]
    with pytest.raises(DemonstrationError, match="every action is null"):
        read(write(tmp_path, trial(rows)))
    with pytest.raises(DemonstrationError, match="holds no rows"):
        read(write(tmp_path, HEADER))
    with pytest.raises(DemonstrationError, match=r"hero\.zip holds no trials"):
        read(zipped(tmp_path / "hero.zip", {}))
    (tmp_path / "half.zip").write_bytes((tmp_path / "hero.zip").read_bytes()[:-9])
    with pytest.raises(DemonstrationError, match=r"half\.zip is not a whole zip"):
        read(tmp_path / "half.zip")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DemonstrationError, match="empty holds no trials; Atari-HEAD keeps them"):
        read(tmp_path / "empty", game="hero")


def test_bad_trials_can_be_passed_over_within_a_zip_too(tmp_path):
    names = [f"{number}_KM_9_Jul-10-09-00-00.txt" for number in (1, 2, 3)]
    zipped(tmp_path / "hero.zip", {name: trial() for name in names} | {names[1]: "bad"})
    write(tmp_path / "hero", "bad", names[0])
    bad = []
    assert len(read(tmp_path, on_bad=bad.append)) == 4
    assert len(bad) == 2
    with pytest.raises(DemonstrationError, match="2_KM"):
        read(tmp_path / "hero.zip")


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damage_is_refused_with_the_documented_error_or_read_as_legal_actions(tmp_path, data):
    lines = data.draw(st.permutations(trial().splitlines(keepends=True)[1:]))
    text = HEADER + "\n" + "".join(lines)
    text = text.replace(
        *data.draw(st.sampled_from([("0", "null"), ("3", ""), (",", ";"), (".", "٣")]))
    )
    content = text.encode(data.draw(st.sampled_from(["utf-8", "utf-16", "utf-8-sig"])))
    at = data.draw(st.integers(0, len(content)))
    content = (
        content[:at]
        + data.draw(st.binary(max_size=5))
        + content[at:][: data.draw(st.sampled_from([0, None]))]
    )
    bad = []
    plays = read(write(tmp_path, content), on_bad=bad.append)
    assert all(TRIAL in str(error) for error in bad)
    assert bool(plays) != bool(bad)


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_damaged_zip_is_refused_with_the_documented_error_or_read(tmp_path, data):
    path = zipped(tmp_path / "hero.zip", {TRIAL: trial()})
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    bad = []
    plays = read(path, on_bad=bad.append)
    assert all("hero.zip" in str(error) for error in bad)
    assert plays or bad
