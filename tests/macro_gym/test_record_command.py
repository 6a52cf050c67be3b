"""macro-gym record and replay: pressed keys, models and films, on the real emulator."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

import macro_gym  # noqa: F401
from macro_gym import MacroSet
from macro_gym.atari import MacroAtariEnv
from macro_gym.cli import main
from macro_gym.demonstrations import Demonstration, record_person, replay
from macro_gym.demonstrations.person import keys_of
from macro_gym.demonstrations.video import video
from macro_gym.errors import ActionSpaceError, EnvironmentSettingError, MissingDependencyError

pygame = pytest.importorskip("pygame")
NOOP, FIRE, RIGHT, LEFT = range(4)
DOWN, UP = pygame.KEYDOWN, pygame.KEYUP


class Fingers(MacroAtariEnv):
    """Breakout, and a person's fingers: what happens to keys while the n-th step runs."""

    presses: dict = {}  # noqa: RUF012  # each test sets its own

    def __init__(self, **kwargs):
        super().__init__("breakout", k=0, **kwargs)
        self.at = 0

    def step(self, action):
        for event in self.presses.get(self.at, ()):
            if isinstance(event, type):
                raise event
            kind, *key = event if isinstance(event, tuple) else (event,)
            pygame.event.post(pygame.event.Event(kind, **({"key": key[0]} if key else {})))
        self.at += 1
        return super().step(action)


gym.register("Fingers-v0", entry_point=Fingers)


@pytest.fixture(autouse=True)
def _unseen(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")


def press(monkeypatch, presses):
    monkeypatch.setattr(Fingers, "presses", presses)


def fingers(**kwargs):
    return gym.make("Fingers-v0", render_mode="rgb_array", **kwargs)


def failed(argv, capsys):
    """The one line that a failing command prints last."""
    assert main([str(word) for word in argv]) == 2
    err = capsys.readouterr().err
    assert err.startswith("macro-gym: ")
    assert err.count("\n") == 1
    return err


PRESSES = {
    1: [(DOWN, pygame.K_SPACE)],
    3: [(UP, pygame.K_SPACE), (DOWN, pygame.K_LEFT)],
    6: [(DOWN, pygame.K_SPACE), (DOWN, pygame.K_x)],
    8: [(UP, pygame.K_LEFT), (UP, pygame.K_SPACE)],
    11: [(DOWN, pygame.K_d)],
    12: [(DOWN, pygame.K_a)],
    13: [(UP, pygame.K_a)],
}
# A key counts from the next step on. LEFT and FIRE are LEFT, which Breakout has; x is nothing, and
# so are LEFT and RIGHT at once.
PRESSED = [NOOP] * 2 + [FIRE] * 2 + [LEFT] * 5 + [NOOP] * 3 + [RIGHT, NOOP] + [RIGHT] * 4


@pytest.mark.parametrize("end", [(DOWN, pygame.K_ESCAPE), pygame.QUIT, KeyboardInterrupt])
def test_what_is_recorded_is_what_was_pressed_however_it_ends(end, tmp_path, monkeypatch, capsys):
    # An interrupted step did not happen.
    last = len(PRESSED) - (end is not KeyboardInterrupt)
    press(monkeypatch, PRESSES | {last: [end]})
    argv = ["record", "Fingers-v0", "--output", str(tmp_path), "--fps", "500", "--seed", "7"]
    assert main(argv) == 0
    assert "Fingers-0.npz  18 steps  score 0" in capsys.readouterr().out
    [path] = tmp_path.iterdir()
    play = Demonstration.load(path)
    assert play.actions.tolist() == PRESSED
    assert play.primitives == ("NOOP", "FIRE", "RIGHT", "LEFT")
    assert (play.source, play.frameskip, play.settings["seed"]) == ("a person", 4, 7)
    assert not pygame.display.get_init()
    env = gym.make("ALE/Breakout-v5")
    env.reset(seed=7)
    assert play.rewards.tolist() == [env.step(action)[1] for action in PRESSED]


def test_points_are_recorded_and_replayed(tmp_path, monkeypatch, capsys):
    press(monkeypatch, {3: [(DOWN, pygame.K_SPACE), (DOWN, pygame.K_RIGHT)]})
    # Holding both is RIGHT; the ball needs FIRE alone, every life.
    alone = {n: [(UP, pygame.K_RIGHT)] for n in range(10, 900, 60)}
    again = {n + 3: [(DOWN, pygame.K_RIGHT)] for n in alone}
    press(monkeypatch, Fingers.presses | alone | again)
    argv = ["record", "Fingers-v0", "--output", str(tmp_path), "--fps", "9999", "--zoom", "0.5"]
    assert main([*argv, "--episodes", "2", "--steps", "500"]) == 0
    plays = [Demonstration.load(tmp_path / f"Fingers-{n}.npz") for n in (0, 1)]
    assert sum(play.score for play in plays) > 0
    assert sum(len(play.actions) for play in plays) == 500
    capsys.readouterr()
    press(monkeypatch, {})
    for n, play in enumerate(plays):
        np.testing.assert_array_equal(replay(play), play.rewards)
        assert main(["replay", str(tmp_path / f"Fingers-{n}.npz")]) == 0
        said = f"the rewards of all {len(play.actions)} steps are as recorded, score {play.score:g}"
        assert said in capsys.readouterr().out


def test_files_and_seeds_count_on(tmp_path, monkeypatch):
    press(monkeypatch, {})
    argv = ["record", "Fingers-v0", "--output", str(tmp_path), "--fps", "500", "--steps", "5"]
    assert main(argv) == 0
    before = (tmp_path / "Fingers-0.npz").read_bytes()
    assert main(argv) == 0
    assert (tmp_path / "Fingers-0.npz").read_bytes() == before
    seeds = [Demonstration.load(tmp_path / f"Fingers-{n}.npz").settings["seed"] for n in (0, 1)]
    assert seeds == [0, 1]


def test_episodes_end_play_and_each_is_kept():
    env = gym.make("CartPole-v1", render_mode="rgb_array")
    played = record_person(env, 2, fps=5000, seed=3)
    assert [set(play.actions.tolist()) for play in played] == [{0}, {0}]
    assert [play.settings["seed"] for play in played] == [3, 4]
    for play in played:
        np.testing.assert_array_equal(replay(play), play.rewards)


def test_games_of_turns_wait_for_keys():
    made = []

    class Turns(gym.Wrapper):
        """Presses 0 (left) once and then 2 (right), counting pictures, as steps wait for it."""

        def render(self):
            made.append(None)
            presses = {5: (DOWN, pygame.K_0), 6: (UP, pygame.K_0), 11: (DOWN, pygame.K_2)}
            if len(made) in presses:
                kind, key = presses[len(made)]
                pygame.event.post(pygame.event.Event(kind, key=key))
            return self.env.render()

    env = Turns(gym.make("FrozenLake-v1", is_slippery=False, render_mode="rgb_array"))
    [play] = record_person(env, steps=3, fps=5000, wait=True)
    assert play.actions.tolist() == [0, 2, 2]


@pytest.mark.parametrize("game", ["Breakout", "Pong", "MsPacman", "Alien", "Frostbite"])
def test_keys_are_ale_pys_and_every_other_combination_loses_what_the_game_lacks(game):
    env = gym.make(f"MacroALE/{game}-v5", k=0).unwrapped
    keys = {frozenset(k): env.get_action_meanings()[action] for k, action in keys_of(env).items()}
    ale_py = {frozenset(k): action for k, action in env.get_keys_to_action().items()}
    del ale_py[frozenset("e")]
    for combination, action in ale_py.items():
        assert keys[combination] == env.get_action_meanings()[action]
    arrows = dict(
        zip("wasd", (pygame.K_UP, pygame.K_LEFT, pygame.K_DOWN, pygame.K_RIGHT), strict=True)
    )
    assert len(keys) == 2 * 17 - 1  # FIRE alone is on one key only.
    letters = {"UP": "w", "LEFT": "a", "DOWN": "s", "RIGHT": "d", "FIRE": " "}
    for combination, name in keys.items():
        if not combination & set(arrows.values()):
            assert keys[frozenset(arrows.get(key, key) for key in combination)] == name
            held = {part for part, key in letters.items() if key in combination}
            assert name == "NOOP" or {part for part in letters if part in name} <= held


def test_keys_of_other_environments_are_their_own_or_digits():
    assert keys_of(gym.make("CartPole-v1").unwrapped) == {("0",): 0, ("1",): 1}
    lander = gym.make("CartPole-v1").unwrapped
    lander.get_keys_to_action = lambda: {("z",): 1}
    assert keys_of(lander) == {("z",): 1}
    lander = gym.make("CartPole-v1").unwrapped
    lander.action_space = gym.spaces.Discrete(11)
    with pytest.raises(ActionSpaceError, match="has 11 actions and no get_keys_to_action"):
        keys_of(lander)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"fps": 0}, "fps is 0; it must be above 0"),
        ({"zoom": -1}, "zoom is -1; it must be above 0"),
    ],
)
def test_windows_that_cannot_be_are_refused(arguments, problem, monkeypatch):
    with pytest.raises(EnvironmentSettingError, match=problem):
        record_person(fingers(), **arguments)
    with pytest.raises(EnvironmentSettingError, match="must be made with 'rgb_array'"):
        record_person(gym.make("CartPole-v1"))
    pygame.display.init()
    monkeypatch.delenv("SDL_VIDEODRIVER")
    with pytest.raises(EnvironmentSettingError, match="there is no screen to play on"):
        record_person(fingers())


def test_without_pygame_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pygame", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'macro-gym\[play\]'"):
        record_person(fingers())


TOLD = """
import sys
from pathlib import Path
import gymnasium as gym
from macro_gym.atari import MacroAtariEnv
from macro_gym.cli import main

class Told(MacroAtariEnv):
    def step(self, action):
        if self.ale.getEpisodeFrameNumber() == 20:
            Path("told").touch()
        return super().step(action)

gym.register("Told-v0", entry_point=Told, kwargs={"game": "breakout", "k": 0})
sys.exit(main(["record", "Told-v0", "--output", "play"]))
"""


def test_ctrl_c_keeps_what_was_played_and_ends_cleanly(tmp_path):
    with open(tmp_path / "err", "wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-c", TOLD], stderr=err, cwd=tmp_path, start_new_session=True
        )
        until = time.monotonic() + 120
        while not (tmp_path / "told").exists() and time.monotonic() < until:
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        try:
            assert process.wait(timeout=60) == 0
        finally:
            process.kill()
    assert "Traceback" not in (tmp_path / "err").read_text()
    [path] = (tmp_path / "play").iterdir()
    play = Demonstration.load(path)
    assert len(play.actions) >= 5
    env = gym.make("MacroALE/Breakout-v5", k=0)
    np.testing.assert_array_equal(replay(play, env), play.rewards)


def test_random_play_is_recorded_extracted_and_replayed(tmp_path, capsys):
    folder = str(tmp_path / "play")
    argv = ["record", "MacroALE/Breakout-v5", "--output", folder, "--policy", "random"]
    assert main([*argv, "--steps", "150", "--frameskip", "3"]) == 0
    assert main([*argv, "--k", "5", "--settings", '{"repeat_action_probability": 0}']) == 0
    files = sorted((tmp_path / "play").iterdir())
    plays = [Demonstration.load(file) for file in files]
    assert [play.source for play in plays] == ["policy: random"] * len(plays)
    assert [play.settings["seed"] for play in plays] == list(range(len(plays)))
    assert plays[0].frameskip == 3
    assert plays[-1].settings["kwargs"]["repeat_action_probability"] == 0
    capsys.readouterr()
    for file in files:
        assert main(["replay", str(file)]) == 0
    assert capsys.readouterr().out.count("are as recorded") == len(files)
    extract = ["extract", str(files[-1]), "--k", "3", "--output", str(tmp_path / "macros.json")]
    assert main(extract) == 0
    assert MacroSet.load(tmp_path / "macros.json").provenance.steps == len(plays[-1].actions)


def test_an_id_is_all_that_a_recording_needs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    press(monkeypatch, {3: [(DOWN, pygame.K_ESCAPE)]})
    assert main(["record", "Fingers-v0"]) == 0
    assert main(["record", "MacroALE/Breakout-v5", "--steps", "5"]) == 0
    assert sorted(path.name for path in Path("play").iterdir()) == [
        "Breakout-0.npz",
        "Fingers-0.npz",
    ]


def test_the_same_seed_records_the_same_random_play(tmp_path):
    for name in "ab":
        argv = ["record", "ALE/Pong-v5", "--output", str(tmp_path / name), "--policy", "random"]
        assert main([*argv, "--steps", "60", "--seed", "5"]) == 0
    assert (tmp_path / "a/Pong-0.npz").read_bytes() == (tmp_path / "b/Pong-0.npz").read_bytes()


def test_a_function_of_a_module_can_play(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("my_policy.py").write_text("def lean(seen):\n    return int(seen[2] > 0)\n")
    argv = ["record", "CartPole-v1", "--output", "play", "--policy", "my_policy:lean"]
    assert main([*argv, "--episodes", "2"]) == 0
    play = Demonstration.load("play/CartPole-1.npz")
    assert play.source == "policy: my_policy:lean"
    np.testing.assert_array_equal(replay(play), play.rewards)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Untrained models: MASPDQN and DQN of Breakout with 7 and 11 macros, PPO of CartPole."""
    sb3 = pytest.importorskip("stable_baselines3")
    from sb3_masp import MASPDQN

    folder = tmp_path_factory.mktemp("models")
    small = {"device": "cpu", "buffer_size": 10, "seed": 1}
    macros = MacroSet(("NOOP", "LEFT", "RIGHT"), tuple((1,) * n for n in range(2, 9)))
    env = gym.make("MacroALE/Breakout-v5", macros=macros, obs_type="ram")
    MASPDQN("MlpPolicy", env, learning_starts=1, **small).save(folder / "masp.zip")
    env = gym.make("MacroALE/Breakout-v5", k=11, obs_type="ram")
    sb3.DQN("MlpPolicy", env, **small).save(folder / "dqn.zip")
    sb3.PPO("MlpPolicy", "CartPole-v1", device="cpu", seed=1).save(folder / "ppo.zip")
    return folder


RAM = ["--settings", '{"obs_type": "ram"}']


@pytest.mark.parametrize(
    ("model", "env", "options"),
    [
        ("masp", "MacroALE/Breakout-v5", RAM),
        ("dqn", "MacroALE/Breakout-v5", [*RAM, "--algorithm", "DQN"]),
        ("ppo", "CartPole-v1", ["--algorithm", "PPO", "--deterministic"]),
    ],
)
def test_models_are_recorded_with_the_macros_they_were_trained_with(
    model, env, options, models, tmp_path
):
    argv = ["record", env, "--output", str(tmp_path), "--model", str(models / f"{model}.zip")]
    assert main([*argv, *options, "--steps", "90"]) == 0
    for path in tmp_path.iterdir():
        play = Demonstration.load(path)
        assert play.source.endswith(f" {model}.zip")
        np.testing.assert_array_equal(replay(play), play.rewards)


def test_a_deterministic_model_plays_its_best_actions(models, tmp_path):
    from stable_baselines3 import PPO

    argv = ["record", "CartPole-v1", "--output", str(tmp_path), "--algorithm", "PPO"]
    argv += ["--model", str(models / "ppo.zip"), "--seed", "5", "--deterministic"]
    assert main(argv) == 0
    model, env = PPO.load(models / "ppo.zip", device="cpu"), gym.make("CartPole-v1")
    observation, _ = env.reset(seed=5)
    expected, over = [], False
    while not over:
        action, _ = model.predict(observation, deterministic=True)
        expected.append(int(action))
        observation, _, over, _, _ = env.step(action)
    assert Demonstration.load(tmp_path / "CartPole-0.npz").actions.tolist() == expected


def test_models_that_do_not_fit_are_refused_by_what_is_wrong(models, tmp_path, capsys):
    record = ["record", "MacroALE/Breakout-v5", "--output", tmp_path / "play", "--model"]
    dqn = [*record, models / "dqn.zip", "--algorithm"]
    assert "the model sees Box(0, 255, (128,)" in failed([*dqn, "DQN"], capsys)
    few = [*dqn, "DQN", *RAM, "--k", 3]
    assert "are Discrete(15), but those of MacroALE/Breakout-v5 are Dis" in failed(few, capsys)
    other = [*record, models / "masp.zip", *RAM, "--k", 7]
    assert "are Discrete(11) with other macros; give it the macros" in failed(other, capsys)
    assert "cannot be loaded as MASPDQN" in failed([*record, models / "dqn.zip"], capsys)
    assert "'DQM', a learner in none of sb3_masp," in failed([*dqn, "DQM"], capsys)
    ppo = [*record, models / "ppo.zip", "--algorithm", "PPO"]
    assert "actions are Discrete(2), but those of" in failed(ppo, capsys)
    assert "there is no model" in failed([*record, models / "none.zip"], capsys)
    assert "choose one" in failed([*dqn, "DQN", "--policy", "random"], capsys)
    assert list((tmp_path / "play").iterdir()) == []


def test_mistakes_are_one_line(tmp_path, capsys):
    def record(env, *words):
        return failed(["record", env, "--output", tmp_path, *words], capsys)

    assert "Chess-v0 cannot be made" in record("Chess-v0", "--policy", "random")
    assert "are Box(" in record("Pendulum-v1", "--policy", "random")
    assert "policy is 'chess'" in record("CartPole-v1", "--policy", "chess")
    assert "policy is 'os:chess'" in record("CartPole-v1", "--policy", "os:chess")
    assert "settings is '{mode}'" in record("CartPole-v1", "--settings", "{mode}")
    assert "episodes is 0" in record("CartPole-v1", "--policy", "random", "--episodes", "0")
    assert "nothing.npz" in failed(["replay", tmp_path / "nothing.npz"], capsys)
    assert list(tmp_path.iterdir()) == []


def test_other_rewards_than_recorded_are_said_out_loud(tmp_path, capsys):
    names, actions = ("NOOP", "FIRE"), np.array([1, 0, 0, 0, 0], np.uint8)
    rewards = np.array([0, 0, 0, 7, 1], np.float32)
    Demonstration(names, actions, rewards, "Breakout", 4).save(tmp_path / "a.npz")
    error = failed(["replay", tmp_path / "a.npz"], capsys)
    assert "NOT as recorded: step 3 of 5 paid 7, and now paid 0; the score was 8" in error
    assert "the file does not say with which seed" in error
    Demonstration(names, actions, None, "Breakout", 4).save(tmp_path / "b.npz")
    assert main(["replay", str(tmp_path / "b.npz")]) == 0
    assert "5 of 5 steps replayed, score 0; none was recorded" in capsys.readouterr().out


@pytest.fixture
def play(tmp_path):
    """17 steps of Breakout, no two screens of it alike, at the given frames a step."""

    def make(frameskip):
        path = tmp_path / "play.npz"
        actions = np.array([1] * 3 + [2] * 7 + [3] * 7, np.uint8)
        names = ("NOOP", "FIRE", "RIGHT", "LEFT")
        Demonstration(names, actions, None, "Breakout", frameskip).save(path)
        screens = []
        replay(Demonstration.load(path), on_screen=screens.append)
        return path, screens

    return make


def test_a_film_shows_the_start_and_every_step(play, tmp_path, capsys):
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    path, screens = play(4)
    film = tmp_path / "films/film.mp4"
    assert main(["replay", str(path), "--video", str(film), "--zoom", "3"]) == 0
    assert f"{film}  18 screens" in capsys.readouterr().out
    as_bytes = [ffmpeg.get_ffmpeg_exe(), "-i", film, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    read_back = subprocess.run(as_bytes, capture_output=True, check=True)
    assert b", 480x630, " in read_back.stderr
    assert b", 15 fps, " in read_back.stderr
    read = np.frombuffer(read_back.stdout, np.uint8).reshape(-1, 630, 480, 3)
    assert len(read) == len(screens) == 18
    for picture, screen in zip(read, screens, strict=True):
        gap = np.abs(picture[1::3, 1::3].astype(float) - screen)
        assert gap.mean() < 4  # Lossy; the paddle moves by far more than that.
    assert [item.name for item in film.parent.iterdir()] == ["film.mp4"]


@pytest.mark.parametrize(("frameskip", "shown", "delay"), [(4, 18, 60), (1, 9, 30)])
def test_a_gif_shows_them_too_but_no_more_than_viewers_can(frameskip, shown, delay, play, tmp_path):
    image = pytest.importorskip("PIL.Image")
    path, screens = play(frameskip)
    assert main(["replay", str(path), "--video", str(tmp_path / "film.gif"), "--zoom", "1"]) == 0
    expected = screens if frameskip == 4 else screens[::2]
    assert len(expected) == shown
    with image.open(tmp_path / "film.gif") as gif:
        at = 0
        for n in range(gif.n_frames):
            gif.seek(n)
            picture = np.asarray(gif.convert("RGB"), dtype=float)
            assert np.abs(picture - expected[at]).mean() < 4
            # Screens that are alike are one picture for longer.
            at += round(gif.info["duration"] / (1000 / (60 / frameskip if frameskip > 1 else 30)))
            assert gif.info["duration"] >= delay
    assert at == shown


def test_a_film_that_fails_leaves_the_old_one(tmp_path):
    pytest.importorskip("imageio")
    (tmp_path / "film.gif").write_bytes(b"old")
    screens = iter([np.zeros((6, 4, 3), np.uint8), "no screen"])
    with (
        pytest.raises(AttributeError, match="repeat"),
        video(tmp_path / "film.gif", 15) as add,
    ):
        any(add(screen) for screen in screens)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["film.avi"], "film.avi is no video to write; it must end in .mp4 or .gif"),
        (["film.mp4", "--zoom", 0], "zoom is 0"),
        (["film.mp4", "--fps", -1], "fps -1"),
        (["film.mp4", "--fps", 0], "fps 0"),
    ],
)
def test_films_that_cannot_be_are_refused(words, problem, play, tmp_path, capsys):
    path, _ = play(4)
    assert problem in failed(["replay", path, "--video", *words], capsys)
    assert not list(tmp_path.glob("film*"))


def test_a_pace_without_a_film_is_refused(play, capsys):
    path, _ = play(4)
    for fps in (0, 30):
        error = failed(["replay", path, "--fps", fps], capsys)
        assert f"fps is {fps}.0, but no film is to be made; give --video" in error


def test_suffixes_of_films_may_be_large(play, tmp_path):
    image = pytest.importorskip("PIL.Image")
    path, _ = play(4)
    assert main(["replay", str(path), "--video", str(tmp_path / "film.GIF")]) == 0
    with image.open(tmp_path / "film.GIF") as gif:
        assert gif.format == "GIF"
        assert gif.n_frames > 1


def test_without_imageio_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with (
        pytest.raises(MissingDependencyError, match=r"pip install 'macro-gym\[video\]'"),
        video(tmp_path / "film.mp4", 15),
    ):
        pass


@pytest.mark.parametrize("command", ["record", "replay"])
def test_the_commands_explain_themselves(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    assert "usage: macro-gym" in capsys.readouterr().out
