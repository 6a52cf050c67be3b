"""The scale between random play and people's."""

import pytest
from ale_py import roms

from macro_gym.human_scores import RANDOM_AND_HUMAN, human_normalised


def test_57_games_of_the_emulator_have_scores_and_people_beat_chance():
    assert len(RANDOM_AND_HUMAN) == 57
    assert set(RANDOM_AND_HUMAN) <= set(roms.get_all_rom_ids())
    assert all(random < human for random, human in RANDOM_AND_HUMAN.values())


def test_random_play_is_0_a_human_1_and_the_scale_straight():
    assert human_normalised("pong", -20.7) == 0
    assert human_normalised("pong", 14.6) == 1
    assert human_normalised("pong", 21) == pytest.approx(41.7 / 35.3)
    assert human_normalised("adventure", 21) is None
