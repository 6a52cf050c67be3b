"""What a similarity file says of itself, and which ones are refused."""

import json

import pytest
import safetensors.torch
import torch as th
from safetensors import safe_open

from macro_gym import MacroSet
from sb3_masp.similarity import (
    KernelSimilarity,
    SimilarityAbout,
    SimilarityError,
    SoftmaxSimilarity,
    load_similarity,
    save_similarity,
)
from sb3_masp.similarity.files import _digest

A = 5
MACROS = MacroSet(("LEFT", "RIGHT"), ((0, 0, 0), (1, 0), (0, 1, 1)))
OTHER = MacroSet(("LEFT", "RIGHT"), ((0, 0, 0), (1, 0), (0, 1, 0)))


@pytest.fixture
def similarity():
    return SoftmaxSimilarity(th.rand(A, A, generator=th.Generator().manual_seed(3)))


def contents(path):
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


def test_a_file_says_whose_similarity_it_is_in_json(similarity, tmp_path):
    path = tmp_path / "sigma.safetensors"
    about = SimilarityAbout.of(MACROS, 211, 1_009, "Toy-v0", "MASPDQN", "by hand")
    save_similarity(path, similarity, about)
    _, metadata = contents(path)
    assert (metadata["schema"], metadata["form"]) == ("2", "softmax")
    assert json.loads(metadata["about"]) == {
        "actions": ["LEFT", "RIGHT", "LEFT×3", "RIGHT,LEFT", "LEFT,RIGHT,RIGHT"],
        "macro_set": MACROS.hash,
        "game": "",
        "decisions": 211,
        "frames": 1_009,
        "env": "Toy-v0",
        "learner": "MASPDQN",
        "origin": "by hand",
        "primitives": ["LEFT", "RIGHT"],
        "macros": [[0, 0, 0], [1, 0], [0, 1, 1]],
    }
    _, found = load_similarity(path)
    assert found == about
    assert found.macros_of_actions == MACROS


def test_a_change_of_any_word_or_number_is_refused(similarity, tmp_path):
    path, edited = tmp_path / "sigma.safetensors", tmp_path / "edited.safetensors"
    save_similarity(path, similarity, SimilarityAbout.of(MACROS, frames=1_009))
    tensors, metadata = contents(path)
    for name, text in metadata.items():
        if name != "schema":
            safetensors.torch.save_file(tensors, edited, metadata | {name: text + " "})
            with pytest.raises(SimilarityError, match="does not have the hash"):
                load_similarity(edited)
    for name, tensor in tensors.items():
        other = tensor.clone()
        other[2, 3] += 1e-6
        safetensors.torch.save_file(tensors | {name: other}, edited, metadata)
        with pytest.raises(SimilarityError, match="does not have the hash"):
            load_similarity(edited)
    safetensors.torch.save_file(tensors, edited, metadata)
    assert th.equal(load_similarity(edited)[0](), similarity())


def test_files_of_schema_1_are_read(similarity, tmp_path):
    path = tmp_path / "sigma.safetensors"
    save_similarity(path, similarity)
    tensors, metadata = contents(path)
    about = {"actions": list(MACROS.names), "macro_set": MACROS.hash, "game": "", "decisions": 3}
    old = metadata | {"schema": "1", "about": json.dumps(about)}
    del old["sha256"]
    safetensors.torch.save_file(tensors, path, old | {"sha256": _digest(tensors, old)})
    found, about = load_similarity(path)
    assert th.equal(found(), similarity())
    assert about == SimilarityAbout(MACROS.names, MACROS.hash, decisions=3)
    assert about.macros_of_actions is None


def test_what_is_said_of_other_actions_is_refused(similarity, tmp_path):
    path = tmp_path / "sigma.safetensors"
    with pytest.raises(SimilarityError, match=r"over 5 actions, but .* names 2: LEFT, RIGHT"):
        save_similarity(path, similarity, SimilarityAbout(("LEFT", "RIGHT")))
    with pytest.raises(SimilarityError, match=f"{MACROS.hash[:12]}.*states {OTHER.hash[:12]}"):
        save_similarity(
            path, KernelSimilarity(similarity().detach(), MACROS), SimilarityAbout.of(OTHER)
        )
    assert not path.exists()
    names, macros = MACROS.names, MACROS.macros
    with pytest.raises(SimilarityError, match=f"has the hash {MACROS.hash[:12]}, but the one"):
        SimilarityAbout(names, OTHER.hash, primitives=MACROS.primitives, macros=macros)
    with pytest.raises(SimilarityError, match="names are not those of the actions"):
        SimilarityAbout(names[::-1], MACROS.hash, primitives=MACROS.primitives, macros=macros)
