"""examples/street_fighter.py: its rewards, its count of rounds, and all of it on Airstriker."""

import importlib.util
import json
import math
from pathlib import Path

import numpy as np
import pytest
import stable_retro

from macro_gym.banks.street_fighter import GAME
from macro_gym.macro_set import MacroSet
from macro_gym.retro import MacroRetroEnv
from macro_gym.retro_games import integration
from sb3_masp.evaluation import Evaluation
from sb3_masp.run import _about, _write_json

EXAMPLES = Path(__file__).parents[1] / "examples"
AIRSTRIKER = "Airstriker-Genesis-v0"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("street_fighter", EXAMPLES / "street_fighter.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def fight():
    """A console with Street Fighter's variables in its memory, in which another game runs.

    Returns what the frames pay after which health and the enemy's are as told, in health points.
    """
    variables = integration(GAME).folder / "data.json"
    env = stable_retro.RetroEnv(
        AIRSTRIKER,
        info=str(variables),
        scenario=str(EXAMPLES / "street_fighter_health.json"),
        render_mode=None,
    )
    env.reset()
    nothing = np.zeros(12, np.int8)

    def pays(healths):
        paid = []
        for own, enemy in healths:
            env.data.set_value("health", own)
            env.data.set_value("enemy_health", enemy)
            _, reward, *_, info = env.step(nothing)
            assert (info["health"], info["enemy_health"]) == (own, enemy)
            paid.append(reward * 177)
        return paid

    pays.env = env
    yield pays
    env.close()


def test_health_pays_what_the_enemy_loses_less_what_the_player_loses(fight):
    healths = [(176, 176), (176, 163), (176, 163), (153, 163), (147, 144), (140, 137)]
    assert fight(healths) == pytest.approx([0, 13, 0, -23, 19 - 6, 7 - 7], abs=1e-4)


def test_a_knockout_pays_the_rest_of_a_whole_bar_however_hard_the_blow(fight):
    for last in (-1, -27):
        won = fight([(0, 0), (176, 176), (150, 11), (150, last)])
        assert won[-1] == pytest.approx(11 + 1, abs=1e-4)
        lost = fight([(0, 0), (176, 176), (0, 90), (last, 90)])
        assert lost[-2:] == pytest.approx([86 - 176, -1], abs=1e-4)
    both = fight([(0, 0), (176, 176), (20, 30), (-4, -9)])
    assert both[-1] == pytest.approx(31 - 21, abs=1e-4)


def test_nothing_between_rounds_is_paid_neither_after_a_knockout_nor_when_time_is_up(fight):
    cheering, blank, refilled = [(131, -5)] * 3, [(0, 0)] * 2, [(176, 176)] * 2
    assert fight([(131, 7), (131, -5)])[-1] == pytest.approx(8, abs=1e-4)
    assert fight(cheering + blank + refilled) == [0] * 7
    time_up = [(90, 44)]
    assert fight(time_up + blank + refilled) == pytest.approx([132 - 86, 0, 0, 0, 0], abs=1e-4)
    bumped_off_after_the_end = [(131, -5), (120, -5)]
    assert fight(bumped_off_after_the_end)[-1] == 0


def test_an_episode_begins_without_memory_of_the_last_one(fight):
    fight([(176, 176), (100, 3)])
    fight.env.reset()
    assert fight([(60, 2), (59, 2)]) == pytest.approx([0, -1], abs=1e-4)


def test_a_scenario_with_the_script_pays_in_the_frame_also_after_going_back(tmp_path):
    """Airstriker's lives and score in the place of the player's health and the enemy's."""
    for source, ending in (("street_fighter_health.lua", "lua"), ("scenario.json", "json")):
        folder = EXAMPLES if ending == "lua" else integration(AIRSTRIKER).folder
        text = (folder / source).read_text().replace("enemy_health", "score")
        (tmp_path / f"lives.{ending}").write_text(text.replace("health", "lives"))
    scenario = json.loads((tmp_path / "lives.json").read_text())
    scenario |= {"reward": {"script": "lua:lives_difference"}, "scripts": ["lives.lua"]}
    (tmp_path / "lives.json").write_text(json.dumps(scenario))
    env = MacroRetroEnv(AIRSTRIKER, k=0, scenario=str(tmp_path / "lives.json"), obs_type="ram")
    env.reset(seed=1)
    lives, rewards, over = [3], [], False
    while not over:
        if len(rewards) % 53 == 0:
            saved = env._emulator.save()
            env.retro_env.data.set_value("lives", 7)
            env.step(0)
            env._emulator.restore(saved)
        _, reward, over, _, info = env.step(0)
        rewards.append(reward)
        lives.append(info["lives"])
    env.close()
    lost = -np.diff(lives)
    assert lost.sum() == 3
    assert info["score"] == 0
    lost[np.flatnonzero(lost)[-1]] = 0  # with neither lives nor score it is as between rounds
    np.testing.assert_allclose(rewards, -lost / 177, atol=1e-7)


def test_the_scenario_differs_from_the_integrations_by_the_reward_only():
    shipped = json.loads(integration(GAME).scenario_file().read_text())
    ours = json.loads((EXAMPLES / "street_fighter_health.json").read_text())
    for content in (shipped, ours):
        del content["reward"]
    assert ours.pop("scripts") == ["street_fighter_health.lua"]
    assert ours == shipped


def infos(*counters):
    return [{"matches_won": won, "enemy_matches_won": lost, "score": 7} for won, lost in counters]


@pytest.mark.parametrize(
    ("counters", "won", "lost"),
    [
        ([(0, 0)], 0, 0),
        ([(0, 0), (0, 0), (1, 0), (1, 0), (2, 0)], 2, 0),
        ([(0, 0), (0, 1), (1, 1), (1, 2), (1, 2)], 1, 2),
        ([(0, 0), (1, 0), (2, 0), (0, 0), (0, 1), (0, 2)], 2, 2),
        ([(0, 0), (1, 1), (2, 1)], 2, 1),
        ([(1, 1), (1, 1), (2, 1), (0, 0), (1, 0)], 2, 0),
    ],
)
def test_rounds_are_counted_where_a_counter_rises(example, counters, won, lost):
    assert example.count_rounds(infos(*counters)) == example.Rounds(won, lost)


def test_the_win_rate_is_of_decided_rounds_with_an_interval_over_episodes(example):
    scores = Evaluation((1.0, 2.0, 3.0), (10, 11, 13), 0.0)
    rounds = (example.Rounds(2, 2), example.Rounds(0, 2), example.Rounds(7, 2))
    verdict = example.Verdict(scores, rounds)
    assert verdict.win_rate == 9 / 15
    low, high = verdict.interval
    assert low == 0 < 9 / 15 < high == 7 / 9
    assert example.statement(verdict).startswith("won 9 of 15 rounds, 60.0% [0.0%, 77.8%]; score 2")
    assert math.isnan(example.Verdict(scores, ()).win_rate)
    assert example.statement(example.Verdict(scores, ())).startswith("score 2.0 [")


def test_where_no_round_was_decided_it_says_so(example):
    scores = Evaluation((1.0, 3.0), (10, 11), 0.0)
    for rounds in ((), (example.Rounds(0, 0), example.Rounds(0, 0))):
        verdict = example.Verdict(scores, rounds)
        assert all(map(math.isnan, (verdict.win_rate, *verdict.interval)))
    assert example.statement(verdict).startswith("no round was decided; score 2.0 [")


def test_without_the_rom_it_says_which_one_is_wanted(example):
    if integration(GAME).rom is None:
        with pytest.raises(example.MacroGymError, match="a5aad1d108046d9388e33247610dafb4c6516e0b"):
            example.main(example.Settings())


def test_the_reward_by_health_is_refused_for_games_that_it_does_not_know(example):
    with pytest.raises(example.MacroGymError, match=r"--reward health .* the game is Airstriker-"):
        example.main(example.Settings(game="Airstriker-Genesis", reward="health"))


@pytest.mark.parametrize("algorithm", ["masp-dqn", "masp-qrdqn", "masp-rainbow", "rainbow", "dqn"])
def test_every_algorithm_takes_the_settings(example, algorithm):
    settings = example.Settings(algorithm=algorithm, reward="health", seeds=(3, 5))
    first, second = example.configs(settings)
    assert (first.seed, second.seed) == (3, 5)
    assert first.folder != second.folder
    assert first.options == {"scenario": str(EXAMPLES / "street_fighter_health.json")}
    assert first.learner_kwargs["clip_rewards"] is False


@pytest.fixture
def begun(example, tmp_path):
    """Settings, with a macro set, of a run of which there is the configuration and a model."""
    macros = tmp_path / "macros.json"
    MacroSet(("NOOP", "LEFT", "B"), ((1, 1, 1), (2, 0))).save(macros)
    settings = example.Settings(
        game=AIRSTRIKER, macros=macros, seeds=(2, 3), output=tmp_path / "runs", video=False
    )
    folder = settings.folder / "seed3"
    _write_json(folder / "config.json", _about(example.configs(settings)[1]))
    (folder / "model.zip").write_bytes(b"precious")
    yield settings
    assert (folder / "model.zip").read_bytes() == b"precious"
    assert not (settings.folder / "seed2").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"frames": 7}, "frames was 20000000 and is 7."),
        ({"k": 1}, "k was None and is 1."),
        ({"state": "Level2"}, "options was {} and is {'state': 'Level2'}."),
        ({"n_envs": 5, "macros": None}, "macros was .*macros.json and is None; n_envs was 8 and"),
    ],
)
def test_a_run_that_was_begun_with_other_settings_is_refused_before_any(
    example, begun, changes, said, monkeypatch
):
    monkeypatch.setattr(example, "train", lambda config: pytest.fail(f"trained {config.folder}"))
    with pytest.raises(example.run.RunError, match="seed3 was started with other .*" + said):
        example.main(example.replace(begun, **changes))


def test_a_run_of_another_game_or_other_macros_in_the_file_is_refused(example, begun):
    of_its_own = example.configs(begun)[1]
    example.require_same(of_its_own)
    with pytest.raises(example.run.RunError, match=f"env was MacroRetro/{AIRSTRIKER} and is "):
        example.require_same(example.replace(of_its_own, env=f"MacroRetro/{GAME}"))
    otherwise = example.replace(of_its_own.learner, double_q=False)
    with pytest.raises(example.run.RunError, match="settings: double_q was True and is False"):
        example.require_same(example.replace(of_its_own, learner=otherwise))
    MacroSet(("NOOP", "LEFT", "B"), ((1, 1), (2, 0))).save(begun.macros)
    with pytest.raises(example.run.RunError, match=r"files was {'macros': .* and is {'macros'"):
        example.require_same(of_its_own)


def test_a_smoke_run_has_folders_of_its_own(example):
    smoke, full = (example.Settings(smoke=smoke).folder for smoke in (True, False))
    assert (smoke.name, full.name) == ("masp-dqn-score-smoke", "masp-dqn-score")


def test_all_of_it_runs_on_the_game_that_ships_and_goes_on_where_it_was(example, tmp_path, capsys):
    settings = example.Settings(game=AIRSTRIKER, k=0, seeds=(3,), output=tmp_path, smoke=True)
    example.main(settings)
    results = json.loads((tmp_path / "masp-dqn-score-smoke.json").read_text())
    assert list(results) == ["seed 3, trained", "seed 3, random"]
    assert all(len(result["score"]["scores"]) == 2 for result in results.values())
    folder = tmp_path / "masp-dqn-score-smoke"
    assert {path.name for path in tmp_path.iterdir()} == {folder.name, f"{folder.name}.json"}
    assert len(list(folder.glob("seed3/video/*.mp4"))) == 1
    capsys.readouterr()
    trained = (folder / "seed3" / "model.zip").stat().st_mtime_ns
    example.main(example.replace(settings, video=False))
    assert (folder / "seed3" / "model.zip").stat().st_mtime_ns == trained
    assert capsys.readouterr().out.count("over 2 episodes") == 2
    assert json.loads((tmp_path / "masp-dqn-score-smoke.json").read_text()) == results
