"""What a finished run leaves in its folder: tables, model, Σ and plots."""

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
from sb3_masp.macro_learner import MacroLearner
from sb3_masp.masp import MASP
from sb3_masp.similarity import SimilarityAbout, save_similarity


def write_results(folder: Path, model: MacroLearner, log: EpisodeLog) -> None:
    """Write what a finished run leaves; the model last, which marks it as finished."""
    names = action_names(model)
    _write_csv(folder / "episodes.csv", Episode._fields, log.episodes)
    _write_csv(
        folder / "actions.csv", ("action", "decisions"), zip(names, log.action_counts, strict=True)
    )
    if isinstance(model, MASP):
        _save_similarity(folder / "similarity.safetensors", model, names)
    if find_spec("matplotlib") and find_spec("scipy"):
        _draw(folder / "plots", model, log, names)
    else:
        print("No plots: they need pip install 'macro-gym[plots]'.", file=sys.stderr)
    zipped = io.BytesIO()
    model.save(zipped)
    with replacing(folder / "model.zip") as file:
        file.write(zipped.getvalue())


def _save_similarity(path: Path, model: MASP, names: tuple[str, ...]) -> None:
    """Write Σ with what it belongs to."""
    macro_set = model.macro_set
    about = SimilarityAbout(
        names,
        "" if macro_set is None else macro_set.hash,
        "" if macro_set is None else macro_set.provenance.game,
        model.num_timesteps,
    )
    save_similarity(path, model.similarity, about)


def _draw(plots: Path, model: MacroLearner, log: EpisodeLog, names: Sequence[str]) -> None:
    """Draw the run's plots."""
    from sb3_masp.plots import action_usage, learning_curve, similarity_map

    learning_curve(plots / "learning_curve.png", {"training": log.episodes})
    if isinstance(model, MASP):
        similarity = model.similarity().detach().cpu().numpy()
        similarity_map(plots / "similarity.png", similarity, names)
    action_usage(plots / "action_usage.png", log.action_counts, names)


def action_names(model: MacroLearner) -> tuple[str, ...]:
    """Names of the model's actions; their numbers where the environment has no names."""
    if model.macro_set is not None:
        return model.macro_set.names
    return tuple(map(str, range(int(cast(spaces.Discrete, model.action_space).n))))


def read_episodes(folder: Path) -> list[Episode]:
    """The training episodes of the finished run in ``folder``."""
    with (folder / "episodes.csv").open() as file:
        return [
            Episode(
                int(row["frames"]), int(row["decisions"]), float(row["score"]), int(row["length"])
            )
            for row in csv.DictReader(file)
        ]


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Iterable[Any]]) -> None:
    """Write a table, whole or not at all."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    with replacing(path) as file:
        file.write(text.getvalue().encode())
