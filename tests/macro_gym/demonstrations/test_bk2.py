"""Movies: the buttons that a real emulator was given come back, with no ROM in the way."""

import zipfile

import numpy as np
import pytest
import stable_retro
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from macro_gym.buttons import combination
from macro_gym.demonstrations.bk2 import read_bk2
from macro_gym.demonstrations.gather import gather
from macro_gym.errors import DemonstrationError

HEADER = """MovieVersion Retro
Author ?
emuVersion ?
Platform GEN
GameName Airstriker-Genesis-v0
SHA1 ?
Core ?
rerecordCount 1
"""
KEYS = "P1 Z|P1 X|P1 Y|P1 C|P1 Right|P1 Left|P1 Down|P1 Up|P1 Start|P1 Mode|P1 A|P1 B|"
LOG = f"""[Input]
{KEYS}
|..|............|
|..|....R......B|
|..|............|
|..|...C..D...A.|
|..|....R......B|
[/Input]
"""
TWO = f"""[Input]
{KEYS}{KEYS.replace("P1", "P2")}
|..|............|............|
|..|....R......B|.....L......|
|..|............|...C........|
[/Input]
"""


def movie(tmp_path, log=LOG, header=HEADER, core=b"a savestate", name="play.bk2"):
    members = {"Header.txt": header, "Input Log.txt": log, "Core.bin": core}
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        for member, content in members.items():
            if content is not None:
                archive.writestr(member, content)
    return tmp_path / name


def names(play):
    return [play.primitives[action] for action in play.actions]


def read(path, **kwargs):
    return list(read_bk2(path, **kwargs))


def test_rows_are_named_combinations_and_the_first_one_is_left_out(tmp_path):
    (play,) = read(movie(tmp_path))
    assert names(play) == ["RIGHT+B", "NOOP", "DOWN+A+C", "RIGHT+B"]
    assert play.primitives[0] == "NOOP"
    assert (play.game, play.frameskip, play.rewards) == ("Airstriker-Genesis-v0", 1, None)
    assert play.source == "movie play.bk2, player 1 of 1"


def test_each_player_is_a_demonstration(tmp_path):
    one, two = read(movie(tmp_path, TWO))
    assert (names(one), names(two)) == (["RIGHT+B", "NOOP"], ["LEFT", "C"])
    assert two.primitives == ("NOOP", "LEFT", "C")  # Resting can be said, even if never done.
    assert two.source == "movie play.bk2, player 2 of 2"


def test_what_a_real_emulator_was_given_is_read_back(tmp_path):
    env = stable_retro.make(
        "Airstriker-Genesis-v0",
        render_mode="rgb_array",
        record=str(tmp_path),
        use_restricted_actions=stable_retro.Actions.ALL,
    )
    try:
        env.reset()
        given_keys = np.random.default_rng(3).integers(2, size=(97, 12))
        for keys in given_keys:
            env.step(keys)
        env.stop_record()
        buttons = env.buttons
    finally:
        env.close()
    (play,) = read(tmp_path)
    assert names(play) == [
        combination([buttons[i] for i in np.flatnonzero(keys)]) for keys in given_keys
    ]


@pytest.mark.parametrize(
    ("platform", "keys", "row", "pressed"),
    [
        ("SNES", "R|L|X|A|Right|Left|Down|Up|Start|Select|Y|B", "..XA.....s..", "SELECT+A+X"),
        ("NES", "A|Right|Left|Down|Up|Start|Select|B", "A...U..B", "UP+B+A"),
    ],
)
def test_other_consoles_have_their_own_buttons(tmp_path, platform, keys, row, pressed):
    log = LOG.splitlines()
    log[1] = "".join(f"P1 {key}|" for key in keys.split("|"))
    log[2:-1] = ["|..|" + "." * len(row) + "|", f"|..|{row}|"]
    header = HEADER.replace("GEN", platform).replace("Airstriker-Genesis-v0", "Zelda")
    (play,) = read(movie(tmp_path, "\n".join(log) + "\n", header))
    assert names(play) == [pressed]
    assert play.game == "Zelda-v0"


def test_one_game_of_many_can_be_chosen_with_or_without_its_version(tmp_path):
    movie(tmp_path)
    movie(tmp_path, header=HEADER.replace("Airstriker-Genesis-v0", "Zelda"), name="other.bk2")
    assert [play.game for play in read(tmp_path)] == ["Zelda-v0", "Airstriker-Genesis-v0"]
    for game in ("Zelda", "Zelda-v0"):
        assert [play.game for play in read(tmp_path, game=game)] == ["Zelda-v0"]
    for game in ("MacroRetro/Airstriker-Genesis-v0", "airstriker-genesis"):
        assert [play.game for play in read(tmp_path, game=game)] == ["Airstriker-Genesis-v0"]
        assert {play.game for play in gather([tmp_path], game=game).play} == {
            "Airstriker-Genesis-v0"
        }


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"log": LOG.replace(KEYS, "LogKey:#Reset|Power|#" + KEYS)},
            "LogKey: line says that BizHa",
        ),
        ({"log": LOG.replace("[Input]\n", "[Input]\nLogKey:#P1 Up|\n")}, "LogKey: line says"),
        ({"log": LOG.replace("[/Input]\n", "")}, "must hold .* copied whole"),
        ({"log": ""}, "must hold"),
        (
            {"log": LOG.replace("....R......B", "....R")},
            r"line 4: '\|\.\.\|\.\.\.\.R\|' does not fit",
        ),
        ({"log": LOG.replace("|..|....R", "|r.|....R")}, "line 4: .* presses reset"),
        ({"log": LOG.replace("P1 Z|", "")}, "line 3: .* does not fit the keys"),
        ({"log": LOG.replace(KEYS, "no keys")}, "line 3: .* does not fit the keys"),
        ({"header": HEADER.replace("GEN", "XYZ")}, "Platform is 'XYZ' in Header.txt; it must be"),
        ({"header": HEADER.replace("GEN", "NES")}, "does not read from it the keys"),
        ({"header": ""}, "Platform is ''"),
        ({"header": None}, "lacks Header.txt"),
        ({"core": None}, "lacks Core.bin"),
        ({"log": None}, "lacks Input Log.txt"),
    ],
)
def test_what_stable_retro_would_misread_is_refused_by_file(tmp_path, changes, problem):
    with pytest.raises(DemonstrationError, match=rf"play\.bk2.*{problem}"):
        read(movie(tmp_path, **changes))


def test_files_that_are_no_zips_and_folders_without_movies_are_refused(tmp_path):
    with pytest.raises(DemonstrationError, match=r"holds no movies \(\.bk2\)"):
        read(tmp_path)
    (tmp_path / "play.bk2").write_bytes(b"no zip")
    with pytest.raises(DemonstrationError, match=r"play\.bk2 is not a whole zip"):
        read(tmp_path)


def test_bad_movies_can_be_passed_over(tmp_path):
    for name in ("a.bk2", "b.bk2", "c.bk2"):
        movie(tmp_path, "" if name == "b.bk2" else LOG, name=name)
    bad = []
    assert len(read(tmp_path, on_bad=bad.append)) == 2
    assert "b.bk2" in str(*bad)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damage_is_refused_with_the_documented_error_or_read(tmp_path, data):
    texts = {"log": data.draw(st.sampled_from([LOG, TWO])), "header": HEADER}
    which = data.draw(st.sampled_from(["log", "header"]))
    text = texts[which].encode(data.draw(st.sampled_from(["ascii", "utf-16", "utf-8-sig"])))
    at = data.draw(st.integers(0, len(text)))
    end = data.draw(st.sampled_from([at, at, at + 3, len(text)]))
    texts[which] = text[:at] + data.draw(st.binary(max_size=4)) + text[end:]
    bad = []
    plays = read(movie(tmp_path, **texts), on_bad=bad.append)
    assert bool(plays) != bool(bad)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_damaged_zip_is_refused_with_the_documented_error_or_read(tmp_path, data):
    path = movie(tmp_path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    bad = []
    plays = read(path, on_bad=bad.append)
    assert bool(plays) != bool(bad)
