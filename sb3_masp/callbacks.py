"""Callbacks that count in emulator frames, the unit in which runs are compared."""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv
from tqdm import tqdm

from macro_gym.frames import frames_per_step
from sb3_masp.checkpoint import Cost
from sb3_masp.memory import readable


class Episode(NamedTuple):
    """One finished episode of training.

    Args:
        frames: Emulator frames of the whole run when it ended.
        decisions: Decisions of the whole run when it ended.
        score: Sum of the rewards, unclipped.
        length: Decisions in the episode.
    """

    frames: int
    decisions: int
    score: float
    length: int


class FrameBudget(BaseCallback):
    """Ends training after a number of emulator frames, and lets schedules follow frames.

    SB3 counts decisions. With macros the same number of decisions can be any number of frames, so
    runs that are to be compared need the same number of frames; and ε or a learning rate that is
    to fall over a share of the run has to fall over frames too. For environments that are no
    emulators, a step counts as a frame.

    Args:
        frames: The budget.
        progress_bar: Whether to show one, counting frames.
        label: What to write before the bar.
        line: Line of the screen for it, from 0, where several runs share one.
    """

    def __init__(
        self, frames: int, progress_bar: bool = False, label: str = "", line: int = 0
    ) -> None:
        """Start at zero frames."""
        super().__init__()
        self.budget = frames
        self.frames = 0
        self._progress_bar = progress_bar
        self._label = label
        self._line = line
        self._bar: Any = None

    def _on_training_start(self) -> None:
        """Ask the environment how many frames a step is."""
        self._frameskip = _frames_per_step(self.training_env)
        if self._progress_bar:
            self._bar = tqdm(
                desc=self._label or None,
                total=self.budget,
                initial=self.frames,
                unit="frame",
                unit_scale=True,
                smoothing=0.1,
                position=self._line,
            )

    def _on_step(self) -> bool:
        """Count the frames of the decisions just made; False once the budget is spent."""
        steps = sum(int(info.get("duration", 1)) for info in self.locals["infos"])
        self.frames += steps * self._frameskip
        # SB3 takes progress as decisions over this; it comes out as frames over the budget.
        self.model._total_timesteps = self.num_timesteps * self.budget / self.frames  # type: ignore[assignment]
        self.logger.record("time/frames", self.frames)
        if self._bar is not None:
            self._bar.update(min(self.frames, self.budget) - self._bar.n)
            if self.model.ep_info_buffer:
                scores = [episode["r"] for episode in self.model.ep_info_buffer]
                self._bar.set_postfix(score=f"{np.mean(scores):.1f}", refresh=False)
        return self.frames < self.budget

    def _on_training_end(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def __getstate__(self) -> dict[str, Any]:
        """What a resumed run needs: the count, not the bar or the model."""
        return {"budget": self.budget, "frames": self.frames}


def _frames_per_step(env: VecEnv) -> int:
    """Frames in a step: as macro environments say, else as the wrappers do; 1 if nobody does."""
    if env.has_attr("frameskip"):
        return max(int(env.get_attr("frameskip", indices=0)[0]), 1)
    envs = getattr(env.unwrapped, "envs", None)
    return max(frames_per_step(envs[0]), 1) if envs else 1


class Unfreeze(BaseCallback):
    """Lets a frozen similarity learn once a number of emulator frames is over.

    Args:
        budget: The callback that counts the frames; it must come first in the list.
        frames: After how many.
    """

    def __init__(self, budget: FrameBudget, frames: int) -> None:
        """Note when."""
        super().__init__()
        self._budget = budget
        self._frames = frames

    def _on_step(self) -> bool:
        """Unfreeze if it is time; a resumed run finds the model as it was."""
        if self._budget.frames >= self._frames:
            self.model.similarity_frozen = False  # type: ignore[attr-defined]
        return True


class EpisodeLog(BaseCallback):
    """Keeps every finished episode, and how often each action was chosen.

    Args:
        budget: The callback that counts the frames; it must come first in the list.
    """

    def __init__(self, budget: FrameBudget) -> None:
        """Start empty."""
        super().__init__()
        self._budget = budget
        self.episodes: list[Episode] = []
        self.action_counts = np.zeros(0, dtype=np.int64)

    @property
    def frames(self) -> int:
        """Emulator frames so far."""
        return self._budget.frames

    def _on_training_start(self) -> None:
        """Learn how many actions there are."""
        if self.action_counts.size == 0:
            n_actions = int(self.model.action_space.n)  # type: ignore[attr-defined]
            self.action_counts = np.zeros(n_actions, dtype=np.int64)

    def _on_step(self) -> bool:
        """Note the actions taken and the episodes that ended."""
        np.add.at(self.action_counts, np.asarray(self.locals["actions"]).reshape(-1), 1)
        for info in self.locals["infos"]:
            if "episode" in info:
                score, length = info["episode"]["r"], info["episode"]["l"]
                self.episodes.append(
                    Episode(self._budget.frames, self.num_timesteps, float(score), int(length))
                )
        return True

    def __getstate__(self) -> dict[str, Any]:
        """What a resumed run needs."""
        return {"episodes": self.episodes, "action_counts": self.action_counts}


class LogLines(BaseCallback):
    """Writes a line of the log every so many updates of a learner on policy.

    SB3 counts them from where `learn` was called, and a run that is resumed would write others.

    Args:
        every: How many.
    """

    def __init__(self, every: int = 100) -> None:
        """Note it."""
        super().__init__()
        self._every = every

    def _on_step(self) -> bool:
        """Do nothing."""
        return True

    def _on_rollout_end(self) -> None:
        """Write what is known before the update that is about to be taken, as SB3 does."""
        learner = cast(OnPolicyAlgorithm, self.model)
        if (learner._n_updates + 1) % self._every == 0:
            learner.dump_logs()


class Checkpoints(BaseCallback):
    """Calls ``save`` every so many decisions, between two rollouts, where nothing is half done.

    Args:
        every: Decisions between two calls; None for no call at all.
        save: Writes a checkpoint and says what it took; the log shows it.
        at_once: Whether to begin with one, so that there is always something to go on from.
    """

    def __init__(self, every: int | None, save: Callable[[], Cost], at_once: bool = False) -> None:
        """Note them."""
        super().__init__()
        self._every = every
        self._save = save
        self._at_once = at_once
        self._stop = False
        self._costs: list[Cost] = []

    def statement(self) -> str:
        """One line on how many checkpoints there were and what they took."""
        if not self._costs:
            return "no checkpoint"
        seconds = sum(cost.seconds for cost in self._costs)
        size = readable(self._costs[-1].nbytes)
        return f"{len(self._costs)} checkpoints took {seconds:.1f} s; the last is of {size}"

    def stop(self) -> None:
        """Save as soon as nothing is half done, if at all, and then raise KeyboardInterrupt."""
        self._stop = True

    def _on_training_start(self) -> None:
        """Count from here."""
        self._last = self.num_timesteps - ((self._every or 0) if self._at_once else 0)

    def _on_step(self) -> bool:
        """Do nothing: in the middle of a rollout the last transition is not stored yet."""
        return True

    def _on_rollout_start(self) -> None:
        """Save if it is time."""
        if self._every is not None and (
            self._stop or self.model.num_timesteps - self._last >= self._every
        ):
            self._last = self.model.num_timesteps
            self._costs.append(self._save())
            self.logger.record("checkpoint/seconds", self._costs[-1].seconds)
            self.logger.record("checkpoint/bytes", self._costs[-1].nbytes)
        if self._stop:
            raise KeyboardInterrupt
