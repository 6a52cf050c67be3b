"""A vector of poles in processes, and the same poles one by one."""

import pytest
from gymnasium.vector import SyncVectorEnv

from tests.macro_gym.vectors import SEED, cart_pole, cart_poles


@pytest.fixture
def envs():
    vector = cart_poles()
    vector.reset(seed=SEED)
    yield vector
    vector.close()


@pytest.fixture
def reference():
    vector = SyncVectorEnv([cart_pole] * 5)
    vector.reset(seed=SEED)
    return vector
