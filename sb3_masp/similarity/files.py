"""Σ on disk: safetensors, with metadata on its actions and origin."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from macro_gym import MacroSet
from macro_gym.files import replacing
from macro_gym.games import bare_name
from sb3_masp.similarity.base import SIMILARITIES, Similarity, SimilarityError

SCHEMA = "2"
READABLE = ("1", SCHEMA)
"""Schema 1 lacks the macros, the environment, the frames and the learner."""


@dataclass(frozen=True, slots=True)
class SimilarityAbout:
    """Metadata of a Σ: its actions, and how it was found.

    Args:
        actions: Names of the actions, in Σ's order.
        macro_set: Hash of the macro set; empty for an environment without one.
        game: The game, as in ``ALE/<game>-v5``; empty if none.
        decisions: Decisions that it was trained on.
        frames: Emulator frames that it was trained on.
        env: Id of the environment.
        learner: Class that learned it; empty if none did.
        origin: Other origin, in words.
        primitives: Names of the macro set's primitives.
        macros: Its macros, as indices into ``primitives``.

    Raises:
        SimilarityError: Hash, names and macros do not belong to one macro set.
    """

    actions: tuple[str, ...] = ()
    macro_set: str = ""
    game: str = ""
    decisions: int = 0
    frames: int = 0
    env: str = ""
    learner: str = ""
    origin: str = ""
    primitives: tuple[str, ...] = ()
    macros: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        """Convert the lists of JSON to tuples, and reject macros of another set."""
        for name in ("actions", "primitives"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "macros", tuple(map(tuple, self.macros)))
        macros = self.macros_of_actions
        if macros is not None and (macros.hash, macros.names) != (self.macro_set, self.actions):
            raise SimilarityError(
                f"the macro set has the hash {macros.hash[:12]}, but the one stated is "
                f"{self.macro_set[:12] or 'none'}, or its names are not those of the actions. "
                "SimilarityAbout.of takes them from one macro set."
            )

    @classmethod
    def of(
        cls,
        macro_set: MacroSet,
        decisions: int = 0,
        frames: int = 0,
        env: str = "",
        learner: str = "",
        origin: str = "",
    ) -> Self:
        """Metadata of a Σ over the actions of a macro set; arguments as for the class."""
        # The macros may come from demonstrations of another game.
        game = bare_name(env) if env.startswith("Macro") else macro_set.provenance.game
        return cls(
            macro_set.names,
            macro_set.hash,
            game,
            decisions,
            frames,
            env,
            learner,
            origin,
            macro_set.primitives,
            macro_set.macros,
        )

    @property
    def macros_of_actions(self) -> MacroSet | None:
        """Macro set of the actions; None if it is not known."""
        return MacroSet(self.primitives, self.macros) if self.primitives else None


def save_similarity(
    path: str | os.PathLike[str], similarity: Similarity, about: SimilarityAbout | None = None
) -> None:
    """Write Σ, its parameters and its metadata to a file, atomically.

    Raises:
        SimilarityError: ``about`` describes other actions.
    """
    about = about or SimilarityAbout()
    _require_same_actions(similarity, about)
    tensors = {name: tensor.contiguous() for name, tensor in similarity.state_dict().items()}
    if similarity.holds_matrix:
        tensors["similarity"] = similarity().detach().contiguous()
    metadata = {
        "schema": SCHEMA,
        "form": similarity.form,
        "actions": str(similarity.n_actions),
        "settings": json.dumps(similarity.settings()),
        "about": json.dumps(asdict(about)),
    }
    metadata["sha256"] = _digest(tensors, metadata)
    with replacing(path) as file:
        file.write(safetensors.torch.save(tensors, metadata))


def load_similarity(path: str | os.PathLike[str]) -> tuple[Similarity, SimilarityAbout]:
    """Load what `save_similarity` wrote.

    Raises:
        SimilarityError: The file is truncated, edited, of another schema or of an unknown form.
        FileNotFoundError: There is no such file.
    """
    tensors, metadata = _read(Path(path))
    if metadata.get("schema") not in READABLE:
        raise SimilarityError(
            f"{path} has schema {metadata.get('schema')}; this sb3_masp reads "
            f"{' and '.join(READABLE)}. Similarity files are written by save_similarity."
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
    kind = SIMILARITIES[metadata["form"]]
    similarity = kind.restored(_matrix(tensors, metadata), settings)
    similarity.load_state_dict(tensors)
    about = SimilarityAbout(**json.loads(metadata["about"]))
    _require_same_actions(similarity, about)
    return similarity, about


def _matrix(tensors: dict[str, Tensor], metadata: Mapping[str, str]) -> Tensor:
    """Take Σ out of a file's tensors; for a form that holds no matrix, one of its size."""
    if "similarity" in tensors:
        return tensors.pop("similarity")
    n_actions, like = int(metadata["actions"]), next(iter(tensors.values()))
    return like.new_tensor(1 / n_actions).expand(n_actions, n_actions)


def _require_same_actions(similarity: Similarity, about: SimilarityAbout) -> None:
    """Reject metadata of other actions than Σ's.

    Raises:
        SimilarityError: The actions differ.
    """
    if about.actions and len(about.actions) != similarity.n_actions:
        raise SimilarityError(
            f"Σ is over {similarity.n_actions} actions, but what is said of it names "
            f"{len(about.actions)}: {', '.join(about.actions[:3])}, ... Is it of another run?"
        )
    known: MacroSet | None = getattr(similarity, "macro_set", None)
    if about.macro_set and known is not None and known.hash != about.macro_set:
        raise SimilarityError(
            f"a Σ of form {similarity.form!r} knows its macros, whose hash is {known.hash[:12]}, "
            f"but what is said of it states {about.macro_set[:12]}. Is it of another run?"
        )


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
