"""Callbacks that count emulator frames, the unit in which runs are compared."""

import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.utils import ConstantSchedule, FloatSchedule
from stable_baselines3.common.vec_env import VecEnv
from tqdm import tqdm

from macro_gym.errors import FrameSkipError
from macro_gym.frames import combined_skip, frames_per_step
from sb3_masp.checkpoint import Cost
from sb3_masp.frame_schedules import FrameSchedules
from sb3_masp.memory import readable


class Episode(NamedTuple):
    """One finished episode of training.

    Args:
        frames: Emulator frames of the run when the episode ended.
        decisions: Decisions of the run when the episode ended.
        score: Sum of the unclipped rewards.
        length: Decisions in the episode.
    """

    frames: int
    decisions: int
    score: float
    length: int


class FrameBudget(BaseCallback):
    """Ends training after a number of emulator frames, and makes schedules follow frames.

    SB3 counts decisions, but with macros a decision lasts a varying number of frames. Comparable
    runs need the same number of frames, and schedules such as those of ε or a learning rate have
    to follow frames too. If the environment is not an emulator, a step counts as a frame.

    Schedules of SB3's own on-policy learners follow frames only with `FrameSchedules`; otherwise
    they follow decisions over ``total_timesteps``, with a warning unless they are constant.

    Args:
        frames: Budget in emulator frames.
        progress_bar: Whether to show a progress bar in frames.
        label: Text before the bar.
        line: Screen line of the bar, from 0, where several runs share the screen.
        frames_per_step: Emulator frames per step; None to ask the environments, wherever they run,
            and count 1 for those that know of no frame skip.

    Raises:
        FrameSkipError: When training starts, if games of Atari do not tell their frames per step,
            skip a random number of them or skip twice.
    """

    def __init__(
        self,
        frames: int,
        progress_bar: bool = False,
        label: str = "",
        line: int = 0,
        *,
        frames_per_step: int | None = None,
    ) -> None:
        """Start at zero frames."""
        super().__init__()
        self.budget = frames
        self.frames = 0
        self._frames_per_step = frames_per_step
        self._progress_bar = progress_bar
        self._label = label
        self._line = line
        self._bar: Any = None

    def _on_training_start(self) -> None:
        """Look up the frames per step, check the schedules and open the progress bar."""
        self._frameskip = self._frames_per_step or _frames_per_step(self.training_env)
        _warn_of_schedules_of_decisions(self.model)
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
        # SB3 computes progress as decisions over this, which makes it frames over the budget.
        self.model._total_timesteps = self.num_timesteps * self.budget / self.frames  # type: ignore[assignment]
        self.logger.record("time/frames", self.frames)
        if self._bar is not None:
            self._bar.update(min(self.frames, self.budget) - self._bar.n)
            if self.model.ep_info_buffer:
                scores = [episode["r"] for episode in self.model.ep_info_buffer]
                self._bar.set_postfix(score=f"{np.mean(scores):.1f}", refresh=False)
        return self.frames < self.budget

    def _on_training_end(self) -> None:
        """Close the progress bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def __getstate__(self) -> dict[str, Any]:
        """What a resumed run needs: the count, not the bar or the model."""
        return {"budget": self.budget, "frames": self.frames}


def _frames_per_step(env: VecEnv) -> int:
    """Frames per step, from a macro environment's ``frameskip`` or the layers that skip; else 1."""
    if env.has_attr("frameskip"):
        return max(int(env.get_attr("frameskip", indices=0)[0]), 1)
    envs = getattr(env.unwrapped, "envs", None)
    return max(frames_per_step(envs[0]) if envs else combined_skip(_skips_elsewhere(env)), 1)


def _warn_of_schedules_of_decisions(model: BaseAlgorithm) -> None:
    """Warn if a learner has schedules that change, and that cannot follow frames."""
    if isinstance(model, FrameSchedules) or not isinstance(model, OnPolicyAlgorithm):
        return
    changing = [
        name
        for name, value in vars(model).items()
        if isinstance(value, FloatSchedule)
        and not isinstance(value.value_schedule, ConstantSchedule)
    ]
    if changing:
        learner = type(model).__name__
        warnings.warn(
            f"{' and '.join(changing)} of {learner} will follow decisions over total_timesteps, "
            "not frames over the budget. For frames, train a class derived from it: "
            f"class Frame{learner}(FrameSchedules, {learner}), see sb3_masp.frame_schedules",
            stacklevel=2,
        )


def _skips_elsewhere(env: VecEnv) -> Iterator[tuple[str, Any]]:
    """Yield what skips frames in environments that are not in this process: attribute and frames.

    Raises:
        FrameSkipError: They are ale-py's vector environment, made without ``gym.make_vec``.
    """
    atari = env.has_attr("_frameskip")
    # Elsewhere ``frame_skip`` may be the simulator's, as in MuJoCo.
    for name in ("_skip", "frame_skip", "_frameskip") if atari else ("_skip",):
        if env.has_attr(name):
            yield name, env.get_attr(name, indices=0)[0]
    if not atari and env.has_attr("ale"):
        spec = env.get_attr("spec", indices=0)[0]
        if spec is None or "frameskip" not in spec.kwargs:
            raise FrameSkipError(
                "the environments are games of Atari, but do not tell their frames per step. Give "
                "them, as in FrameBudget(10_000_000, frames_per_step=4), or make the environments "
                "with gym.make_vec."
            )
        yield "frameskip", spec.kwargs["frameskip"]


class Unfreeze(BaseCallback):
    """Unfreezes a frozen similarity after a number of emulator frames.

    Args:
        budget: The callback that counts the frames; it must come first in the list.
        frames: Emulator frames after which to unfreeze.
    """

    def __init__(self, budget: FrameBudget, frames: int) -> None:
        """Store the arguments."""
        super().__init__()
        self._budget = budget
        self._frames = frames

    def _init_callback(self) -> None:
        """Reject learners that could not learn Σ before they learn anything else.

        Raises:
            UnsupportedOptimizerError: Σ cannot be learned through the network's optimizer.
        """
        self.model._require_learnable()  # type: ignore[attr-defined]

    def _on_step(self) -> bool:
        """Unfreeze if due; a resumed run finds the model as it was."""
        if self._budget.frames >= self._frames:
            self.model.similarity_frozen = False  # type: ignore[attr-defined]
        return True


class EpisodeLog(BaseCallback):
    """Records every finished episode, and how often each action was chosen.

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
        """Allocate a counter per action, unless resumed."""
        if self.action_counts.size == 0:
            n_actions = int(self.model.action_space.n)  # type: ignore[attr-defined]
            self.action_counts = np.zeros(n_actions, dtype=np.int64)

    def _on_step(self) -> bool:
        """Count the actions taken and record the episodes that ended."""
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
    """Writes the log every ``every`` updates of an on-policy learner.

    SB3 counts updates from the call of `learn`, so a resumed run would log at other updates.

    Args:
        every: Updates between two lines of the log.
    """

    def __init__(self, every: int = 100) -> None:
        """Store the interval."""
        super().__init__()
        self._every = every

    def _on_step(self) -> bool:
        """Do nothing."""
        return True

    def _on_rollout_end(self) -> None:
        """Write the log before the coming update, as SB3 does."""
        learner = cast(OnPolicyAlgorithm, self.model)
        if (learner._n_updates + 1) % self._every == 0:
            learner.dump_logs()


class Checkpoints(BaseCallback):
    """Calls ``save`` every ``every`` decisions, between rollouts, where nothing is half done.

    Args:
        every: Decisions between two calls; None to never call it.
        save: Writes a checkpoint and returns its cost, which is logged.
        at_once: Whether to save at the start too, so that there is always a checkpoint.
    """

    def __init__(self, every: int | None, save: Callable[[], Cost], at_once: bool = False) -> None:
        """Store the arguments."""
        super().__init__()
        self._every = every
        self._save = save
        self._at_once = at_once
        self._stop = False
        self._costs: list[Cost] = []

    def statement(self) -> str:
        """One line on the number of checkpoints and their cost."""
        if not self._costs:
            return "no checkpoint"
        seconds = sum(cost.seconds for cost in self._costs)
        size = readable(self._costs[-1].nbytes)
        return f"{len(self._costs)} checkpoints took {seconds:.1f} s; the last is of {size}"

    def stop(self) -> None:
        """Save before the next rollout, if at all, and then raise KeyboardInterrupt."""
        self._stop = True

    def _on_training_start(self) -> None:
        """Start counting decisions."""
        self._last = self.num_timesteps - ((self._every or 0) if self._at_once else 0)

    def _on_step(self) -> bool:
        """Do nothing: in the middle of a rollout the last transition is not stored yet."""
        return True

    def _on_rollout_start(self) -> None:
        """Save if due."""
        if self._every is not None and (
            self._stop or self.model.num_timesteps - self._last >= self._every
        ):
            self._last = self.model.num_timesteps
            self._costs.append(self._save())
            self.logger.record("checkpoint/seconds", self._costs[-1].seconds)
            self.logger.record("checkpoint/bytes", self._costs[-1].nbytes)
        if self._stop:
            raise KeyboardInterrupt
