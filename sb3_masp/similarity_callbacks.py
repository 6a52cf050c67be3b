"""SimilarityHistory: a callback that records how Σ changes while it is learned."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch as th
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Figure

from macro_gym.errors import ArgumentTypeError
from sb3_masp.macro_model import require_setting
from sb3_masp.masp import MASP
from sb3_masp.run_results import action_names
from sb3_masp.similarity.health import rows_to_look_at
from sb3_masp.similarity_report.contents import movement
from sb3_masp.similarity_report.history import MEANINGS, Movement, write_history
from sb3_masp.similarity_report.measures import value_agreement

HISTORY = "similarity.csv"
"""Name of its table in a run's folder."""


class SimilarityHistory(BaseCallback):
    """Records figures of Σ at regular intervals, in a table and in the log (TensorBoard's).

    It leaves the random generators as they are: a run with it equals the run without it. The table
    is rewritten with each row, so that a resumed run has each row once.

    Args:
        path: Table to write, such as ``similarity.csv``; None for none.
        every: Decisions between two rows.
        pictures_every: Decisions between two heat maps in the log, which need matplotlib and
            SciPy and are left out without them; None for none.
        states: Number of replayed states over which distances of values are averaged.

    Raises:
        LearnerSettingError: A number is below 1.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        every: int = 1_000,
        pictures_every: int | None = 50_000,
        states: int = 128,
    ) -> None:
        """Start without rows."""
        super().__init__()
        for name, value in (("every", every), ("states", states)):
            require_setting(name, value, value >= 1, "at least 1")
        fits = pictures_every is None or pictures_every >= 1
        require_setting("pictures_every", pictures_every, fits, "at least 1, or None")
        self.rows: list[Movement] = []
        self._path = None if path is None else Path(path)
        self._every = every
        self._pictures_every = pictures_every
        self._states = states

    def _init_callback(self) -> None:
        """Reject learners without Σ.

        Raises:
            ArgumentTypeError: The model has none.
        """
        if not isinstance(self.model, MASP):
            raise ArgumentTypeError(
                f"SimilarityHistory describes Σ, which a {type(self.model).__name__} does not "
                "have; MASPDQN, MASPQRDQN and MASPRainbow do"
            )

    def _on_training_start(self) -> None:
        """Record the start, unless the run continues from an earlier row."""
        if self.rows and self.rows[-1].decisions > self.num_timesteps:
            self.rows = []  # counted anew
        if not self.rows:
            self._describe()

    def _on_step(self) -> bool:
        """Record Σ if due."""
        if self.num_timesteps // self._every > self.rows[-1].decisions // self._every:
            self._describe()
        return True

    def _on_training_end(self) -> None:
        """Record the end."""
        if self.rows[-1].decisions < self.num_timesteps:
            self._describe()

    def __getstate__(self) -> dict[str, Any]:
        """What a resumed run needs."""
        return {"rows": self.rows}

    def _describe(self) -> None:
        """Add a row to the table and to the log."""
        learner, before = cast(MASP, self.model), self.rows[-1].decisions if self.rows else 0
        row = movement(learner.similarity, learner.macro_set, self.num_timesteps)
        row = row._replace(agreement=self._agreement())
        self.rows.append(row)
        if self._path is not None:
            write_history(self._path, self.rows)
        for name, value in row._asdict().items():
            if name in MEANINGS and not np.isnan(value):
                self.logger.record(f"similarity/{name}", value)
        every = self._pictures_every
        if every is not None and row.decisions // every > before // every:
            self._draw()

    def _agreement(self) -> float:
        """Agreement of Σ with distances of values, in states spread over the replay buffer."""
        learner = cast(MASP, self.model)
        buffer = learner.replay_buffer
        if buffer.size() == 0:
            return float("nan")
        rows = np.linspace(0, buffer.size() - 1, self._states).astype(np.int64)
        generator, training = np.random.get_state(), learner.policy.training
        learner.policy.set_training_mode(False)
        with th.no_grad():
            states = buffer._get_samples(rows, learner._vec_normalize_env).observations
            q_values = learner._expected_values(learner._network(states))
        learner.policy.set_training_mode(training)
        np.random.set_state(generator)  # SB3's buffers draw the environments
        actions = rows_to_look_at(learner.similarity.n_actions).to(q_values.device)
        return value_agreement(learner.similarity.rows(actions).detach(), q_values, actions)

    def _draw(self) -> None:
        """Add the heat map to the log."""
        if not (find_spec("matplotlib") and find_spec("scipy")):
            return
        from sb3_masp.similarity_report.pictures import heat_map

        learner = cast(MASP, self.model)
        matrix = learner.similarity().detach().double().cpu().numpy()
        picture = heat_map(matrix, action_names(learner))
        elsewhere = ("stdout", "log", "json", "csv")
        self.logger.record("similarity/map", Figure(picture, close=False), exclude=elsewhere)
