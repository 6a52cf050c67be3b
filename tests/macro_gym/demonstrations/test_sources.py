"""Play of any format is recognised, read, made comparable, and every change to it counted."""

import gzip
import io
import re
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import macro_gym.banks
from macro_gym import MacroSet
from macro_gym.cli import main
from macro_gym.demonstrations import Demonstration
from macro_gym.demonstrations.gather import gather
from macro_gym.demonstrations.sources import READERS, read_play, recognise
from macro_gym.errors import DemonstrationError, FrameSkipError

HEAD = "frame_id,episode_id,score,duration(ms),unclipped_reward,action,gaze_positions\n"
TRIAL = "52_RZ_2394668_Aug-10-14-52-42.txt"
CHECKPOINT = "1/replay_logs/$store$_{}_ckpt.0.gz"


def challenge(root, game="qbert", number=1, actions=(2, 2, 10, 10, 3, 3, 11, 7)):
    file = root / "trajectories" / game / f"{number}.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = [f"{i},{i % 2},0,0,{action}" for i, action in enumerate(actions)]
    file.write_text("\n".join(["db traj id : 1", "frame,reward,score,terminal,action", *rows]))
    return file


def head(root, game="hero"):
    (root / game).mkdir()
    (root / game / TRIAL).write_text(HEAD + "f,0,0,50,0,3,1.5,2.5\n")
    (root / "meta_data.csv").write_text("GameName\nhero\n")


def head_zip(root, game="hero"):
    with zipfile.ZipFile(root / f"{game}.zip", "w") as archive:
        archive.writestr(TRIAL, HEAD + "f,0,0,50,0,3,1.5,2.5\n")


def movies(root):
    keys = "P1 A|P1 Right|P1 Left|P1 Down|P1 Up|P1 Start|P1 Select|P1 B|"
    rows = ["|..|........|", "|..|A...U..B|"]
    with zipfile.ZipFile(root / "play.bk2", "w") as archive:
        archive.writestr("Header.txt", "Platform NES\nGameName Zelda-Nes-v0\n")
        archive.writestr("Input Log.txt", "\n".join(["[Input]", keys, *rows, "[/Input]"]))
        archive.writestr("Core.bin", b"")


def replay(root, game="Breakout"):
    (root / game / CHECKPOINT).parent.mkdir(parents=True)
    for element in ("action", "terminal"):
        with gzip.open(root / game / CHECKPOINT.format(element), "wb") as file:
            np.save(file, np.array([1], dtype=np.uint8))


def own(root):
    Demonstration(("NOOP", "UP"), np.array([1]), None, "Freeway", 4, "me").save(root / "a.npz")


def table(root):
    (root / "a.csv").write_text("action\nLEFT\n")


LAYOUTS = {
    challenge: (
        "atari-grand-challenge",
        [["UP", "UP", "UPFIRE", "UPFIRE", "RIGHT", "RIGHT", "RIGHTFIRE", "UPLEFT"]],
    ),
    head: ("atari-head", [["RIGHT"]]),
    head_zip: ("atari-head", [["RIGHT"]]),
    movies: ("bk2", [["UP+B+A"]]),
    replay: ("dqn-replay", [["FIRE"]]),
    own: ("plain", [["UP"]]),
    table: ("plain", [["LEFT"]]),
}


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_every_layout_is_recognised_and_read_by_folder_and_by_file(tmp_path, layout):
    layout(tmp_path)
    format, expected = LAYOUTS[layout]
    files = [
        path for path in sorted(tmp_path.rglob("*")) if path.is_file() and path.suffix != ".csv"
    ]
    for path in (tmp_path, *files[:1]):
        assert recognise(path) == format
        plays = read_play(path)
        assert [[play.primitives[i] for i in play.actions] for play in plays] == expected


def test_a_format_may_be_named_where_names_do_not_tell_it(tmp_path):
    file = challenge(tmp_path).rename(tmp_path / "play")
    with pytest.raises(DemonstrationError, match=r"say of which format: atari-grand-challenge, "):
        read_play(file)
    (play,) = read_play(file, "atari-grand-challenge", game="qbert")
    assert play.game == "Qbert"


def test_several_formats_in_one_folder_are_refused(tmp_path):
    movies(tmp_path)
    replay(tmp_path)
    with pytest.raises(DemonstrationError, match="say which to read: bk2, dqn-replay"):
        read_play(tmp_path)
    assert len(list(read_play(tmp_path, "bk2"))) == 1


def test_what_is_missing_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file or folder"):
        recognise(tmp_path / "nothing")
    assert recognise(Path("atari/breakout/expert-v0")) == "minari"
    assert set(READERS) == {format for format, _ in LAYOUTS.values()} | {"minari"}


def test_people_play_becomes_steps_of_the_games_own_actions_and_changes_are_counted(tmp_path):
    challenge(tmp_path)
    gathered = gather([tmp_path], frameskip=4)
    (play,) = gathered.play
    assert play.primitives == ("NOOP", "FIRE", "UP", "RIGHT", "LEFT", "DOWN")
    assert [play.primitives[action] for action in play.actions] == ["UP", "RIGHT"]
    assert play.rewards.tolist() == [2, 2]
    assert gathered.changes == {
        ("UPFIRE", "UP"): 2,
        ("RIGHTFIRE", "RIGHT"): 1,
        ("UPLEFT", "NOOP"): 1,
    }
    assert str(gathered).splitlines() == [
        "read        1 episodes, 8 steps",
        "resampled   to 2 steps of 4 frames",
        "translated  4 steps: UPFIRE to UP 2, UPLEFT to NOOP 1, RIGHTFIRE to RIGHT 1",
    ]


def test_the_full_action_set_changes_nothing(tmp_path):
    challenge(tmp_path)
    gathered = gather([tmp_path], full_action_space=True)
    assert len(gathered.play[0].primitives) == 18
    assert not gathered.changes


def test_action_sets_are_joined_by_name(tmp_path):
    for name, actions in (("a", "hop,skip"), ("b", "jump,hop")):
        (tmp_path / f"{name}.csv").write_text("\n".join(["action", *actions.split(",")]))
    one, two = gather([tmp_path]).play
    assert one.primitives == two.primitives == ("hop", "skip", "jump")
    assert (one.actions.tolist(), two.actions.tolist()) == ([0, 1], [2, 0])


def test_many_sources_of_a_kind_are_counted(tmp_path):
    for number in range(6):
        challenge(tmp_path, number=number)
    own(tmp_path)
    plays = gather([tmp_path / "trajectories"]).play
    assert {play.source for play in plays} == {"Atari Grand Challenge: 6 parts"}
    assert gather([tmp_path / "a.npz"]).play[0].source == "me"


def test_play_that_cannot_be_compared_is_refused(tmp_path):
    challenge(tmp_path)
    challenge(tmp_path, "pinball")
    with pytest.raises(DemonstrationError, match="several games, Qbert, VideoPinball; choose one"):
        gather([tmp_path])
    assert {play.game for play in gather([tmp_path], game="Qbert").play} == {"Qbert"}
    table(tmp_path)
    with pytest.raises(FrameSkipError, match="an unknown number of frames a step"):
        gather([tmp_path / "a.csv"], frameskip=4)


def stored(folder, name, game):
    actions = np.array([1, 1, 0], dtype=np.uint8)
    Demonstration(("NOOP", "FIRE"), actions, None, game, 4).save(folder / f"{name}.npz")


def test_play_that_names_another_game_is_left_out(tmp_path, capsys):
    for name, game in (("a", "Pong"), ("b", "Breakout"), ("c", "")):
        stored(tmp_path, name, game)
    gathered = gather([tmp_path, tmp_path / "b.npz"], game="ALE/Breakout-v5")
    assert [play.game for play in gathered.play] == ["Breakout"] * 3
    assert gathered.play[0].primitives == ("NOOP", "FIRE", "RIGHT", "LEFT")
    assert (gathered.steps, gathered.episodes) == (9, (2, 1))
    command = ["extract", str(tmp_path / "a.npz"), "--game", "breakout", "--k", "1"]
    assert main([*command, "--output", str(tmp_path / "macros.json")]) == 2
    assert "a.npz; 1 episodes are of Pong, 0 bad files" in capsys.readouterr().err
    assert not (tmp_path / "macros.json").exists()


@pytest.mark.parametrize("layout", [challenge, head, head_zip, replay])
def test_play_whose_path_names_another_game_is_left_out(tmp_path, layout):
    for game in ("hero", "qbert"):
        layout(tmp_path, game)
    names = re.compile(r".*(\d\.txt|\.zip|action.*\.gz)")
    files = [path for path in sorted(tmp_path.rglob("*")) if names.fullmatch(path.name)]
    for paths, episodes in (([tmp_path], (1,)), (files, (0, 1))):
        gathered = gather(paths, game="qbert")
        assert [play.game for play in gathered.play] == ["Qbert"]
        assert gathered.episodes == episodes
    with pytest.raises(DemonstrationError, match="there is no play of Pong in"):
        gather([tmp_path], game="Pong")


def test_one_game_is_chosen_from_the_shipped_play(tmp_path):
    play = Path(macro_gym.banks.__file__).parent / "play"
    output = tmp_path / "macros.json"
    command = ["extract", str(play), "--game", "breakout", "--k", "7", "--output", str(output)]
    assert main(command) == 0
    macros = MacroSet.load(output)
    alone = gather(sorted(play.glob("breakout-*.npz")))
    assert macros.provenance.game == "Breakout"
    assert macros.provenance.steps == alone.steps


def test_games_that_are_not_ataris_are_told_apart_too(tmp_path):
    for name in ("Maze", "Tower"):
        Demonstration(("hop",), np.array([0]), None, name).save(tmp_path / f"{name}.npz")
    assert [play.game for play in gather([tmp_path], game="Maze-v0").play] == ["Maze"]


def test_a_terminal_shows_the_episodes_read(tmp_path, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stored(tmp_path, "a", "Pong")
    for shown in (True, False):
        monkeypatch.setattr("sys.stderr", Terminal())
        gather([tmp_path], progress_bar=shown)
        assert ("1episode" in sys.stderr.getvalue()) == shown


def test_bad_files_stop_the_command_or_are_counted(tmp_path, capsys):
    for number in (1, 2, 3):
        challenge(tmp_path, number=number)
    (tmp_path / "trajectories" / "qbert" / "2.txt").write_text("bad")
    output = str(tmp_path / "macros.json")
    command = ["extract", str(tmp_path), "--output", output, "--k", "3", "--frameskip", "2"]
    assert main(command) == 2
    assert "2.txt, line 2: b'' does not name the columns" in capsys.readouterr().err
    assert main([*command, "--skip-bad", "--format", "atari-grand-challenge"]) == 0
    out, err = capsys.readouterr()
    assert err.count("skipped:") == 1
    assert "2.txt" in err
    assert "skipped     1 bad files" in out
    assert "translated  8 steps: UPFIRE to UP 4" in out
    macros = MacroSet.load(output)
    assert (macros.provenance.steps, macros.provenance.frameskip) == (8, 2)
    assert macros.provenance.game == "Qbert"


def test_nothing_left_is_an_error(tmp_path):
    challenge(tmp_path).write_text("bad")
    with pytest.raises(
        DemonstrationError, match=r"there is no play in .*; 1 bad files were skipped"
    ):
        gather([tmp_path], skip_bad=True)
