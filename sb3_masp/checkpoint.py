"""Checkpoints from which a run resumes exactly as if it had never stopped.

A checkpoint pickles the learner with its buffer, the environment in mid-episode and every random
generator; it is private to the run that wrote it. Results meant to be shared are written beside it
in open formats.
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
    """Cost of writing a checkpoint.

    Args:
        seconds: Time during which nothing is learned.
        nbytes: Size of the file.
    """

    seconds: float
    nbytes: int


class Resumed(NamedTuple):
    """A run restored from a checkpoint.

    Args:
        model: The learner, with its environment and its buffer.
        extra: The ``extra`` that the checkpoint was saved with.
    """

    model: BaseAlgorithm
    extra: dict[str, Any]


NOT_SAVED = ("replay_buffer", "rollout_buffer", "_window", "_outcomes")
"""Attributes that learners do not save but a resumed run needs, besides the environment."""

WITHOUT_CHECKPOINTS = (
    "Without checkpoints (masp train --checkpoint-every None) a run can be trained to the end, but "
    "starts over if it is stopped"
)


class Pickler(pickle.Pickler):
    """Pickles SB3's wrappers completely, and tensor views without the rest of their storage.

    By default most wrappers refuse to be pickled, VecNormalize loses its environment, and each of
    many views of a vector would bring all of it.
    """

    def reducer_override(self, thing: Any) -> Any:
        """Drop a wrapper's ``class_attributes`` and the storage that a view does not show."""
        if type(thing) is th.Tensor and thing.nbytes < thing.untyped_storage().nbytes():
            return thing.clone().__reduce_ex__(pickle.HIGHEST_PROTOCOL)  # type: ignore[no-untyped-call]
        if not isinstance(thing, VecEnvWrapper):
            return NotImplemented
        state = {name: part for name, part in vars(thing).items() if name != "class_attributes"}
        return copyreg.__newobj__, (type(thing),), state, None, None, _restore_wrapper  # type: ignore[attr-defined]


def _restore_wrapper(wrapper: VecEnvWrapper, state: Mapping[str, Any]) -> None:
    """Restore a wrapper's attributes."""
    vars(wrapper).update(state, class_attributes=dict(inspect.getmembers(type(wrapper))))


def require_restorable(env: VecEnv | None) -> None:
    """Reject environments that would be unpickled as new ones.

    Raises:
        CheckpointError: One is pickled as its constructor's arguments (EzPickle).
    """
    for single in getattr(env and env.unwrapped, "envs", []):
        if (name := comes_back_new(single)) is not None:
            raise CheckpointError(
                f"{name} is pickled as the arguments of its constructor (EzPickle), so a "
                "checkpoint in the middle of an episode would resume with a new one. An Atari "
                "game can be trained on as MacroALE/<Game>-v5, which with --k 0 has no macros. "
                f"{WITHOUT_CHECKPOINTS}."
            )


def save_checkpoint(
    path: str | os.PathLike[str], model: BaseAlgorithm, extra: Mapping[str, Any]
) -> Cost:
    """Write the whole state of a run, atomically.

    Args:
        path: File to write.
        model: A learner between two rollouts, on environments in this process.
        extra: Anything else that the run needs, pickled with it.

    Returns:
        Its time and size.

    Raises:
        CheckpointError: An environment cannot be pickled, or would not be restored as it was.
    """
    begun = time.perf_counter()
    require_restorable(model.env)
    zipped = io.BytesIO()
    model.save(zipped)
    content = {
        "class": type(model),
        "model": zipped.getvalue(),
        "env": model.env,
        # In the same pickle: these are often the environment's own, and share its generators.
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
    """Remove the temporary files that killed processes left while writing ``path``."""
    for unfinished in Path(path).parent.glob(f".{Path(path).name}.*"):
        unfinished.unlink()


def load_checkpoint(path: str | os.PathLike[str], device: th.device | str = "auto") -> Resumed:
    """Load a checkpoint that this machine wrote; never load one from an untrusted source.

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
