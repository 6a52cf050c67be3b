"""macro-gym record and replay: random play, policies and models, on the real emulator."""

import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

import macro_gym  # noqa: F401
from macro_gym import MacroSet
from macro_gym.cli import main
from macro_gym.demonstrations import Demonstration, replay
from tests.macro_gym.commands import failed


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


def test_what_a_module_registers_is_replayed_once_the_user_names_the_module(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    registers = "from gymnasium.envs.registration import register\n"
    entry_point = '"gymnasium.envs.toy_text.taxi:TaxiEnv"'
    Path("my_envs.py").write_text(f"{registers}register('Cab-v0', entry_point={entry_point})\n")
    argv = ["record", "my_envs:Cab-v0", "--output", "play", "--policy", "random"]
    assert main([*argv, "--steps", "7"]) == 0
    monkeypatch.delitem(sys.modules, "my_envs")
    monkeypatch.delitem(gym.registry, "Cab-v0")
    error = failed(["replay", "play/Cab-0.npz"], capsys)
    assert "Cab` doesn't exist. Does a module register it? Then import that first" in error
    assert "replay --module MODULE" in error
    error = failed(["replay", "play/Cab-0.npz", "--module", "our_envs"], capsys)
    assert "module is 'our_envs', which cannot be imported (No module named" in error
    assert main(["replay", "play/Cab-0.npz", "--module", "my_envs"]) == 0
    assert "the rewards of all 7 steps are as recorded" in capsys.readouterr().out


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
    for env, settings, why in [
        ("no:Chess-v0", "{}", "no:Chess-v0 cannot be made with {}: ModuleNotFoundError: No module"),
        ("ALE/Pong-v5", '{"mode": 99}', "RuntimeError: Invalid game mode requested"),
        ("FrozenLake-v1", '{"map_name": "9x9"}', "KeyError: '9x9'"),
        ("MacroALE/Pong-v5", '{"mode": 99}', "mode is 99, but pong has only 0, 1"),
    ]:
        assert why in record(env, "--policy", "random", "--settings", settings)
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


@pytest.mark.parametrize("command", ["record", "replay"])
def test_the_commands_explain_themselves(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    assert "usage: macro-gym" in capsys.readouterr().out
