"""Measure the banks: how good the play behind each is, and how well its macros cover that play.

Measuring the effects of macros in the emulator takes some seconds per game; they are kept from the
last result if the bank has not changed, so that an interrupted run resumes. The other figures are
computed anew.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from tqdm import tqdm

from benchmarks.report import write_report
from macro_gym import MacroSet
from macro_gym.banks import bank_names, load_bank, load_play
from macro_gym.extraction import emulated_effect, play_coverage
from macro_gym.human_scores import human_normalised

SIZES = (32, 128, 512)


@dataclass(frozen=True)
class Settings:
    """What to measure.

    Args:
        games: Games that have a bank; all of them by default.
        moments: Moments of random play at which macros are tried.
        fresh: Measure again what is already in the result.
        output: Where the result goes.
        smoke: Two games and one moment, to check that it runs.
    """

    games: tuple[str, ...] = bank_names()
    moments: int = 8
    fresh: bool = False
    output: Path = Path("benchmarks/results/banks.json")
    smoke: bool = False


def measured(game: str, moments: int, known: Mapping[str, Any]) -> dict[str, Any]:
    """Measure one bank; ``known`` holds its figures from the last result, if any."""
    bank = load_bank(game)
    play = load_play(game)
    scores = [demonstration.score for demonstration in play]
    covered = play_coverage(bank, play, SIZES)
    kept = known.get("hash") == bank.hash and known.get("moments") == moments
    return {
        "hash": bank.hash,
        "episodes": len(scores),
        "steps": covered.steps,
        "mean_score": float(np.mean(scores)),
        "human_normalised": human_normalised(game, float(np.mean(scores))),
        "macros": len(bank.macros),
        "several_actions": sum(len(set(macro)) > 1 for macro in bank.macros),
        "mean_length": float(np.mean([len(macro) for macro in bank.macros])),
        "moments": moments,
        "effects": known["effects"] if kept else distinct_effects(bank, game, moments),
        "covered": dict(zip(map(str, SIZES), covered.covered.tolist(), strict=True)),
        "decisions": dict(zip(map(str, SIZES), covered.decisions.tolist(), strict=True)),
    }


def distinct_effects(bank: MacroSet, game: str, moments: int) -> int:
    """Number of macros that differ in the screens or rewards that they lead to."""
    effect = emulated_effect(game, bank.primitives, bank.provenance.frameskip, moments)
    return len({effect(macro) for macro in bank.macros})


def write(banks: Mapping[str, Any], path: Path) -> None:
    """Write the figures of the banks, by game."""
    what = (
        "the shipped banks and their play: score (and on the scale where random play is 0 and a "
        "human 1), macros of several actions, macros distinct in effect at some moments of random "
        "play, share of steps covered and decisions per step with the first macros"
    )
    write_report(path, {"what": what, "banks": dict(sorted(banks.items()))})


def main(settings: Settings) -> None:
    """Measure, and write the result after each bank, so that an interrupted run can resume."""
    games, moments = settings.games, settings.moments
    if settings.smoke:
        games, moments = games[:2], 1
    banks: dict[str, Any] = {}
    if settings.output.exists() and not settings.fresh:
        last = json.loads(settings.output.read_text())["banks"]
        banks = {game: last[game] for game in bank_names() if game in last}
    for game in tqdm(games, desc="banks", unit="bank"):
        banks[game] = measured(game, moments, banks.get(game, {}))
        write(banks, settings.output)


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
