"""``macro-gym bank``: the macro sets shipped with macro-gym."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from macro_gym.banks import bank_names, load_bank, load_play
from macro_gym.banks.make import mine
from macro_gym.commands.show import list_banks, show
from macro_gym.files import require_folder
from macro_gym.games import find_game
from macro_gym.macro_set import MacroSet


def rebuild(
    games: tuple[str, ...] = (),
    /,
    output: Path | None = None,
    replan: bool = False,
    workers: int = 1,
) -> None:
    """Mine banks again from their stored play, and report whether they equal the shipped ones.

    Args:
        games: Games that have a bank; all of them if none are given.
        output: Folder for the rebuilt banks and, with --replan, their play. If omitted, nothing is
            written, or with --replan everything to ./banks.
        replan: Have the planner play anew: up to hours per game. What is already in the folder is
            kept, and an interrupted run resumes where it stopped.
        workers: Episodes to plan in parallel, each on one core.
    """
    from macro_gym.banks import make

    if output is not None:
        require_folder(output)
    for game in games or bank_names():
        shipped = load_bank(game)
        rom = find_game(game, bank_names()) or game
        if replan:
            folder = output or Path("banks")
            make.make(make.Options(games=(rom,), folder=folder, workers=workers))
            rebuilt = MacroSet.load(folder / f"{rom}.json")
        else:
            rebuilt = mine(load_play(game))
            if output is not None:
                rebuilt.save(output / f"{rom}.json")
        print(f"{rom:<20}{compare(rebuilt, shipped)}")


def compare(rebuilt: MacroSet, shipped: MacroSet) -> str:
    """Describe how a rebuilt bank compares with the shipped one; equal sets are equal files."""
    if rebuilt == shipped:
        return "equals the shipped bank byte for byte"
    old, new = shipped.provenance.version, rebuilt.provenance.version
    if replace(rebuilt, provenance=replace(rebuilt.provenance, version=old)) == shipped:
        return f"equals the shipped bank but for macro-gym's version, {new} instead of {old}"
    if rebuilt.hash == shipped.hash:
        return "has the macros of the shipped bank, but other counts or another origin"
    same = len(set(_names(rebuilt)) & set(_names(shipped)))
    return f"differs from the shipped bank, with which it has {same} macros in common"


def bank(
    command: tyro.conf.OmitArgPrefixes[
        tyro.conf.OmitSubcommandPrefixes[
            Annotated[Any, tyro.conf.subcommand("list", constructor=list_banks)]
            | Annotated[Any, tyro.conf.subcommand("show", constructor=show)]
            | Annotated[Any, tyro.conf.subcommand("rebuild", constructor=rebuild)]
        ]
    ],
) -> None:
    """List, show and rebuild the macro sets that macro-gym ships."""


def _names(macro_set: MacroSet) -> tuple[str, ...]:
    """Names of the macros."""
    return macro_set.names[len(macro_set.primitives) :]
