"""What a finished run writes to its folder: tables, model, meta-learned parameters and plots."""

import csv
import io
import sys
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from gymnasium import spaces

from macro_gym.files import replacing
from sb3_masp.callbacks import Episode, EpisodeLog
from sb3_masp.macro_model import MacroModel
from sb3_masp.masp import MASP
from sb3_masp.pairwise import PairwiseA2C, save_weights
from sb3_masp.similarity import SimilarityAbout, save_similarity

SIMILARITY = "similarity.safetensors"
WEIGHTS = "weights.safetensors"


def write_results(folder: Path, env: str, model: MacroModel, log: EpisodeLog) -> None:
    """Write the results of a run on ``env``; the model last, which marks it as finished."""
    names = action_names(model)
    _write_csv(folder / "episodes.csv", Episode._fields, log.episodes)
    _write_csv(
        folder / "actions.csv", ("action", "decisions"), zip(names, log.action_counts, strict=True)
    )
    if isinstance(model, MASP):
        about = similarity_about(model, env, log.frames)
        save_similarity(folder / SIMILARITY, model.similarity, about)
    if isinstance(model, PairwiseA2C):
        save_weights(folder / WEIGHTS, model.weights)
    if find_spec("matplotlib") and find_spec("scipy"):
        _draw(folder / "plots", model, log, names)
    else:
        print("No plots: they need pip install 'macro-gym[plots]'.", file=sys.stderr)
    zipped = io.BytesIO()
    model.save(zipped)
    with replacing(folder / "model.zip") as file:
        file.write(zipped.getvalue())


def similarity_about(model: MASP, env: str, frames: int) -> SimilarityAbout:
    """Metadata of a model's Σ.

    Args:
        model: The learner.
        env: Id of its environment.
        frames: Emulator frames that it has learned from.
    """
    learner = type(model).__name__
    if model.macro_set is not None:
        return SimilarityAbout.of(model.macro_set, model.num_timesteps, frames, env, learner)
    return SimilarityAbout(
        action_names(model), decisions=model.num_timesteps, frames=frames, env=env, learner=learner
    )


def _draw(plots: Path, model: MacroModel, log: EpisodeLog, names: Sequence[str]) -> None:
    """Draw the run's plots."""
    from sb3_masp.pairwise.pictures import draw_weights, maps_of
    from sb3_masp.plots import action_usage, learning_curve
    from sb3_masp.similarity_report.pictures import heat_map, save

    learning_curve(plots / "learning_curve.png", {"training": log.episodes})
    if isinstance(model, MASP):
        similarity = model.similarity().detach().cpu().numpy()
        save(heat_map(similarity, names), plots / "similarity.png")
    if isinstance(model, PairwiseA2C) and (maps := maps_of(model)):
        draw_weights(plots / "weights.png", maps)
    action_usage(plots / "action_usage.png", log.action_counts, names)


def action_names(model: MacroModel) -> tuple[str, ...]:
    """Names of the model's actions; their numbers if the environment has no names."""
    if model.macro_set is not None:
        return model.macro_set.names
    return tuple(map(str, range(int(cast(spaces.Discrete, model.action_space).n))))


def read_episodes(folder: Path) -> list[Episode]:
    """Read the training episodes of the finished run in ``folder``."""
    with (folder / "episodes.csv").open() as file:
        return [
            Episode(
                int(row["frames"]), int(row["decisions"]), float(row["score"]), int(row["length"])
            )
            for row in csv.DictReader(file)
        ]


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Iterable[Any]]) -> None:
    """Write a table, atomically."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    with replacing(path) as file:
        file.write(text.getvalue().encode())
