"""What the README and the docs say of figures is what the results say."""

import json
import re
from pathlib import Path

import pytest
import tyro

from benchmarks import retro_planner
from benchmarks.checkpoints import table
from benchmarks.page import pages
from macro_gym.banks import bank_names, load_bank
from macro_gym.banks.make import BUTTONS
from macro_gym.registration import atari_games
from sb3_masp.run_config import TrainConfig

ROOT = Path(__file__).parent.parent


def results(name):
    return json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())


@pytest.mark.parametrize("name", ["performance.md", "banks.md", "learning.md"])
def test_a_page_of_figures_is_the_one_that_the_results_give(name):
    assert (ROOT / "docs" / name).read_text() == pages()[name]


def test_the_table_of_banks_is_of_the_banks_that_are_shipped():
    measured = results("banks")["banks"]
    assert {game: bank["hash"] for game, bank in measured.items()} == {
        game: load_bank(game).hash for game in bank_names()
    }
    for game, bank in measured.items():
        origin = load_bank(game).provenance
        assert (bank["episodes"], bank["steps"]) == (len(origin.scores), origin.steps)
        assert bank["mean_score"] == pytest.approx(sum(origin.scores) / len(origin.scores))


@pytest.mark.parametrize("name", ["update", "stepping", "retro_stepping"])
def test_the_readmes_ratios_are_those_of_the_results(name):
    readme = (ROOT / "README.md").read_text()
    known = {f"{ratio:.2f}" for ratio in results(name)["ratios"].values()}
    section = re.search(rf"<!-- {name} -->(.*?)<!-- end -->", readme, re.DOTALL)
    quoted = set(re.findall(r"\d\.\d\d", section.group(1)))
    assert quoted
    assert quoted <= known


def test_the_cost_of_checkpoints_is_the_one_that_was_measured():
    assert table(results("checkpoints")) in (ROOT / "docs" / "runs.md").read_text()


def test_the_readmes_scores_are_those_of_the_demonstration():
    readme = (ROOT / "README.md").read_text()
    for name, result in results("demo").items():
        scores = result["score"]["scores"]
        assert f"| {name} | {sum(scores) / len(scores):.1f} |" in readme


def test_the_readmes_folder_is_the_one_that_its_command_writes():
    readme = (ROOT / "README.md").read_text()
    (words,) = re.findall(r"^masp train (Macro.*)$", readme, re.MULTILINE)
    folders = re.findall(r"^masp (?:train --resume|evaluate) (\S+)", readme, re.MULTILINE)
    assert folders == [str(tyro.cli(TrainConfig, args=words.split()).folder)] * 2


def test_the_readme_counts_the_banks():
    readme = (ROOT / "README.md").read_text()
    (counted,) = re.findall(r"512 macros for all (\d+) games", readme)
    assert int(counted) == len(atari_games()) == len(set(bank_names()) - set(BUTTONS))


def test_the_planners_scores_on_airstriker_are_those_of_the_result():
    assert (
        retro_planner.table(results("retro_planner")["arms"])
        in (ROOT / "docs/retro.md").read_text()
    )
