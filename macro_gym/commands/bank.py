"""``macro-gym bank``: the macro sets that macro-gym ships."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from macro_gym.banks import bank_names, load_bank, load_play
from macro_gym.banks.make import mine
from macro_gym.commands.show import list_banks, show
from macro_gym.games import find_game
from macro_gym.macro_set import MacroSet


def rebuild(
    games: tuple[str, ...] = (),
    /,
    output: Path | None = None,
    replan: bool = False,
    workers: int = 1,
) -> None:
    """Mine banks again from their stored play, and say whether they are those shipped.

    Args:
        games: Games that have a bank; all of them if none are given.
        output: Folder to write the rebuilt banks to, and with --replan their play. If omitted,
            banks are written nowhere, or with --replan to ./banks.
        replan: Let the planner play anew: up to hours for a game. What is in the folder already
            is kept, and an interrupted run goes on where it stopped.
        workers: Episodes to plan at the same time, each on one core.
    """
    from macro_gym.banks import make

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
    """Return in words whether a rebuilt bank is the one shipped; equal sets are equal files."""
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
    """The macros by name."""
    return macro_set.names[len(macro_set.primitives) :]
