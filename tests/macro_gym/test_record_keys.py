"""macro-gym record as a person uses it: keys that are pressed while the real emulator runs."""

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
from macro_gym.atari import MacroAtariEnv
from macro_gym.cli import main
from macro_gym.demonstrations import Demonstration, record_person, replay
from macro_gym.demonstrations.person import keys_of
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


def test_an_id_is_all_that_a_recording_needs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    press(monkeypatch, {3: [(DOWN, pygame.K_ESCAPE)]})
    assert main(["record", "Fingers-v0"]) == 0
    assert main(["record", "MacroALE/Breakout-v5", "--steps", "5"]) == 0
    assert sorted(path.name for path in Path("play").iterdir()) == [
        "Breakout-0.npz",
        "Fingers-0.npz",
    ]
