"""``masp similarity export``: a run's Σ as a file to train others with."""

from pathlib import Path

from sb3_masp import run
from sb3_masp.checkpoint import load_checkpoint
from sb3_masp.masp import MASP
from sb3_masp.run_results import SIMILARITY, similarity_about
from sb3_masp.similarity import Similarity, SimilarityAbout, load_similarity, save_similarity


def export(folder: Path, /, output: Path | None = None) -> None:
    """Write a run's similarity to a file, for masp train ENV --similarity FILE.

    Of a run that is under way it is the similarity of the last checkpoint.

    Args:
        folder: The run.
        output: The file to write; by default the run's name, here.
    """
    similarity, about = similarity_of(folder)
    output = output or Path(f"{folder.resolve().name}.safetensors")
    save_similarity(output, similarity, about)
    print(
        f"{output}: {similarity.form}, {similarity.n_actions} actions of "
        f"{about.game or about.env}, learned by {about.learner} in {about.frames} frames"
    )


def similarity_of(folder: Path) -> tuple[Similarity, SimilarityAbout]:
    """Σ of the run in ``folder``, or of its last checkpoint, and whose it is.

    Raises:
        RunError: There is no run, or its learner has no Σ, or there is no checkpoint yet.
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
