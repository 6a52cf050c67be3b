"""``masp weights export``: a run's pairwise weights as a file to train others with."""

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
    """Weights that a file holds.

    Args:
        source: The file that they are from.
        said: What it says of them.
        maps: What can be drawn of them, by title.
    """

    source: Path
    said: SavedWeights
    maps: "dict[str, WeightMap]"


def export(folder: Path, /, output: Path | None = None) -> None:
    """Write a run's pairwise weights to a file, for masp train ENV --weights FILE.

    Of a run that is under way they are those of the last checkpoint.

    Args:
        folder: The run.
        output: The file to write; by default the run's name, here.
    """
    found = weights_in(folder)
    output = output or Path(f"{folder.resolve().name}.safetensors")
    write_weights(output, found.said)
    print(f"{output}: {found.said.form}, of {found.source}")


def weights_in(path: Path) -> FoundWeights:
    """The weights in a file, of a run, or of a run's last checkpoint.

    Raises:
        RunError: A folder holds no run with pairwise weights.
        WeightsFileError: A file holds none.
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
