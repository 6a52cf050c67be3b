"""The banks: what their stored play gives, byte for byte, and that play what the planner gives."""

import subprocess
import sys
from dataclasses import replace

import ale_py
import numpy as np
import pytest
from ale_py import roms

from macro_gym.banks import bank_names, load_bank, load_play, make
from macro_gym.demonstrations import PlannerSettings, plan_episode
from macro_gym.demonstrations.planner import DEFAULTS
from macro_gym.demonstrations.replay import replay
from macro_gym.demonstrations.retro_sandbox import RetroGame
from macro_gym.errors import MissingBankError
from macro_gym.games import find_game, game_name

BANKS = bank_names()
RETRO = tuple(make.BUTTONS)


def primitives(game):
    """What the emulator offers, or of stable-retro's buttons those that do anything."""
    if game in RETRO:
        return make.BUTTONS[game]
    ale = ale_py.ALEInterface()
    ale.loadROM(roms.get_rom_path(game))
    return tuple(code.name for code in ale.getMinimalActionSet())


def test_each_game_has_a_bank_and_the_play_that_it_is_mined_from():
    assert set(BANKS) == set(make.GAMES)
    stored = (make.FOLDER / "play").glob("*.npz")
    assert {path.stem.rpartition("-")[0] for path in stored} == set(BANKS)


@pytest.mark.parametrize("game", BANKS)
def test_mining_the_stored_play_gives_the_bank_byte_for_byte(game, tmp_path):
    shipped = (make.FOLDER / f"{game}.json").read_bytes()
    made_by = load_bank(game).provenance.version
    mined = make.mine(load_play(game))
    mined = replace(mined, provenance=replace(mined.provenance, version=made_by))
    mined.save(tmp_path / "mined.json")
    assert (tmp_path / "mined.json").read_bytes() == shipped


@pytest.mark.parametrize("game", [*[game for game in BANKS if game not in RETRO][::7], *RETRO])
def test_planning_anew_gives_the_first_stored_actions(game):
    stored = load_play(game)[1]
    played = RetroGame(game, buttons=make.BUTTONS[game]) if game in RETRO else game
    again = plan_episode(played, replace(DEFAULTS, steps=8), seed=1)
    np.testing.assert_array_equal(again.actions, stored.actions[:8])
    cut = make.EPISODE_STEPS.get(game, DEFAULTS.steps)
    assert again.source == stored.source.replace(f"steps={cut}", "steps=8")
    assert (again.primitives, again.game) == (stored.primitives, stored.game)
    assert again.settings == stored.settings


@pytest.mark.parametrize("game", BANKS)
def test_replaying_a_stored_episode_in_gymnasium_pays_its_rewards(game):
    stored = load_play(game)[0]
    first = replace(stored, actions=stored.actions[:300], rewards=stored.rewards[:300])
    np.testing.assert_array_equal(replay(first), first.rewards)


@pytest.mark.parametrize("game", BANKS)
def test_a_bank_holds_512_macros_that_play_repeated_with_their_origin(game):
    bank = load_bank(game)
    assert bank.primitives == primitives(game)
    assert len(bank.macros) == 512
    assert min(bank.counts) >= 2
    assert {len(macro) for macro in bank.macros} <= set(range(2, 9))
    origin = bank.provenance
    play = load_play(game)
    assert origin.game == (game if game in RETRO else game_name(game))
    assert origin.frameskip == 4
    assert origin.steps == sum(len(episode.actions) for episode in play)
    assert origin.steps >= make.FEWER_STEPS.get(game, make.STEPS)
    assert sorted(origin.scores) == sorted(episode.score for episode in play)


@pytest.mark.parametrize("name", ["ms_pacman", "MsPacman", "ALE/MsPacman-v5"])
def test_a_game_may_be_spelled_as_any_id(name):
    assert load_bank(name) == load_bank("ms_pacman")


def test_every_game_of_the_emulator_is_found_by_its_name_in_gymnasium():
    known = roms.get_all_rom_ids()
    for rom in known:
        assert find_game(f"ALE/{game_name(rom)}-v5", known) == rom
        assert find_game(rom, known) == rom


@pytest.mark.parametrize("name", ["Combat", "ALE/Combat-v5", "MacroALE/Combat-v5"])
def test_a_game_without_a_bank_says_how_to_make_one(name):
    with pytest.raises(
        MissingBankError,
        match=rf"no bank for '{name}'.*`macro-gym plan Combat .*--output play/Combat`, then "
        r"`macro-gym extract play/Combat .*--output Combat\.json`.*macros=\"Combat\.json\"",
    ):
        load_bank(name)


def test_a_misspelt_game_is_told_which_may_be_meant():
    with pytest.raises(MissingBankError, match=r"no bank for 'Brakeout'\. Did you mean breakout"):
        load_bank("Brakeout")


def test_loading_a_bank_needs_no_emulator():
    code = (
        "import sys, macro_gym.banks as banks; banks.load_bank('pong'); "
        "sys.exit(bool({'ale_py', 'tyro', 'tqdm', 'matplotlib'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_play_that_crashes_the_emulator_is_in_no_bank():
    for game, skipped in make.SKIPPED_SEEDS.items():
        stored = {
            int(path.stem[len(game) + 1 :]) for path in (make.FOLDER / "play").glob(f"{game}-*")
        }
        assert len(stored) == len(load_play(game))
        assert not stored & set(skipped)


def test_making_a_bank_keeps_what_is_there_unless_fresh(tmp_path, monkeypatch):
    tiny = PlannerSettings(trials=1, horizon=8, commit=8, steps=50)
    monkeypatch.setattr(make, "DEFAULTS", tiny)
    monkeypatch.setattr(make, "STEPS", 100)
    monkeypatch.setattr(make, "MACROS", 17)
    options = make.Options(games=("pong",), folder=tmp_path)
    make.make(options)
    bank = (tmp_path / "pong.json").read_bytes()
    first = tmp_path / "play" / "pong-0.npz"
    made = first.stat().st_mtime_ns
    (tmp_path / "pong.json").unlink()
    make.make(options)
    assert (tmp_path / "pong.json").read_bytes() == bank
    assert first.stat().st_mtime_ns == made
    make.make(replace(options, fresh=True))
    assert (tmp_path / "pong.json").read_bytes() == bank
    assert first.stat().st_mtime_ns > made
