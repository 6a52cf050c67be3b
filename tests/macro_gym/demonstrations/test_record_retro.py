"""macro-gym record of MacroRetro's games: a policy or a person, as recordings and as movies."""

from contextlib import closing

import gymnasium as gym
import numpy as np
import pytest

from macro_gym import MacroSet
from macro_gym.cli import main
from macro_gym.demonstrations import Demonstration, record, replay
from macro_gym.demonstrations.movies import load_checks, load_movie
from macro_gym.demonstrations.person import keys_of
from macro_gym.demonstrations.replay_movie import replay_movie
from macro_gym.errors import DemonstrationError
from macro_gym.retro import MacroRetroEnv

pygame = pytest.importorskip("pygame")
GAME = "Airstriker-Genesis-v0"
MOVIE = f"{GAME}-Level1-000000.bk2"
DOWN, UP = pygame.KEYDOWN, pygame.KEYUP


class Fingers(MacroRetroEnv):
    """Airstriker, and a person's fingers: what happens to keys while the n-th step runs."""

    presses = {2: [(DOWN, pygame.K_LEFT), (DOWN, pygame.K_x)], 5: [(UP, pygame.K_LEFT)]}  # noqa: RUF012

    def __init__(self, **kwargs):
        super().__init__(GAME, k=0, **({"buttons": "all"} | kwargs))
        self.at = 0

    def step(self, action):
        for kind, key in self.presses.get(self.at, ()):
            pygame.event.post(pygame.event.Event(kind, key=key))
        self.at += 1
        return super().step(action)


gym.register("FingersRetro-v0", entry_point=Fingers)


def test_a_policys_play_is_kept_and_filmed_and_both_go_again_as_they_went(tmp_path, capsys):
    argv = ["record", f"MacroRetro/{GAME}", "--output", str(tmp_path / "play"), "--policy"]
    argv += ["random", "--steps", "29", "--seed", "7", "--movies", str(tmp_path / "movies")]
    assert main(argv) == 0
    [path] = (tmp_path / "play").iterdir()
    play = Demonstration.load(path)
    assert (len(play.actions), play.frameskip, play.settings["seed"]) == (29, 4, 7)
    assert "record" not in play.settings["kwargs"]
    capsys.readouterr()
    assert main(["replay", str(path)]) == 0
    assert "the rewards of all 29 steps are as recorded" in capsys.readouterr().out
    movie = tmp_path / "movies" / MOVIE
    assert len(load_movie(movie).held) == 1 + 29 * 4
    assert replay_movie(movie).departed is None
    assert [*(tmp_path / "movies").iterdir()] == [movie]  # Replaying records nothing.
    assert replay(play).sum() == play.score


PAIRS = ("NOOP|NOOP", "UP+B|NOOP", "NOOP|UP+B", "UP+B|UP+B")


@pytest.mark.parametrize(
    ("names", "given", "stored"),
    [
        # None of the bank's combinations but two; of two players, all pairs or only some.
        (("NOOP", "UP+B", "LEFT"), {}, ("NOOP", "LEFT", "UP+B")),
        (("LEFT", "UP+B"), {"buttons": ["UP+B", "LEFT", "DOWN"]}, ("UP+B", "LEFT", "DOWN")),
        (PAIRS, {"players": 2}, ("NOOP", "UP+B")),
        (("NOOP|UP+B", "UP+B|LEFT"), {"players": 2}, "all"),
    ],
)
def test_play_is_replayed_with_the_buttons_that_its_macros_brought(tmp_path, names, given, stored):
    macros = MacroSet(names, ((0, 1, 1), (1, 0)))
    frames = {"max_num_frames_per_episode": 120}
    with closing(gym.make(f"MacroRetro/{GAME}", macros=macros, **given, **frames)) as env:
        last = int(env.action_space.n) - 1
        [play] = record(env, lambda _: last, episodes=1, seed=3)
    played = {play.primitives[action] for action in play.actions}
    assert (len(play.actions), played) == (30, set(names[:2]))
    assert play.settings["kwargs"]["buttons"] in (stored, list(stored))
    play.save(tmp_path / "play.npz")
    np.testing.assert_array_equal(replay(Demonstration.load(tmp_path / "play.npz")), play.rewards)


@pytest.mark.parametrize(
    ("names", "options", "error"),
    [(("NOOP", "A"), None, DemonstrationError), (("NOOP",), {"frame": 3}, ValueError)],
)
def test_an_environment_made_for_a_replay_that_cannot_begin_is_closed(
    monkeypatch, names, options, error
):
    def refuse(self, *, seed=None, options=None):
        raise ValueError(f"options are {options}")

    monkeypatch.setattr(MacroRetroEnv, "reset", refuse)
    kwargs = {"k": 0, "buttons": ["NOOP", "B"]}
    settings = {"id": f"MacroRetro/{GAME}", "kwargs": kwargs, "options": options}
    actions = np.arange(len(names), dtype=np.uint8)
    play = Demonstration(names, actions, game=GAME, frameskip=4, settings=settings)
    # The error, as long as it is kept, keeps the environment.
    with pytest.raises(error, match=r"lacks: A|options are \{'frame': 3\}") as kept:
        replay(play)
    MacroRetroEnv(GAME, k=0).close()
    assert kept.value is not None


def test_a_recording_becomes_a_movie_when_it_is_replayed(tmp_path, capsys):
    argv = ["record", f"MacroRetro/{GAME}", "--policy", "random", "--steps", "17", "--seed", "3"]
    argv += ["--movies", str(tmp_path / "then"), "--output", str(tmp_path / "play")]
    assert main(argv) == 0
    [path] = (tmp_path / "play").iterdir()
    assert main(["replay", str(path), "--movies", str(tmp_path / "now")]) == 0
    then, now = (tmp_path / folder / MOVIE for folder in ("then", "now"))
    np.testing.assert_array_equal(load_movie(then).held, load_movie(now).held)
    assert load_checks(then) == load_checks(now)
    assert main(["replay", str(now), "--movies", str(tmp_path)]) == 2
    assert "is a movie already; leave --movies out" in capsys.readouterr().err
    Demonstration(("NOOP",), np.zeros(2, np.uint8), game="Pong", frameskip=4).save(path)
    assert main(["replay", str(path), "--movies", str(tmp_path)]) == 2
    assert "recordings of MacroRetro's games, and this is of ALE/Pong-v5" in capsys.readouterr().err


def test_what_a_person_presses_is_played_and_recorded(tmp_path, monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    argv = ["record", "FingersRetro-v0", "--output", str(tmp_path / "play"), "--steps", "9"]
    argv += ["--movies", str(tmp_path / "movies"), "--fps", "500"]
    assert main([*argv, "--settings", '{"repeat_action_probability": 0}']) == 0
    [path] = (tmp_path / "play").iterdir()
    play = Demonstration.load(path)
    pressed = [*["NOOP"] * 3, *["LEFT+B"] * 3, *["B"] * 3]
    assert [play.primitives[action] for action in play.actions] == pressed
    names, frames = load_movie(tmp_path / "movies" / MOVIE).combinations(0)
    assert [names[frame] for frame in frames] == np.repeat(pressed, 4).tolist()


def test_keys_are_those_of_stable_retro_and_hold_as_much_as_the_game_allows():
    with closing(MacroRetroEnv(GAME, k=0, buttons="all")) as env:
        named = env.get_action_meanings()
        keys = {frozenset(held): named[action] for held, action in keys_of(env).items()}
    left, up, right = pygame.K_LEFT, pygame.K_UP, pygame.K_RIGHT
    for held, name in [
        ((left,), "LEFT"),
        ((up, right, "x"), "UP+RIGHT+B"),
        (("x", "c"), "B+C"),
        (("d",), "Z"),
        (("z", "c"), "A"),  # Of A+C, which the game does not allow.
        (("x", "z", "c"), "B+A"),
        ((left, right), None),
    ]:
        assert keys.get(frozenset(held)) == name
    with closing(MacroRetroEnv(GAME, k=0, players=2, buttons=["NOOP", "RIGHT", "B"])) as env:
        named = env.get_action_meanings()
        keys = {frozenset(held): named[action] for held, action in keys_of(env).items()}
    assert keys[frozenset({right})] == "RIGHT|NOOP"
    assert keys[frozenset({left, "x"})] == "B|NOOP"
