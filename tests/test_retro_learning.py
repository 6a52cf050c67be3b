"""benchmarks/retro_learning.py: its command, and its table by hand."""

import json
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.retro_learning import OUTPUT, PAGE, Settings, config, table
from macro_gym import MacroSet


def row(seed, trained, random, primitives):
    return {
        "seed": seed,
        "trained": trained,
        "random": random,
        "random_primitives": primitives,
        "frames": 1_000,
        "decisions": 50,
        "updates": 7,
        "processor_seconds": 90.0 if seed else None,
    }


def test_the_table_has_means_intervals_and_every_seed():
    rows = [row(0, 100.0, 50.0, 40.0), row(1, 140.0, 56.0, 40.0), row(2, 120.0, 50.0, 40.0)]
    # t for 2 degrees of freedom at 97.5% is 4.3027; the standard error of 100, 120, 140 is 11.547.
    assert table({"rows": rows}).splitlines()[2:] == [
        "| MASPDQN | 120 | 70 to 170 | 100, 140, 120 |",
        "| random | 52 | 43 to 61 | 50, 56, 50 |",
        "| random, without macros | 40 | 40 to 40 | 40, 40, 40 |",
        "| MASPDQN over random | 2.30 | 1.64 to 2.96 | 2.00, 2.50, 2.40 |",
        "",
        "A run took 1.5 processor minutes: 1,000 frames, 50 decisions, 7 updates.",
    ]


def test_one_seed_has_no_interval():
    assert "| MASPDQN | 100 |  | 100 |" in table({"rows": [row(3, 100.0, 50.0, 40.0)]})


@pytest.mark.parametrize("seed", [0, 4])
def test_runs_differ_by_their_seed_and_folder_only(seed, tmp_path):
    asked = config(seed, Settings(folder=tmp_path))
    assert (asked.seed, asked.folder) == (seed, tmp_path / f"seed{seed}")
    assert asked.frames == 280_000
    assert config(seed, Settings(folder=tmp_path, smoke=True)).frames < 10_000


def test_the_macros_for_airstriker_press_the_button_anew_for_each_shot():
    macros = MacroSet.load(Path(__file__).parents[1] / "examples" / "airstriker.json")
    assert macros.provenance.source.startswith("handcrafted")
    for macro in macros.macros:
        names = [macros.primitives[step] for step in macro]
        shots = [name.endswith("B") for name in names]
        assert not any(now and before for before, now in pairwise(shots))


def test_the_table_in_the_page_is_of_the_results():
    results = json.loads(OUTPUT.read_text())
    assert table(results) in PAGE.read_text()
    for result in results["rows"]:
        assert result["trained"] > max(result["random"], result["random_primitives"])
