"""Write the pages in docs whose figures are computed from benchmark results."""

import json
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.banks_page import banks_page
from benchmarks.gpu_page import gpu_section
from benchmarks.learning_page import learning_page
from benchmarks.pairwise_page import pairwise_section
from benchmarks.planner_page import planner_section
from benchmarks.shared_batches import shared_section
from benchmarks.similarity_size_page import size_section
from benchmarks.soak_page import PICTURE, draw_soak, soak_section
from macro_gym.files import replacing

RESULTS = Path(__file__).parent / "results"
DOCS = Path(__file__).parent.parent / "docs"


INTRODUCTION = """\
# Performance

Written by `python -m benchmarks.page` from the files in `benchmarks/results`. Each file comes from
a single command, recorded in it, in which all contenders took turns. `make bench` regenerates those
that measure the present code on a CPU with default settings. Compare ratios: absolute times are
those of a shared machine.
"""

STEPPING = """\
## Stepping Breakout

Emulator frames per second relative to `ALE.act` alone, with random macros of one length.
"""

RETRO = """\
## Stepping Airstriker

Emulator frames per second relative to stable-retro's emulator alone (`em.step`), with random
macros of one length over all 126 combinations of buttons. *Gymnasium's wrappers* apply frame
skipping, max-pooling, greyscale, resizing and stacking to RetroEnv, inside `MacroAction`;
*RetroEnv, frames* is that environment alone, one frame at a time.
"""

IMPORT = """\
Registering stable-retro's thousand games takes {difference:.0f} ms of the {whole:.0f} ms that
`import macro_gym` takes once Gymnasium has been imported.
"""

VECTOR = """\
## Stepping {n_envs} environments

Breakout with random decisions on {cores} cores: emulator frames per second of wall time, as a
multiple of a single environment's and as a share of what ale-py's `AtariVectorEnv` reaches without
macros on the same cores; and frames per second of processor time, over all processes, as a share of
a single environment's. Macros are either random ones of length 8 or those of the shipped bank.
`benchmarks/vector_bases.py` describes the methods; [Decisions](decisions.md) explains the design of
`MacroVectorEnv`. The load average before the run was {load:.1f}; wall times mean nothing where it
is much above 0.

| method | macros | times one | share of AtariVectorEnv | per processor second |
|---|---|---|---|---|
{rows}
"""

UPDATE = """\
## One update

Nature CNN, batch size 32, 4 + 128 actions, one thread: processor time as a multiple of SB3's DQN
update. The meta-step is exact unless stated otherwise. *batches shared* is
`similarity_learning="meta_shared"`; *double backward* computes the same meta-gradient with
`create_graph=True`.
"""

RAINBOW = """\
## One Rainbow update

Networks of the same sizes with all six parts, one thread: processor time relative to an update as
in CleanRL's `rainbow_atari.py`, re-implemented and described in `benchmarks/rainbow.py`. Only
`Rainbow` is charged for its replay.
"""

REPLAY = """\
## Replay

Sampling 32 of {decisions:,} decisions by priority and updating their priorities takes
{ours:.0f} µs, {ratio:.1f} times less than with binary trees in Python ({theirs:.0f} µs) as in
CleanRL's `rainbow_atari.py`, re-implemented in `benchmarks/python_trees.py`.

Stacks of four Breakout screens, {screens:,} random decisions with primitives only (k=0) and with
macros: memory per decision, time to add one, and time to sample 32. Times are processor time on one
thread.

| play | buffer | bytes | share of SB3's | add, µs | sample, µs |
|---|---|---|---|---|---|
{rows}

Adding one decision from each of many environments to a full buffer, µs per decision:

| environments | {adders} |
|---|{rules}
{added}
"""

MINING = """\
## Reading and mining play

{rows:,.0f} rows of Atari Grand Challenge text are read per second, {reading:.1f} times as many as
`csv.reader` splits. Mining the most frequent n-grams of length 2 to 8 from {steps:,} actions takes
{seconds:.1f} s and {memory:.0f} MB, {counting:.0f} times less time than `collections.Counter` over
tuples.
"""


def page() -> str:
    """Render the page on performance."""
    stepping, update, rainbow = (_result(name) for name in ("stepping", "update", "rainbow"))
    sections = [
        INTRODUCTION,
        STEPPING,
        _table(("environment", "share of the bare emulator"), stepping["ratios"]),
        _about(stepping),
        RETRO,
        _table(("environment", "share of the bare emulator"), _result("retro_stepping")["ratios"]),
        _about(_result("retro_stepping")),
        _import(_result("import_time")),
        _about(_result("import_time")),
        _vector(_result("vector")),
        _about(_result("vector")),
        UPDATE,
        _table(("update", "times SB3's DQN"), update["ratios"]),
        _about(update),
        *_of_hours("shared_batches", shared_section),
        *_of_hours("pairwise_update", pairwise_section),
        RAINBOW,
        _table(("update", "share of CleanRL's"), rainbow["ratios"]),
        _about(rainbow),
        size_section(_result("similarity_size")),
        _about(_result("similarity_size")),
        _replay(_result("buffer")),
        _about(_result("buffer")),
        _mining(_result("readers"), _result("extraction")),
        _about(_result("readers")),
        _about(_result("extraction")),
    ]
    sections += _of_hours("gpu_throughput", gpu_section) + _of_hours("soak", soak_section)
    return "\n".join(sections)


def _of_hours(name: str, section: Callable[[dict[str, Any]], str]) -> list[str]:
    """The section on a long benchmark and its origin; empty if it has not been run."""
    if not (RESULTS / f"{name}.json").exists():
        return []
    return [section(_result(name)), _about(_result(name))]


def _import(result: dict[str, Any]) -> str:
    """The sentence on registering games."""
    whole = result["medians"]["with stable-retro"]
    return IMPORT.format(difference=result["difference"] * 1e3, whole=whole * 1e3)


def _vector(vector: dict[str, Any]) -> str:
    """The section on many environments."""
    rows = [
        f"| {way} | {macros} | {ratio:.2f} | {load['ratios_to_ale_vector'][way]:.2f} | "
        f"{load['processor_ratios'][way]:.2f} |"
        for macros, load in vector["loads"].items()
        for way, ratio in load["ratios"].items()
    ]
    return VECTOR.format(
        n_envs=vector["n_envs"],
        cores=vector["cores"],
        load=vector["load_average_before"],
        rows="\n".join(rows),
    )


def _replay(buffer: dict[str, Any]) -> str:
    """The section on replay, with the medians over rounds."""
    priorities, screens = buffer["priorities"], buffer["screens"]
    rows = [
        f"| {play} | {name} | {nbytes:,.0f} | {result['share_of_sb3s_bytes'][name]:.3f} | "
        f"{result['seconds_to_add'][name] * 1e6:.0f} | "
        f"{median(result['seconds_to_sample'][name]) * 1e6:.0f} |"
        for play, result in screens.items()
        for name, nbytes in result["bytes_per_decision"].items()
    ]
    adding = {
        n_envs: {name: median(rounds) * 1e6 for name, rounds in times.items()}
        for n_envs, times in buffer["adding"]["seconds_per_decision"].items()
    }
    adders = list(next(iter(adding.values())))
    return REPLAY.format(
        decisions=priorities["decisions"],
        ours=median(priorities["seconds"]["macro-gym"]) * 1e6,
        theirs=median(priorities["seconds"]["CleanRL's Python trees"]) * 1e6,
        ratio=priorities["ratio"],
        screens=next(iter(screens.values()))["decisions"],
        rows="\n".join(rows),
        adders=" | ".join(adders),
        rules="---|" * len(adders),
        added="\n".join(
            f"| {n_envs} | " + " | ".join(f"{times[name]:.1f}" for name in adders) + " |"
            for n_envs, times in adding.items()
        ),
    )


def _mining(readers: dict[str, Any], extraction: dict[str, Any]) -> str:
    """The section on reading and mining play, with the medians over rounds."""
    rounds = extraction["rounds"]["ngrams"]
    return MINING.format(
        rows=readers["rows_per_second"]["macro-gym"],
        reading=readers["ratio"],
        steps=extraction["steps"],
        seconds=median(turn["seconds"] for turn in rounds),
        memory=max(turn["peak_mb"] for turn in rounds),
        counting=extraction["ratio"],
    )


def _result(name: str) -> dict[str, Any]:
    """A benchmark's result."""
    content: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return content


def _table(header: tuple[str, str], ratios: dict[str, float]) -> str:
    """A table of ratios, in their order."""
    rows = [f"| {name} | {ratio:.2f} |" for name, ratio in ratios.items()]
    return "\n".join([f"| {header[0]} | {header[1]} |", "|---|---|", *rows, ""])


def _about(result: dict[str, Any]) -> str:
    """The machine, the versions and the command."""
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    machine = result["machine"]
    command = f"`{result['command']}` on {machine['cpu']}, {machine['cores']} cores"
    return f"{command}; {versions}.\n"


def pages() -> dict[str, str]:
    """Render the pages made from results, by file name in docs."""
    banks, planner, learning = (_result(name) for name in ("banks", "planner", "learning"))
    return {
        "performance.md": page(),
        # One command measures all banks, or adds those of some games.
        "banks.md": banks_page(banks, f"Last command run for this table: {_about(banks)}")
        + planner_section(planner, _about(planner)),
        "learning.md": learning_page(learning, _about(learning)),
    }


if __name__ == "__main__":
    for name, text in pages().items():
        with replacing(DOCS / name) as file:
            file.write(text.encode())
    if (RESULTS / "soak.json").exists():
        draw_soak(_result("soak"), DOCS / PICTURE)
