"""Checkpoints from which a run goes on exactly as if it had never stopped.

They hold the buffer, the environment in the middle of its episode and every random
generator, as a pickle: they are private to the run that wrote them. What is meant to be shared is
written beside them in open formats.
"""

import copyreg
import inspect
import io
import os
import pickle
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from macro_gym.errors import CheckpointError, RestoreError
from macro_gym.files import replacing
from macro_gym.pickling import comes_back_new
from sb3_masp.generators import generators, restore_generators


class Cost(NamedTuple):
    """What writing a checkpoint took.

    Args:
        seconds: Time, in which nothing is learned.
        nbytes: Size of the file.
    """

    seconds: float
    nbytes: int


class Resumed(NamedTuple):
    """A run as it was.

    Args:
        model: The learner, with its environment and its buffer.
        extra: What else the checkpoint was given.
    """

    model: BaseAlgorithm
    extra: dict[str, Any]


NOT_SAVED = ("replay_buffer", "rollout_buffer", "_window", "_outcomes")
"""What learners have and do not save, besides their environment: in a run it goes on."""

WITHOUT_CHECKPOINTS = (
    "Without checkpoints (masp train --checkpoint-every None) a run goes on to its end, and begins "
    "again if it is stopped"
)


class Pickler(pickle.Pickler):
    """Pickles SB3's wrappers whole, and of tensors their own entries only.

    By themselves most wrappers refuse, and VecNormalize loses its environment; and each of many
    views of a vector would bring all of it.
    """

    def reducer_override(self, thing: Any) -> Any:
        """Leave out of wrappers what classes say again, and of views what they do not show."""
        if type(thing) is th.Tensor and thing.nbytes < thing.untyped_storage().nbytes():
            return thing.clone().__reduce_ex__(pickle.HIGHEST_PROTOCOL)  # type: ignore[no-untyped-call]
        if not isinstance(thing, VecEnvWrapper):
            return NotImplemented
        state = {name: part for name, part in vars(thing).items() if name != "class_attributes"}
        return copyreg.__newobj__, (type(thing),), state, None, None, _restore_wrapper  # type: ignore[attr-defined]


def _restore_wrapper(wrapper: VecEnvWrapper, state: Mapping[str, Any]) -> None:
    """Give a wrapper its attributes back."""
    vars(wrapper).update(state, class_attributes=dict(inspect.getmembers(type(wrapper))))


def require_restorable(env: VecEnv | None) -> None:
    """Refuse environments that would come back from a checkpoint as new ones.

    Raises:
        CheckpointError: One does: it is pickled as its constructor's arguments (EzPickle).
    """
    for single in getattr(env and env.unwrapped, "envs", []):
        if (name := comes_back_new(single)) is not None:
            raise CheckpointError(
                f"{name} is pickled as the arguments of its constructor (EzPickle), so a "
                "checkpoint in the middle of an episode would go on with a new one. An Atari game "
                "can be trained on as MacroALE/<Game>-v5, whose --k 0 is the game without macros. "
                f"{WITHOUT_CHECKPOINTS}."
            )


def save_checkpoint(
    path: str | os.PathLike[str], model: BaseAlgorithm, extra: Mapping[str, Any]
) -> Cost:
    """Write all that a run consists of; whole or not at all.

    Args:
        path: The file.
        model: A learner between two rollouts, on environments in this process.
        extra: Anything else that the run will need, to be pickled with it.

    Returns:
        What it took.

    Raises:
        CheckpointError: An environment cannot be pickled, or would not be the same afterwards.
    """
    begun = time.perf_counter()
    require_restorable(model.env)
    zipped = io.BytesIO()
    model.save(zipped)
    content = {
        "class": type(model),
        "model": zipped.getvalue(),
        "env": model.env,
        # Pickled together: often they are the environment's own, and both draw from a generator.
        "spaces": {
            "observation_space": model.observation_space,
            "action_space": model.action_space,
        },
        "generators": generators(model),
        "extra": dict(extra),
    }
    content |= {name: vars(model)[name] for name in NOT_SAVED if name in vars(model)}
    with replacing(path) as file:
        try:
            Pickler(file, pickle.HIGHEST_PROTOCOL).dump(content)
        except (TypeError, AttributeError, RestoreError, pickle.PicklingError) as error:
            raise CheckpointError(
                f"the run cannot be pickled: {error}. Do its environments hold a lambda, a "
                "generator or an open file, or are they in other processes? "
                f"{WITHOUT_CHECKPOINTS}."
            ) from error
        nbytes = file.tell()
    return Cost(time.perf_counter() - begun, nbytes)


def remove_unfinished(path: str | os.PathLike[str]) -> None:
    """Remove what killed processes left of checkpoints that were to become ``path``."""
    for unfinished in Path(path).parent.glob(f".{Path(path).name}.*"):
        unfinished.unlink()


def load_checkpoint(path: str | os.PathLike[str], device: th.device | str = "auto") -> Resumed:
    """Read a checkpoint that this machine wrote; do not load one from a stranger.

    Raises:
        FileNotFoundError: There is no such file.
    """
    with Path(path).open("rb") as file:
        content = pickle.load(file)
    # Without the environment, which building a model would seed, but with its spaces.
    model = content["class"].load(io.BytesIO(content["model"]), device=device, **content["spaces"])
    model.set_env(content["env"], force_reset=False)
    vars(model).update({name: content[name] for name in NOT_SAVED if name in content})
    for buffer in ("replay_buffer", "rollout_buffer"):
        if buffer in content:
            content[buffer].device = model.device
    # Last: building the model has drawn from the generators.
    restore_generators(model, content["generators"])
    return Resumed(model, content["extra"])
