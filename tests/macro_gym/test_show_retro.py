"""Macros of stable-retro's games, filmed frame by frame as they were played."""

import numpy as np
import pytest
import stable_retro
from PIL import Image

from macro_gym import MacroSet, Provenance, report
from macro_gym.demonstrations import PlannerSettings, plan_episode
from macro_gym.demonstrations.replay import replay
from macro_gym.demonstrations.retro_sandbox import RetroGame
from macro_gym.errors import EnvironmentSettingError, MissingRomError

AIRSTRIKER = "Airstriker-Genesis-v0"
NAMES = ("NOOP", "LEFT", "RIGHT", "RIGHT+B")
CONSOLE = ["B", "A", "MODE", "START", "UP", "DOWN", "LEFT", "RIGHT", "C", "Y", "X", "Z"]


def macros(*sequences, names=NAMES, game=AIRSTRIKER):
    return MacroSet(names, sequences, provenance=Provenance(game=game, frameskip=4))


def screens_in_retro_env(names):
    """The screen after each frame of steps, four frames long: the naive reference."""
    env = stable_retro.RetroEnv(
        AIRSTRIKER, use_restricted_actions=stable_retro.Actions.ALL, render_mode="rgb_array"
    )
    try:
        screens = [env.reset()[0]]
        for name in names:
            row = np.array([button in name.split("+") for button in CONSOLE], np.uint8)
            screens += [env.step(row)[0].copy() for _ in range(4)]
        return screens
    finally:
        env.close()
        del env


def pictures(path):
    """A picture of each frame: equal ones after each other are one in the file that lasts longer.

    A frame lasts 20 ms, the first and the last 600 ms.
    """
    found = []
    with Image.open(path) as animation:
        for index in range(animation.n_frames):
            animation.seek(index)
            lasts = animation.info["duration"]
            times = lasts // 20 if lasts < 600 else 1 + (lasts - 600) // 20
            found += [np.array(animation.convert("RGB"))] * times
    return found


def assert_near(found, screens):
    """A Genesis has more colours than a GIF's picture, so that some are near ones."""
    assert len(found) == len(screens)
    for picture, screen in zip(found, screens, strict=True):
        gap = np.abs(picture[: 2 * len(screen) : 2, ::2].astype(int) - screen).max(axis=2)
        assert np.mean(gap > 24) < 0.0005


def test_a_macro_is_filmed_where_it_was_played(tmp_path):
    settings = PlannerSettings(trials=0, rescue_trials=0, steps=90, holds=(3,))
    play = plan_episode(RetroGame(AIRSTRIKER, buttons=NAMES), settings, 1)
    at = 71
    macro = tuple(play.actions[at : at + 5].tolist())
    words = report.animate(macros(macro), 1, tmp_path / "a.gif", [play])
    first = next(i for i in range(60, 90) if tuple(play.actions[i : i + 5].tolist()) == macro)
    assert words == f"after step {first} of episode 1 of the play, as played there"
    played = [NAMES[action] for action in play.actions[: first + 5]]
    assert_near(pictures(tmp_path / "a.gif"), screens_in_retro_env(played)[4 * first :])


def test_sticky_actions_of_the_play_are_kept_though_the_macro_needs_other_buttons(tmp_path):
    settings = PlannerSettings(
        trials=0, rescue_trials=0, steps=60, holds=(1,), repeat_action_probability=0.7
    )
    play = plan_episode(RetroGame(AIRSTRIKER, buttons=("NOOP", "LEFT+B")), settings, 1)
    words = report.animate(macros((2, 3)), 1, tmp_path / "a.gif", [play])
    assert words == "after step 60 of episode 1 of the play, though not played there"
    found, screens = pictures(tmp_path / "a.gif"), []
    assert len(found) == 2 * 4 + 1
    assert replay(play, on_screen=screens.append).tolist() == play.rewards.tolist()
    assert_near(found[:1], [screens[60]])


def test_without_play_the_game_is_begun_with_noops(tmp_path):
    words = report.animate(macros((1, 1), (3, 2, 2)), 2, tmp_path / "a.gif")
    assert words == "after NOOP and 59 NOOPs"
    played = [*["NOOP"] * 60, "RIGHT+B", "RIGHT", "RIGHT"]
    assert_near(pictures(tmp_path / "a.gif"), screens_in_retro_env(played)[4 * 60 :])


def test_what_cannot_be_filmed_is_refused(tmp_path):
    other = macros((0, 1), names=("NOOP", "FIRE"))
    with pytest.raises(EnvironmentSettingError, match="holds 'FIRE', but the console's buttons"):
        report.animate(other, 1, tmp_path / "a.gif")
    with pytest.raises(MissingRomError, match="its ROM is not there"):
        report.animate(macros((1, 1), game="SonicTheHedgehog-Genesis-v0"), 1, tmp_path / "a.gif")
    assert list(tmp_path.iterdir()) == []
