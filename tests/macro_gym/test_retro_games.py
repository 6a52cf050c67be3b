"""What is known of a game of stable-retro without importing it or having its ROM."""

import json
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import pytest
import stable_retro

import macro_gym  # noqa: F401  # registers the ids
from macro_gym.errors import (
    EnvironmentSettingError,
    MissingDependencyError,
    MissingRomError,
    UnknownGameError,
)
from macro_gym.retro_games import (
    _package_folder,
    integration,
    is_moved_by_variables,
    retro_games,
)

STREET_FIGHTER = "StreetFighterIISpecialChampionEdition-Genesis-v0"


def test_every_game_of_stable_retro_has_an_id():
    games = stable_retro.data.list_games(stable_retro.data.Integrations.STABLE)
    assert retro_games() == sorted(games)
    assert len(games) > 1000
    ids = {id for id in gym.registry if id.startswith("MacroRetro/")}
    assert ids == {f"MacroRetro/{game}" for game in games}


def test_ids_are_as_gymnasium_registers_them():
    spec = gym.spec("MacroRetro/Airstriker-Genesis-v0")
    assert (spec.namespace, spec.name, spec.version) == ("MacroRetro", "Airstriker-Genesis", 0)
    names = {gym.spec(f"MacroRetro/{game}").name for game in retro_games()}
    assert len(names) == len(retro_games())


def test_importing_macro_gym_imports_no_emulator():
    emulators = {"stable_retro", "ale_py", "cv2", "torch"}
    code = f"import sys, macro_gym; print(sorted({emulators} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_is_read_from_files_is_what_stable_retro_says():
    for game in retro_games()[::29]:
        known = integration(game)
        assert list(known.states) == stable_retro.data.list_states(game)
        assert list(known.scenarios) == sorted(stable_retro.data.list_scenarios(game))
        data = stable_retro.data.GameData(game)
        assert set(known.variables) == set(data.list_variables())
        assert known.scenario_file() == Path(stable_retro.data.get_file_path(game, "scenario.json"))


@pytest.mark.parametrize(
    "name", ["Airstriker-Genesis-v0", "airstriker-genesis", "MacroRetro/Airstriker-Genesis-v0"]
)
def test_a_game_goes_by_all_its_names(name):
    assert integration(name).game == "Airstriker-Genesis-v0"
    assert integration(name).rom == Path(
        stable_retro.data.get_romfile_path("Airstriker-Genesis-v0")
    )


def test_unknown_games_are_refused_with_a_suggestion():
    with pytest.raises(UnknownGameError, match=r"Did you mean .*Airstriker-Genesis-v0"):
        integration("Airstrike-Genesis-v0")


def test_a_missing_rom_is_named_with_its_checksum_and_the_way_to_import_it():
    with pytest.raises(MissingRomError) as caught:
        gym.make(f"MacroRetro/{STREET_FIGHTER}", k=0)
    for part in (
        STREET_FIGHTER,
        "a5aad1d108046d9388e33247610dafb4c6516e0b",
        "rom.md",
        "python -m stable_retro.import FOLDER",
    ):
        assert part in str(caught.value)


def test_every_missing_rom_can_be_named():
    unnamed = []
    for game in retro_games():
        known = integration(game)
        assert all(len(sha1) == 40 for sha1 in known.sha1), game
        if known.rom is None:
            with pytest.raises(MissingRomError, match=game):
                known.require_rom()
        if not known.sha1:
            unnamed.append(game)
    with pytest.raises(MissingRomError, match=r"Copy yours to .*rom\.md"):
        integration(unnamed[0]).require_rom()
    assert len(unnamed) < 5


def test_states_and_scenarios_are_refused_by_name():
    with pytest.raises(EnvironmentSettingError, match=r"state is 'Level9', but .* has Level1"):
        gym.make("MacroRetro/Airstriker-Genesis-v0", k=0, state="Level9")
    with pytest.raises(
        EnvironmentSettingError, match=r"scenario is 'versus', but .* has scenario;"
    ):
        gym.make("MacroRetro/Airstriker-Genesis-v0", k=0, scenario="versus")


def test_without_stable_retro_there_are_no_games(monkeypatch):
    monkeypatch.setattr("macro_gym.retro_games.find_spec", lambda name: None)
    _package_folder.cache_clear()
    try:
        assert retro_games() == []
        with pytest.raises(MissingDependencyError, match="pip install stable-retro"):
            integration("Airstriker-Genesis-v0")
    finally:
        monkeypatch.undo()
        _package_folder.cache_clear()


SCORE = {"score": {"reward": 1.0, "penalty": 2.0}}
ENDED = {"condition": "any", "variables": {"lives": {"op": "zero"}}}


@pytest.mark.parametrize(
    ("scenario", "moved"),
    [
        ({"reward": {"variables": SCORE}, "done": ENDED}, True),
        ({"rewards": [{"variables": SCORE}, {"variables": SCORE}], "done": {}}, True),
        (
            {"reward": {}, "done": {"nodes": {"a": ENDED}, "variables": {}}, "crop": [0, 0, 9, 9]},
            True,
        ),
        ({"reward": {"variables": SCORE, "time": {"penalty": 0.1}}, "done": ENDED}, False),
        ({"reward": {"script": "lua:f"}, "scripts": ["a.lua"], "done": ENDED}, False),
        ({"reward": {"variables": {"x": {"reward": 1, "op": "equal"}}}, "done": ENDED}, False),
        ({"reward": {"variables": {"x": {"reward": 1, "measurement": "absolute"}}}}, False),
        ({"rewards": [{"variables": SCORE}, {"time": {"reward": 1}}]}, False),
        ({"done": {"variables": {"x": {"op": "zero", "measurement": "delta"}}}}, False),
        ({"done": {"nodes": {"a": {"variables": {"x": {"measurement": "delta"}}}}}}, False),
        ({"done": {"script": "lua:f"}}, False),
    ],
)
def test_scenarios_that_only_changes_move_are_told_from_others(tmp_path, scenario, moved):
    path = tmp_path / "scenario.json"
    path.write_text(json.dumps(scenario))
    assert is_moved_by_variables(path) is moved


def test_most_scenarios_are_moved_by_changes_only():
    found = [is_moved_by_variables(integration(game).scenario_file()) for game in retro_games()]
    assert 0.9 < sum(found) / len(found) < 1
