"""Movies of MacroRetro: what the emulator was given, and where a replay departs from it."""

import json
import pickle
import signal
import subprocess
import sys
import zipfile
from contextlib import closing

import gymnasium as gym
import numpy as np
import pytest
import stable_retro
from gymnasium.utils.seeding import np_random

from macro_gym import MacroSet
from macro_gym.buttons import button_row
from macro_gym.cli import main
from macro_gym.demonstrations.bk2 import read_bk2
from macro_gym.demonstrations.movie_recorder import MovieRecorder
from macro_gym.demonstrations.movies import CHECKS, check_frames, load_checks, load_movie
from macro_gym.demonstrations.replay_movie import replay_movie
from macro_gym.errors import DemonstrationError, EnvironmentSettingError, MissingRomError
from macro_gym.retro_games import integration

GAME = "Airstriker-Genesis-v0"
FIRST = f"{GAME}-Level1-000000.bk2"
AIRSTRIKER = integration(GAME)
NAMES = AIRSTRIKER.combinations()
MACROS = MacroSet(("NOOP", "LEFT", "RIGHT", "B"), ((1, 3, 2, 2, 0, 3, 3), (2,) * 11, (0, 1, 3)))


def make(record=None, k=0, **kwargs):
    """The game with all its actions, whatever its bank uses."""
    settings = {"buttons": "all"} | kwargs
    return closing(gym.make(f"MacroRetro/{GAME}", k=k, record=record, **settings))


def play(env, decisions, seed=7):
    """Play at random; return the primitives that were run, and the memory after the last."""
    rng, ran = np.random.default_rng(seed), []
    env.reset(seed=seed)
    for _ in range(decisions):
        action = int(rng.integers(env.action_space.n))
        _, _, terminated, truncated, info = env.step(action)
        ran += env.unwrapped.macro_set.expand(action)[: info["duration"]]
        if terminated or truncated:
            break
    return ran, env.unwrapped.retro_env.get_ram().copy()


def held_by(names, primitives):
    """The rows of buttons of primitives, one a frame."""
    return np.array([button_row(names[index], AIRSTRIKER.buttons) for index in primitives])


def changed(path, **members):
    """The movie with members replaced, or left out if None."""
    with zipfile.ZipFile(path) as archive:
        held = {name: archive.read(name) for name in archive.namelist()} | members
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in held.items():
            if content is not None:
                archive.writestr(name, content)
    return path


def flipped(path, row, column):
    """The movie with one key of one row pressed or let go; row 0 sets the game up."""
    with zipfile.ZipFile(path) as archive:
        lines = archive.read("Input Log.txt").decode().split("\n")
    line = [*lines[row + 2]]
    at = 4 + column
    line[at] = "." if line[at] != "." else lines[1].split("|")[column].split()[1][0]
    lines[row + 2] = "".join(line)
    return changed(path, **{"Input Log.txt": "\n".join(lines)})


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A movie of 331 frames, and the memory at its end."""
    folder = tmp_path_factory.mktemp("movies")
    with make(folder, frameskip=1) as env:
        _, memory = play(env, 331)
    return (folder / FIRST).read_bytes(), memory


@pytest.fixture
def movie(recorded, tmp_path):
    (tmp_path / FIRST).write_bytes(recorded[0])
    return tmp_path / FIRST


def test_a_movie_holds_what_sticky_actions_made_of_play(tmp_path):
    with make(tmp_path, frameskip=5) as env:
        primitives, _ = play(env, 41)
    rng, _ = np_random(7)
    given_actions = [primitives[0]]
    for primitive in np.repeat(primitives, 5)[1:]:
        given_actions.append(given_actions[-1] if rng.random() < 0.25 else primitive)
    assert given_actions != np.repeat(primitives, 5).tolist()
    movie = load_movie(tmp_path / FIRST)
    assert not movie.held[0].any()
    np.testing.assert_array_equal(movie.held[1:, 0], held_by(NAMES, given_actions))


def test_a_movie_is_what_retro_env_records_with_checks_besides(movie, tmp_path):
    rows = load_movie(movie).held[1:, 0]
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    env = stable_retro.make(
        GAME,
        record=str(theirs),
        use_restricted_actions=stable_retro.Actions.ALL,
        render_mode="rgb_array",
    )
    with closing(env):
        env.reset()
        for row in rows:
            env.step(row)
        env.stop_record()
    with zipfile.ZipFile(movie) as ours, zipfile.ZipFile(theirs / FIRST) as other:
        assert {*ours.namelist()} == {*other.namelist(), CHECKS}
        assert all(ours.read(name) == other.read(name) for name in other.namelist())


def test_replaying_leads_to_the_same_memory(movie, recorded):
    replayed = replay_movie(movie)
    np.testing.assert_array_equal(replayed.memory, recorded[1])
    assert (replayed.departed, replayed.state, len(replayed.rewards)) == (None, "Level1", 331)
    assert replayed.checks == len(check_frames(331, 60)) == 7
    assert "as recorded at all 7 checks of 331 frames" in str(replayed)
    screens = []
    np.testing.assert_array_equal(
        replay_movie(movie, on_screen=screens.append).rewards, replayed.rewards
    )
    assert len(screens) == 332
    assert screens[0].shape == (224, 320, 3)


@pytest.mark.parametrize(("frame", "where"), [(1, (0, 60)), (131, (120, 180)), (329, (300, 331))])
def test_a_flipped_button_is_a_departure_after_its_frame(movie, frame, where):
    right = 4  # The column of RIGHT, which moves the ship.
    replayed = replay_movie(flipped(movie, frame, right))
    assert replayed.departed == where
    assert str(replayed) == (
        f"play departs from what was recorded between frame {where[0]} and frame {where[1]} of "
        "331. Likely cause: the buttons in the movie were changed since"
    )


def test_another_rom_core_or_savestate_is_named_as_the_cause(movie):
    with zipfile.ZipFile(movie) as archive:
        checks = json.loads(archive.read(CHECKS))
    checks["memory"][2:] = [0] * len(checks["memory"][2:])
    others = checks | {"rom": "abc", "emulator": "another core"}
    replayed = replay_movie(changed(movie, **{CHECKS: json.dumps(others)}))
    assert replayed.departed == (60, 120)
    assert "the ROM was abc (SHA-1), and here is a8be7b0c" in str(replayed)
    assert "recorded by another core, and this is genesis_plus_gx of stable-retro" in str(replayed)
    replayed = replay_movie(changed(movie, **{"Core.bin": later_state()}))
    assert (replayed.departed, replayed.state) == ((0, 0), "")
    assert "as soon as its savestate was loaded" in str(replayed)
    checks["memory"][:] = [0]
    replayed = replay_movie(changed(movie, **{CHECKS: json.dumps(checks)}))
    assert "the savestate in the movie may have been exchanged" in str(replayed)


def later_state():
    """The emulator's state some frames after an episode's start."""
    with make() as env:
        play(env, 19)
        return env.unwrapped.retro_env.em.get_state()


def test_rows_cut_off_or_added_are_told(movie):
    with zipfile.ZipFile(movie) as archive:
        lines = archive.read("Input Log.txt").decode().split("\n")
    for rows, where in (
        (lines[:-30], (300, 302)),
        (lines[:-32], None),  # To just after a check, so that nothing seen differs.
        ([*lines[:-1], *lines[3:90]], (300, 360)),
    ):
        log = "\n".join([*rows, "[/Input]"])
        replayed = replay_movie(changed(movie, **{"Input Log.txt": log}))
        assert (replayed.departed, replayed.edited) == (where, True)


def test_a_savestate_that_the_emulator_refuses_and_checks_of_others_are_refused(movie):
    with zipfile.ZipFile(movie) as archive:
        good = json.loads(archive.read(CHECKS))
    bad = [{"every": 60}, good | {"every": 0}, good | {"every": None}, good | {"scenario": 5}]
    bad += [good | {"memory": 5}, good | {"more": 1}, ["every"]]
    for checks in bad:
        with pytest.raises(DemonstrationError, match=r"00\.bk2: Checks\.json holds no checks as"):
            load_checks(changed(movie, **{CHECKS: json.dumps(checks)}))
    with pytest.raises(DemonstrationError, match=r"refuses its savestate; was it .* another ver"):
        replay_movie(changed(movie, **{CHECKS: None, "Core.bin": b"a savestate"}))


def test_a_game_whose_rom_is_not_there_is_refused_by_what_is_wanted(movie):
    header = b"Platform GEN\nGameName SonicTheHedgehog-Genesis-v0\n"
    with pytest.raises(MissingRomError, match="69e102855d4389c3fd1a8f3dc7d193f8eee5fe5b"):
        replay_movie(changed(movie, **{"Header.txt": header}))


def test_of_movies_without_checks_it_is_told_what_the_games_end_says(tmp_path):
    # Without a move, the last ship is lost with frame 1212.
    with make(tmp_path, frameskip=1, repeat_action_probability=0.0) as env:
        env.reset()
        terminated = False
        while not terminated:
            _, _, terminated, _, _ = env.step(0)
    whole = changed(tmp_path / FIRST, **{CHECKS: None})
    replayed = replay_movie(whole)
    assert (replayed.over, replayed.checks, replayed.departed) == (1212, 0, None)
    assert "over with its last frame, as where an episode was recorded whole" in str(replayed)
    with zipfile.ZipFile(whole) as archive:
        lines = archive.read("Input Log.txt").decode().split("\n")
    log = "\n".join([*lines[:-1], lines[3], "[/Input]"])
    said = str(replay_movie(changed(whole, **{"Input Log.txt": log})))
    assert "over after frame 1212, before the movie is, so play probably departed" in said
    log = "\n".join([*lines[:41], "[/Input]"])
    said = str(replay_movie(changed(whole, **{"Input Log.txt": log})))
    assert said.startswith("38 frames, score 0; nothing in the movie tells")
    assert "the game is not over at its end" in said


def scenario(folder):
    """A scenario that ends with the first ship lost, some 310 frames after the start."""
    path = folder / "one-ship.json"
    lost = {"lives": {"op": "less-than", "reference": 3}}
    path.write_text(json.dumps({"done": {"variables": lost}, "reward": {"variables": {}}}))
    return str(path)


def test_each_episode_is_a_movie_when_it_ends_at_reset_and_at_close(tmp_path):
    def files():
        return sorted(path.name for path in (tmp_path / "movies").iterdir())

    settings = {"macros": MACROS, "k": None, "scenario": scenario(tmp_path)}
    with make(tmp_path / "movies", **settings) as env:
        env.reset(seed=1)
        env.reset(seed=2)
        assert files() == []  # Nothing was played.
        ran, _ = play(env, 400, seed=3)
        assert len(ran) < 400
        assert files() == [FIRST]
        play(env, 5, seed=4)
        assert files() == [FIRST]
        env.reset(seed=5)
        assert len(files()) == 2
        env.step(0)
    assert files() == [f"{GAME}-Level1-00000{n}.bk2" for n in range(3)]
    frames = [len(load_movie(tmp_path / "movies" / name).held) - 1 for name in files()]
    assert frames[0] <= 4 * len(ran)
    assert frames[2] == 4
    replayed = replay_movie(tmp_path / "movies" / FIRST)
    assert (replayed.departed, replayed.over) == (None, frames[0])
    before = (tmp_path / "movies" / FIRST).read_bytes()
    with make(tmp_path / "movies", **settings) as env:  # Another one, into the same folder.
        play(env, 2)
    assert len(files()) == 4
    assert (tmp_path / "movies" / FIRST).read_bytes() == before


def test_no_ops_at_the_start_are_in_the_movie_but_make_none_by_themselves(tmp_path):
    # A third of the draws run out of frames among the no-ops, which starts the game anew.
    settings = {"noop_max": 30, "max_num_frames_per_episode": 20, "repeat_action_probability": 0}
    with make(tmp_path, **settings) as env:
        for seed in range(7):
            env.reset(seed=seed)
        waited = env.reset(seed=7)[1]["episode_frame_number"]
        assert waited > 0
        assert list(tmp_path.iterdir()) == []
        env.step(NAMES.index("LEFT"))
        env.reset()
    held = held_by(NAMES, [0] * waited + [NAMES.index("LEFT")] * 4)
    [movie] = tmp_path.iterdir()
    np.testing.assert_array_equal(load_movie(movie).held[1:, 0], held)


def test_where_the_end_comes_within_a_macro_the_movie_is_the_same_as_were_all_drawn(tmp_path):
    # Steps that no observation shows are not drawn; at a surprising end they are run again.
    long = tuple(np.random.default_rng(2).integers(len(NAMES), size=97).tolist())
    settings = {"macros": MacroSet(NAMES, (long,)), "k": None, "scenario": scenario(tmp_path)}
    for name, stack_size in (("again", 4), ("once", 97)):
        with make(tmp_path / name, stack_size=stack_size, frameskip=1, **settings) as env:
            env.reset(seed=3)
            terminated = False
            while not terminated:
                _, _, terminated, _, _ = env.step(len(NAMES))
    again, once = ((tmp_path / name / FIRST) for name in ("again", "once"))
    np.testing.assert_array_equal(load_movie(again).held, load_movie(once).held)
    assert load_checks(again) == load_checks(once)
    assert replay_movie(again).departed is None


def test_where_the_emulator_went_back_the_movie_holds_the_way_that_it_took_then(tmp_path):
    with make(tmp_path, frameskip=1) as env:
        play(env, 43)
        emulator = env.unwrapped._emulator
        saved = emulator.save()
        for action in (NAMES.index("LEFT"), NAMES.index("RIGHT+B")):
            emulator.restore(saved)
            for _ in range(151):
                env.step(action)
        memory = env.unwrapped.retro_env.get_ram().copy()
    replayed = replay_movie(tmp_path / FIRST)
    assert (replayed.departed, replayed.checks, len(replayed.rewards)) == (None, 5, 194)
    np.testing.assert_array_equal(replayed.memory, memory)


def test_an_episode_that_is_written_is_not_written_again_from_its_middle(tmp_path):
    with make(tmp_path / "movies", scenario=scenario(tmp_path)) as env:
        env.reset(seed=1)
        env.step(0)
        saved, terminated = env.unwrapped._emulator.save(), False
        while not terminated:
            _, _, terminated, _, _ = env.step(0)
        env.unwrapped._emulator.restore(saved)
        env.step(0)
    assert [path.name for path in (tmp_path / "movies").iterdir()] == [FIRST]


def test_environments_in_processes_record_into_one_folder(tmp_path):
    env = gym.make_vec(f"MacroRetro/{GAME}", num_envs=2, k=0, buttons="all", record=tmp_path)
    with closing(env):
        env.reset(seed=[3, 5])
        for actions in ([1, 2], [3, 4], [5, 6]):
            env.step(np.array(actions))
    one, two = sorted(tmp_path.iterdir())
    rows = {load_movie(path).held[1:, 0].tobytes() for path in (one, two)}
    assert len(rows) == 2
    assert all(len(load_movie(path).held) == 1 + 3 * 4 for path in (one, two))


@pytest.mark.parametrize("seconds", [0.011, 0.023, 0.037, 0.053])
def test_a_movie_cut_by_ctrl_c_holds_every_frame_that_was_run(seconds, tmp_path):
    with make(tmp_path, k=None, macros=MACROS) as env:
        env.reset(seed=1)
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012
            while True:
                env.step(5)
        memory = env.unwrapped.retro_env.get_ram().copy()
    replayed = replay_movie(tmp_path / FIRST)
    assert replayed.departed is None
    np.testing.assert_array_equal(replayed.memory, memory)


def test_a_copy_in_the_middle_of_an_episode_goes_on_with_its_movie(tmp_path):
    with make(tmp_path) as env:
        play(env, 19)
        copied = pickle.dumps(env)
        env.step(1)
    with closing(pickle.loads(copied)) as env:
        env.step(1)
    one, two = sorted(tmp_path.iterdir())
    np.testing.assert_array_equal(load_movie(one).held, load_movie(two).held)
    assert load_checks(one) == load_checks(two)


KILLED = """
import sys, gymnasium as gym, macro_gym
env = gym.make("MacroRetro/{game}", k=0, buttons="all", record=sys.argv[1])
env.reset(seed=1)
for _ in range(29):
    env.step(1)
env.reset(seed=2)
for _ in range(29):
    env.step(2)
print("playing", flush=True)
sys.stdin.read()
"""


def test_a_process_killed_in_an_episode_leaves_whole_movies_only(tmp_path):
    code = KILLED.format(game=GAME)
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, stdin=subprocess.PIPE
    )
    with process:
        assert process.stdout.readline() == b"playing\n"
        process.send_signal(signal.SIGKILL)
    [path] = tmp_path.iterdir()
    assert (path.name, len(load_movie(path).held)) == (FIRST, 1 + 29 * 4)


def test_either_player_of_a_movie_of_two_can_be_read(tmp_path):
    env = stable_retro.make(
        GAME,
        record=str(tmp_path),
        use_restricted_actions=stable_retro.Actions.ALL,
        players=2,
        render_mode="rgb_array",
    )
    rows = np.random.default_rng(5).integers(2, size=(53, 2, 12))
    with closing(env):
        env.reset()
        for row in rows:
            env.step(row.reshape(-1))
        env.stop_record()
    for player in (1, 2):
        [read] = read_bk2(tmp_path, player=player)
        assert read.source == f"movie {FIRST}, player {player} of 2"
        held = np.array(
            [
                [button in read.primitives[action].split("+") for button in AIRSTRIKER.buttons]
                for action in read.actions
            ]
        )
        np.testing.assert_array_equal(held, rows[:, player - 1])
    with pytest.raises(DemonstrationError, match="is of 2 players, so there is no player 3"):
        list(read_bk2(tmp_path, player=3))
    assert replay_movie(tmp_path / FIRST).over is None


def test_both_players_of_an_environment_are_recorded(tmp_path):
    with make(tmp_path, players=2, buttons=["NOOP", "LEFT", "B"], frameskip=1) as env:
        names = env.unwrapped.get_action_meanings()
        env.reset(seed=1)
        for _ in range(3):
            env.step(names.index("LEFT|B"))
    one, two = read_bk2(tmp_path)
    assert [one.primitives[i] for i in one.actions] == ["LEFT"] * 3
    assert [two.primitives[i] for i in two.actions] == ["B"] * 3
    assert replay_movie(tmp_path / FIRST).departed is None


def test_buttons_that_movies_leave_out_are_refused(tmp_path):
    arcade = integration("MortalKombatTrilogy-N64-v0")
    held = [(button_row(name, arcade.buttons),) for name in ("NOOP", "UP+C-UP", "A+C-RIGHT")]
    with pytest.raises(EnvironmentSettingError, match=r"leave out C-RIGHT, C-UP of MortalKombat"):
        MovieRecorder(tmp_path, arcade, held, "scenario.json")
    MovieRecorder(tmp_path, arcade, held[:1], "scenario.json")


def test_the_command_replays_a_movie_films_it_and_fails_where_it_departs(movie, tmp_path, capsys):
    film = tmp_path / "film.gif"
    assert main(["replay", str(movie), "--video", str(film), "--zoom", "1"]) == 0
    out = capsys.readouterr().out
    assert f"{movie}  {GAME}, from Level1\n" in out
    assert f"{film}  332 screens\n" in out
    assert "as recorded at all 7 checks of 331 frames" in out
    assert film.read_bytes()[:4] == b"GIF8"
    # A key that makes no difference to the memory, as in frame 200, is found out all the same.
    assert main(["replay", str(flipped(movie, 200, 4))]) == 2
    assert "but the buttons in the movie were changed since" in capsys.readouterr().err
    assert main(["replay", str(flipped(movie, 131, 4))]) == 2
    assert "departs from what was recorded between frame 120 and" in capsys.readouterr().err
