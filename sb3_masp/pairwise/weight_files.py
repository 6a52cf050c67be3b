"""Pairwise weights on disk: safetensors, with their form and settings as metadata."""

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
    """A file without pairwise weights, or with others than are needed."""


class SavedWeights(NamedTuple):
    """Content of a file of weights.

    Args:
        form: Name of their class.
        settings: Numbers that define them besides their parameters.
        tensors: Parameters and tables, by name.
    """

    form: str
    settings: Mapping[str, float]
    tensors: Mapping[str, Tensor]


def save_weights(path: str | os.PathLike[str], weights: CreditWeights) -> None:
    """Write weights and their form to a file, atomically."""
    write_weights(path, said_of(weights))


def said_of(weights: CreditWeights) -> SavedWeights:
    """The content of a file of these weights."""
    return SavedWeights(type(weights).__name__, weights.settings(), weights.state_dict())


def write_weights(path: str | os.PathLike[str], said: SavedWeights) -> None:
    """Write the content of a file of weights, atomically."""
    tensors = {name: part.detach().contiguous() for name, part in said.tensors.items()}
    metadata = {"schema": SCHEMA, "form": said.form, "settings": json.dumps(said.settings)}
    with replacing(path) as file:
        file.write(safetensors.torch.save(tensors, metadata))


def load_weights(path: str | os.PathLike[str], into: CreditWeights | None = None) -> CreditWeights:
    """Load what `save_weights` wrote.

    Args:
        path: The file.
        into: Weights of the same form and sizes, to be overwritten with those of the file. Forms
            that read states with a network need them, since a file does not describe the network;
            a learner's own `weights` will do.

    Returns:
        ``into`` or, for tables and geometric weights, new ones.

    Raises:
        WeightsFileError: The file does not hold weights, or those of another form, size or setting
            than ``into``.
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
    """The ``weights`` of a learner that give it a file's form; raises as `load_weights`."""
    form = read_weights(path).form
    return _NAMES[form] if form in _NAMES else load_weights(path)


_MADE: dict[str, Callable[[Mapping[str, Tensor], Mapping[str, float]], CreditWeights]] = {
    "TableWeights": lambda tensors, _: TableWeights(len(tensors["logits"])),
    "FixedTableWeights": lambda tensors, _: FixedTableWeights(tensors["values"]),
    "ClockWeights": lambda tensors, _: ClockWeights(tensors["values"]),
    "GeometricWeights": lambda _, settings: GeometricWeights(settings["factor"]),
}
"""Constructors of the forms that a file describes completely."""

DRAWN = ("TableWeights", "FixedTableWeights", "ClockWeights")
"""Forms that are tables, which can be drawn without a trajectory."""


_NAMES: dict[str, WeightsName] = {
    "TableWeights": "table",
    "EmbeddingWeights": "embedding",
    "StateLambdaWeights": "state_lambda",
    "SequenceWeights": "sequence",
}
"""Names of the forms whose sizes follow from the environment."""


def _described(form: str, settings: Mapping[str, float]) -> str:
    """A form and its settings in words."""
    return " ".join([form, *(f"of {name} {value:g}" for name, value in settings.items())])


def read_weights(path: str | os.PathLike[str]) -> SavedWeights:
    """Read a file of weights of any form; raises as `load_weights`."""
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
