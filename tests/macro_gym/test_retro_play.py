"""From the planner's play of a stable-retro game to an environment with macros mined from it."""

import gymnasium as gym
import numpy as np
import pytest

import macro_gym  # noqa: F401  # registers the ids
from macro_gym import MacroSet
from macro_gym.cli import main
from macro_gym.demonstrations import Demonstration, PlannerSettings, plan_episode
from macro_gym.demonstrations.retro_sandbox import RetroGame
from macro_gym.errors import DemonstrationError
from macro_gym.play import plan_play

AIRSTRIKER = "Airstriker-Genesis-v0"
GAME = RetroGame(AIRSTRIKER, buttons=("NOOP", "B", "LEFT"))
TINY = PlannerSettings(trials=2, horizon=9, commit=3, steps=11, holds=(1, 2))


def played(folder, game=GAME, **options):
    return plan_play(game, folder, 22, settings=TINY, seed=3, progress_bar=False, **options)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def play(tmp_path_factory):
    """Two episodes, planned by one process, one after the other."""
    folder = tmp_path_factory.mktemp("play")
    paths = played(folder)
    assert paths == [folder / f"{AIRSTRIKER}-{seed}.npz" for seed in (3, 4)]
    assert set(paths) == set(folder.iterdir())
    return folder


def test_more_workers_make_the_same_files_each_with_an_emulator_of_its_own(play, tmp_path):
    played(tmp_path, workers=2)
    assert contents(tmp_path) == contents(play)


def test_each_file_is_the_episode_of_its_seed(play):
    stored = Demonstration.load(play / f"{AIRSTRIKER}-4.npz")
    alone = plan_episode(GAME, TINY, 4)
    np.testing.assert_array_equal(stored.actions, alone.actions)
    assert (stored.source, stored.settings) == (alone.source, alone.settings)


def test_play_with_other_buttons_is_not_taken_for_this(play):
    other = RetroGame(AIRSTRIKER, buttons=("NOOP", "RIGHT"))
    message = r"holds other play .*buttons=NOOP B LEFT\) than is asked for .*buttons=NOOP RIGHT\)"
    with pytest.raises(DemonstrationError, match=message):
        played(play, other)


def test_the_commands_lead_from_a_game_to_an_environment_with_its_macros(tmp_path, capsys):
    folder, bank = tmp_path / "play", tmp_path / "macros.json"
    plan = ["plan", f"MacroRetro/{AIRSTRIKER}", "--output", folder, "--steps", "60"]
    plan += ["--episode-steps", "60", "--trials", "1", "--state", "Level1"]
    plan += ["--buttons", "NOOP", "B", "LEFT", "RIGHT+B"]
    assert main([str(word) for word in plan]) == 0
    assert "60 steps  score" in capsys.readouterr().out
    assert main(["replay", str(folder / f"{AIRSTRIKER}-0.npz")]) == 0
    assert "the rewards of all 60 steps are as recorded" in capsys.readouterr().out
    assert main(["extract", str(folder), "--output", str(bank), "--k", "7"]) == 0
    mined = MacroSet.load(bank)
    assert len(mined.macros) == 7
    assert (mined.provenance.game, mined.provenance.frameskip) == (AIRSTRIKER, 4)
    env = gym.make(f"MacroRetro/{AIRSTRIKER}", macros=str(bank))
    try:
        assert env.get_wrapper_attr("get_action_meanings")()[4:] == list(mined.names[4:])
        env.reset(seed=0)
        assert env.step(env.action_space.n - 1)[4]["duration"] == len(mined.macros[-1])
    finally:
        env.close()


@pytest.mark.parametrize(
    "option", [("--state", "Level1"), ("--scenario", "scenario"), ("--buttons", "NOOP", "B")]
)
def test_options_of_stable_retro_are_refused_for_an_atari_game(tmp_path, capsys, option):
    assert main(["plan", "Breakout", "--output", str(tmp_path), *option]) == 2
    message = "--state, --scenario and --buttons are for games of stable-retro, but Breakout is one"
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Airstriker", "player. Did you mean Airstriker-Genesis-v0?\n"),
        ("brekout", "player. Did you mean breakout?\n"),
        ("qqqqq", "player. It has adventure, "),
    ],
)
def test_games_spelled_like_an_unknown_one_are_named_or_else_all(tmp_path, capsys, name, said):
    assert main(["plan", name, "--output", str(tmp_path)]) == 2
    assert said in capsys.readouterr().err
