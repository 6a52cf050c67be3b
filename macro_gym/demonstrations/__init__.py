"""Recorded play from many sources, as `Demonstration` values."""

from macro_gym.demonstrations.demonstration import Demonstration
from macro_gym.demonstrations.gather import Gathered, gather
from macro_gym.demonstrations.person import record_person
from macro_gym.demonstrations.planner import PlannerSettings, plan_episode
from macro_gym.demonstrations.recorder import record
from macro_gym.demonstrations.replay import replay
from macro_gym.demonstrations.replay_movie import MovieReplay, replay_movie
from macro_gym.demonstrations.resample import resample
from macro_gym.demonstrations.sources import read_play
from macro_gym.demonstrations.storing import store
from macro_gym.demonstrations.translate import translate

__all__ = [
    "Demonstration",
    "Gathered",
    "MovieReplay",
    "PlannerSettings",
    "gather",
    "plan_episode",
    "read_play",
    "record",
    "record_person",
    "replay",
    "replay_movie",
    "resample",
    "store",
    "translate",
]
