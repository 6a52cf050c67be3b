"""``masp weights export``: write a run's pairwise weights to a file to train others with."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from sb3_masp import run
from sb3_masp.checkpoint import load_checkpoint
from sb3_masp.pairwise import PairwiseA2C, load_weights
from sb3_masp.pairwise.weight_files import (
    DRAWN,
    SavedWeights,
    read_weights,
    said_of,
    write_weights,
)
from sb3_masp.run_results import WEIGHTS

if TYPE_CHECKING:
    from sb3_masp.pairwise.pictures import WeightMap


class FoundWeights(NamedTuple):
    """Weights found in a file.

    Args:
        source: The file.
        said: Its content.
        maps: Heat maps of the weights, by title.
    """

    source: Path
    said: SavedWeights
    maps: "dict[str, WeightMap]"


def export(folder: Path, /, output: Path | None = None) -> None:
    """Write a run's pairwise weights to a file, for masp train ENV --weights FILE.

    For an unfinished run, these are the weights of its last checkpoint.

    Args:
        folder: Folder of the run.
        output: File to write; by default named after the run, in the current folder.
    """
    found = weights_in(folder)
    output = output or Path(f"{folder.resolve().name}.safetensors")
    write_weights(output, found.said)
    print(f"{output}: {found.said.form}, of {found.source}")


def weights_in(path: Path) -> FoundWeights:
    """Return the weights in a file, of a run, or of a run's last checkpoint.

    Raises:
        RunError: A folder holds no run with pairwise weights.
        WeightsFileError: The file holds no weights.
        FileNotFoundError: There is no such file.
    """
    from sb3_masp.pairwise.pictures import maps_of, table_map

    if path.is_dir() and not (path / WEIGHTS).exists():
        model = _model_of(path)
        return FoundWeights(path / run.CHECKPOINT, said_of(model.weights), maps_of(model))
    source = path / WEIGHTS if path.is_dir() else path
    said = read_weights(source)
    maps = {said.form: table_map(load_weights(source))} if said.form in DRAWN else {}
    return FoundWeights(source, said, maps)


def _model_of(folder: Path) -> PairwiseA2C:
    """The learner in a run's last checkpoint."""
    config = run.read_config(folder)
    if config.algorithm != "pairwise-a2c":
        raise run.RunError(f"the learner of {folder}, {config.algorithm}, has no pairwise weights")
    if not (folder / run.CHECKPOINT).exists():
        raise run.RunError(
            f"{folder} holds no pairwise weights: there is no {WEIGHTS}, which a run writes when "
            "it ends, and no checkpoint yet"
        )
    model, _ = load_checkpoint(folder / run.CHECKPOINT, "cpu")
    return cast(PairwiseA2C, model)
