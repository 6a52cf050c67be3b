"""States of the random generators that learning draws from."""

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm


def generators(model: BaseAlgorithm) -> dict[str, Any]:
    """State of every generator outside the environment that learning draws from."""
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": th.get_rng_state(),
        "cuda": th.cuda.get_rng_state_all() if th.cuda.is_available() else [],
        "actions": model.action_space.np_random.bit_generator.state,
    }


def restore_generators(model: BaseAlgorithm, state: Mapping[str, Any]) -> None:
    """Restore the states that `generators` returned."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    th.set_rng_state(state["torch"])
    if state["cuda"] and th.cuda.is_available():
        th.cuda.set_rng_state_all(state["cuda"])
    model.action_space.np_random.bit_generator.state = state["actions"]
