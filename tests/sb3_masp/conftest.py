"""The short run of Breakout that tests of runs start from."""

import pytest

from sb3_masp import run
from tests.sb3_masp.poles import BREAKOUT


@pytest.fixture
def config(tmp_path):
    """The settings of a short run, with everything that a checkpoint has to keep."""
    BREAKOUT.save(tmp_path / "macros.json")
    return run.TrainConfig(
        env="MacroALE/Breakout-v5",
        frames=6_000,
        macros=tmp_path / "macros.json",
        obs_type="ram",
        seed=7,
        net_arch=(13,),
        threads=1,
        run=tmp_path / "run",
        checkpoint_every=150,
        learner=run.LearnerConfig(
            buffer_size=500,
            learning_starts=53,
            target_update_interval=70,
            exploration_fraction=0.5,
            meta_interval=2,
            n_steps=2,
            prioritized_replay=True,
        ),
    )
