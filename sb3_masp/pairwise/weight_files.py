"""Pairwise weights on disk: safetensors, with what is needed to know their form."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from macro_gym.errors import MacroGymError
from macro_gym.files import replacing
from sb3_masp.pairwise.weights import (
    ClockWeights,
    CreditWeights,
    FixedTableWeights,
    GeometricWeights,
    TableWeights,
    WeightsName,
)

SCHEMA = "1"


class WeightsFileError(MacroGymError, ValueError):
    """A file that holds no pairwise weights, or others than are needed."""


class SavedWeights(NamedTuple):
    """What a file says of weights.

    Args:
        form: Name of their class.
        settings: Numbers that they go by and that are no parameters.
        tensors: Parameters and tables, by name.
    """

    form: str
    settings: Mapping[str, float]
    tensors: Mapping[str, Tensor]


def save_weights(path: str | os.PathLike[str], weights: CreditWeights) -> None:
    """Write weights, and what form they have; whole or not at all."""
    write_weights(path, said_of(weights))


def said_of(weights: CreditWeights) -> SavedWeights:
    """What a file would say of weights."""
    return SavedWeights(type(weights).__name__, weights.settings(), weights.state_dict())


def write_weights(path: str | os.PathLike[str], said: SavedWeights) -> None:
    """Write what a file says of weights; whole or not at all."""
    tensors = {name: part.detach().contiguous() for name, part in said.tensors.items()}
    metadata = {"schema": SCHEMA, "form": said.form, "settings": json.dumps(said.settings)}
    with replacing(path) as file:
        file.write(safetensors.torch.save(tensors, metadata))


def load_weights(path: str | os.PathLike[str], into: CreditWeights | None = None) -> CreditWeights:
    """Read what `save_weights` wrote.

    Args:
        path: The file.
        into: Weights of the same form and sizes that become those of the file. Forms that read
            states by a network need them, since a file does not say what the network is; a
            learner's own `weights` will do.

    Returns:
        ``into`` or, of tables and geometric weights, new ones.

    Raises:
        WeightsFileError: The file is no such file, or of another form, size or setting than
            ``into``.
        FileNotFoundError: There is no such file.
    """
    form, settings, tensors = read_weights(path)
    if into is None:
        if form not in _MADE:
            raise WeightsFileError(
                f"{path} holds {form}, which read states by a network that the file does not say; "
                "load them into weights of that form: load_weights(path, into=model.weights)"
            )
        into = _MADE[form](tensors, settings)
    if (type(into).__name__, into.settings()) != (form, settings):
        raise WeightsFileError(
            f"{path} holds {_described(form, settings)}, but the weights to load them into are "
            f"{_described(type(into).__name__, into.settings())}"
        )
    try:
        into.load_state_dict(tensors)
    except RuntimeError as error:
        raise WeightsFileError(
            f"{path} holds {form} of other sizes: {error}. Are they of another environment?"
        ) from error
    return into


def form_of(path: str | os.PathLike[str]) -> WeightsName | CreditWeights:
    """What a learner is to be given, to have weights of a file's form; raises as `load_weights`."""
    form = read_weights(path).form
    return _NAMES[form] if form in _NAMES else load_weights(path)


_MADE: dict[str, Callable[[Mapping[str, Tensor], Mapping[str, float]], CreditWeights]] = {
    "TableWeights": lambda tensors, _: TableWeights(len(tensors["logits"])),
    "FixedTableWeights": lambda tensors, _: FixedTableWeights(tensors["values"]),
    "ClockWeights": lambda tensors, _: ClockWeights(tensors["values"]),
    "GeometricWeights": lambda _, settings: GeometricWeights(settings["factor"]),
}
"""Forms that a file says all of."""

DRAWN = ("TableWeights", "FixedTableWeights", "ClockWeights")
"""Forms that are tables, which can be drawn without a trajectory."""


_NAMES: dict[str, WeightsName] = {
    "TableWeights": "table",
    "EmbeddingWeights": "embedding",
    "StateLambdaWeights": "state_lambda",
    "SequenceWeights": "sequence",
}
"""Forms whose sizes follow from the environment."""


def _described(form: str, settings: Mapping[str, float]) -> str:
    """A form and its settings in words."""
    return " ".join([form, *(f"of {name} {value:g}" for name, value in settings.items())])


def read_weights(path: str | os.PathLike[str]) -> SavedWeights:
    """What a file of weights says; raises as `load_weights`, for files of any form."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file of weights {path}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise WeightsFileError(f"{path} is not a whole safetensors file: {error}") from error
    if metadata.get("schema") != SCHEMA or not {"form", "settings"} <= metadata.keys():
        raise WeightsFileError(
            f"{path} holds no pairwise weights of schema {SCHEMA}; save_weights writes such files"
        )
    return SavedWeights(metadata["form"], json.loads(metadata["settings"]), tensors)
