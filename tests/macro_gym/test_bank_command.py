"""The command macro-gym bank: what is shipped, and making it again."""

from dataclasses import replace

import pytest

from macro_gym import MacroSet
from macro_gym.banks import bank_names, handcrafted_names, load_bank, make
from macro_gym.cli import main
from macro_gym.commands.bank import compare
from macro_gym.demonstrations import PlannerSettings

EQUAL = "equals the shipped bank byte for byte"


def printed(argv, capsys):
    """The lines that a command prints."""
    assert main([str(word) for word in argv]) == 0
    return capsys.readouterr().out.splitlines()


def shipped_bytes(game):
    return (make.FOLDER / f"{game}.json").read_bytes()


def test_bank_list_is_the_list_of_macro_gym_show(capsys):
    assert printed(["bank", "list"], capsys) == printed(["show"], capsys)
    assert len(printed(["bank", "list"], capsys)) == 1 + len(bank_names() + handcrafted_names())


def test_bank_show_is_macro_gym_show(capsys):
    argv = ["show", "Pong", "--top", "3"]
    assert printed(["bank", *argv], capsys) == printed(argv, capsys)


def test_rebuilt_banks_are_the_shipped_ones_byte_for_byte(tmp_path, capsys):
    lines = printed(["bank", "rebuild", "MsPacman", "pong", "--output", tmp_path], capsys)
    assert [line.split(maxsplit=1) for line in lines] == [["ms_pacman", EQUAL], ["pong", EQUAL]]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ms_pacman.json", "pong.json"]
    for game in ("ms_pacman", "pong"):
        assert (tmp_path / f"{game}.json").read_bytes() == shipped_bytes(game)


def test_all_banks_are_rebuilt_if_none_is_named_and_nothing_is_written(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("macro_gym.commands.bank.bank_names", lambda: ("freeway", "qbert"))
    lines = printed(["bank", "rebuild"], capsys)
    assert [line.split(maxsplit=1) for line in lines] == [["freeway", EQUAL], ["qbert", EQUAL]]
    assert list(tmp_path.iterdir()) == []


def test_replanned_play_is_kept_and_compared(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(make, "DEFAULTS", PlannerSettings(horizon=8, commit=8, steps=50))
    monkeypatch.setattr(make, "STEPS", 100)
    monkeypatch.setattr(make, "MACROS", 17)
    argv = ["bank", "rebuild", "Pong", "--replan", "--output", tmp_path]
    (line,) = printed(argv, capsys)
    bank = MacroSet.load(tmp_path / "pong.json")
    common = set(bank.names[6:]) & set(load_bank("pong").names[6:])
    expected = f"differs from the shipped bank, with which it has {len(common)} macros in common"
    assert line.split(maxsplit=1) == ["pong", expected]
    episode = tmp_path / "play" / "pong-0.npz"
    made = episode.stat().st_mtime_ns
    monkeypatch.setattr("macro_gym.commands.bank.load_bank", lambda game: bank)
    (line,) = printed(argv, capsys)
    assert line.split(maxsplit=1) == ["pong", EQUAL]
    assert episode.stat().st_mtime_ns == made


def test_differences_from_the_shipped_bank_are_told_apart(tmp_path):
    bank = load_bank("pong")
    origin = bank.provenance
    assert compare(load_bank("pong"), bank) == EQUAL
    newer = replace(bank, provenance=replace(origin, version="99.1"))
    assert f"but for macro-gym's version, 99.1 instead of {origin.version}" in compare(newer, bank)
    elsewhere = replace(bank, provenance=replace(origin, scores=(1.0,)))
    counted = replace(bank, counts=(*bank.counts[:-1], 0))
    for other in (elsewhere, counted):
        assert compare(other, bank).startswith("has the macros of the shipped bank, but other")
    turned = replace(bank, macros=bank.macros[::-1])
    assert compare(turned, bank).endswith("it has 512 macros in common")
    assert compare(bank.top(499), bank).endswith("it has 499 macros in common")


def test_games_without_a_bank_cannot_be_rebuilt(tmp_path, capsys):
    assert main(["bank", "rebuild", "pong", "Combat", "--output", str(tmp_path)]) == 2
    assert "no bank for 'Combat'" in capsys.readouterr().err


@pytest.mark.parametrize("command", [[], ["list"], ["show"], ["rebuild"]])
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["bank", *command, "--help"])
    assert "usage: macro-gym bank" in capsys.readouterr().out
