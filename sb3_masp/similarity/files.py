"""Σ on disk: safetensors, with what is needed to know whose Σ it is."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from macro_gym.files import replacing
from sb3_masp.similarity.base import SIMILARITIES, Similarity, SimilarityError

SCHEMA = "1"


@dataclass(frozen=True, slots=True)
class SimilarityAbout:
    """Whose Σ it is.

    Args:
        actions: Names of the actions, in Σ's order.
        macro_set: Hash of the macro set; empty for an environment without one.
        game: The game, as in ``ALE/<game>-v5``; empty if none.
        decisions: Decisions of training behind it.
    """

    actions: tuple[str, ...] = ()
    macro_set: str = ""
    game: str = ""
    decisions: int = 0


def save_similarity(
    path: str | os.PathLike[str], similarity: Similarity, about: SimilarityAbout | None = None
) -> None:
    """Write Σ, its parameters and whose it is; whole or not at all."""
    tensors = {name: tensor.contiguous() for name, tensor in similarity.state_dict().items()}
    tensors["similarity"] = similarity().detach().contiguous()
    metadata = {
        "schema": SCHEMA,
        "form": similarity.form,
        "settings": json.dumps(similarity.settings()),
        "about": json.dumps(asdict(about or SimilarityAbout())),
    }
    metadata["sha256"] = _digest(tensors, metadata)
    with replacing(path) as file:
        file.write(safetensors.torch.save(tensors, metadata))


def load_similarity(path: str | os.PathLike[str]) -> tuple[Similarity, SimilarityAbout]:
    """Read what `save_similarity` wrote.

    Raises:
        SimilarityError: The file is cut short, edited, of another schema or of an unknown form.
        FileNotFoundError: There is no such file.
    """
    tensors, metadata = _read(Path(path))
    if metadata.get("schema") != SCHEMA:
        raise SimilarityError(
            f"{path} has schema {metadata.get('schema')}; this sb3_masp reads {SCHEMA}. "
            "Similarity files are written by save_similarity."
        )
    stated = metadata.pop("sha256", "")
    if stated != _digest(tensors, metadata):
        raise SimilarityError(f"{path}: the content does not have the hash that the file states")
    if metadata["form"] not in SIMILARITIES:
        raise SimilarityError(
            f"{path} holds a similarity of form {metadata['form']!r}; known are "
            f"{', '.join(SIMILARITIES)}. A form of your own is known once its module is imported."
        )
    settings = json.loads(metadata.get("settings", "{}"))
    similarity = SIMILARITIES[metadata["form"]].restored(tensors.pop("similarity"), settings)
    similarity.load_state_dict(tensors)
    about = json.loads(metadata["about"])
    return similarity, SimilarityAbout(**about | {"actions": tuple(about["actions"])})


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a safetensors file."""
    if not path.exists():
        raise FileNotFoundError(f"there is no similarity file {path}")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except SafetensorError as error:
        raise SimilarityError(f"{path} is not a whole safetensors file: {error}") from error


def _digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """SHA-256 of all tensors, their shapes and types, and the metadata."""
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.cpu().numpy().tobytes())
    return digest.hexdigest()
