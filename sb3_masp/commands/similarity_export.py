"""``masp similarity export``: write a run's Σ to a file to train others with."""

from dataclasses import replace
from pathlib import Path

from sb3_masp import run
from sb3_masp.checkpoint import load_checkpoint
from sb3_masp.masp import MASP
from sb3_masp.run_config import ALGORITHMS
from sb3_masp.run_results import SIMILARITY, similarity_about
from sb3_masp.similarity import Similarity, SimilarityAbout, load_similarity, save_similarity


def export(folder: Path, /, output: Path | None = None) -> None:
    """Write a run's similarity to a file, for masp train ENV --similarity FILE.

    For an unfinished run, this is the similarity of its last checkpoint.

    Args:
        folder: Folder of the run.
        output: File to write; by default named after the run, in the current folder.

    Raises:
        RunError: The run has no similarity, or no penalty to learn one with.
    """
    config = run.read_config(folder)
    similarity, about = similarity_of(folder)
    eta = ALGORITHMS[config.algorithm].fixed.get("eta", config.learner.eta)
    if eta == 0 and not config.learner.eta_final:
        raise run.RunError(
            f"the run in {folder} had no penalty (eta is 0), so it learned no similarity"
        )
    unfreeze_at = config.similarity_unfreeze_at
    is_frozen = config.learner.similarity_frozen and (
        unfreeze_at is None or about.frames <= unfreeze_at
    )
    if is_frozen or not similarity.is_learned:
        about = replace(about, learner="", origin="was not learned: as the run was given it")
    output = output or Path(f"{folder.resolve().name}.safetensors")
    save_similarity(output, similarity, about)
    print(
        f"{output}: {similarity.form}, {similarity.n_actions} actions of "
        f"{about.game or about.env}, "
        + (
            f"learned by {about.learner} in {about.frames} frames"
            if about.learner
            else about.origin
        )
    )


def similarity_of(folder: Path) -> tuple[Similarity, SimilarityAbout]:
    """Σ of the run in ``folder`` or of its last checkpoint, with its metadata.

    Raises:
        RunError: There is no run or no checkpoint yet, or the learner has no Σ.
    """
    config = run.read_config(folder)
    if (folder / SIMILARITY).exists():
        return load_similarity(folder / SIMILARITY)
    if (folder / "model.zip").exists() or not (folder / run.CHECKPOINT).exists():
        raise run.RunError(
            f"{folder} holds no similarity: either its learner, {config.algorithm}, has none, or "
            "there is no checkpoint yet"
        )
    model, extra = load_checkpoint(folder / run.CHECKPOINT, "cpu")
    if not isinstance(model, MASP):
        raise run.RunError(f"the learner of {folder}, {config.algorithm}, has no similarity")
    return model.similarity, similarity_about(model, config.env, extra["budget"]["frames"])
