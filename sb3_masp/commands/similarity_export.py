"""``masp similarity export``: a run's Σ as a file to train others with."""

from pathlib import Path

from macro_gym.files import replacing
from sb3_masp import run
from sb3_masp.similarity import load_similarity


def export(folder: Path, /, output: Path = Path("similarity.safetensors")) -> None:
    """Write a run's similarity to a file: masp train ENV --similarity FILE.

    Args:
        folder: The run.
        output: The file to write.
    """
    config = run.read_config(folder)
    source = folder / "similarity.safetensors"
    if not source.exists():
        raise run.RunError(
            f"{folder} holds no similarity: the run is of {config.algorithm} and "
            f"{'finished' if (folder / 'model.zip').exists() else 'not finished'}"
        )
    similarity, about = load_similarity(source)
    with replacing(output) as file:
        file.write(source.read_bytes())
    print(
        f"{output}: {similarity.form}, {similarity.n_actions} actions of {about.game or 'no game'}"
    )
