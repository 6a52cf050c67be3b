"""Results of a sweep: a table with a row per run, made only from their folders."""

import csv
import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from macro_gym.files import replacing
from sb3_masp.callbacks import Episode
from sb3_masp.run import read_episodes
from sb3_masp.sweeps.declaration import Sweep, SweepRun
from sb3_masp.sweeps.worker import is_finished, read_state

RESULTS = ("frames", "decisions", "updates", "final_score", "area_under_curve")


def status(run: SweepRun) -> str:
    """Return ``finished``, ``failed``, ``unfinished`` (started) or ``waiting``."""
    folder = run.config.folder
    if is_finished(folder):
        return "finished"
    state = read_state(folder)
    if state.error:
        return "failed"
    return "unfinished" if state.attempts else "waiting"


def frames_done(run: SweepRun) -> int:
    """Frames that a run has done, to the percent."""
    frames = run.config.frames
    return (
        frames
        if is_finished(run.config.folder)
        else int(read_state(run.config.folder).share * frames)
    )


def columns(sweep: Sweep) -> tuple[str, ...]:
    """Names of the table's columns."""
    settings = (name for name in sweep.swept if name not in RESULTS)
    return ("arm", "game", *settings, "seed", "status", *RESULTS, "seconds", "error")


def row(run: SweepRun, sweep: Sweep) -> dict[str, Any]:
    """A run's row, with None for the results of an unfinished run.

    ``frames`` are those that were played, ``final_score`` and ``area_under_curve`` are those of
    the functions below, ``seconds`` is the workers' time.
    """
    folder = run.config.folder
    state = read_state(folder)
    # Frames are a setting too, until they have been played.
    results: dict[str, Any] = {n: run.setting(n) if n in sweep.swept else None for n in RESULTS}
    if is_finished(folder):
        episodes = read_episodes(folder)
        counts = _counts(folder / "model.zip")
        decisions = counts["num_timesteps"]
        results = {
            # The model's total was set so that decisions over it are frames over the budget.
            "frames": round(decisions * run.config.frames / counts["_total_timesteps"]),
            "decisions": decisions,
            "updates": counts["_n_updates"],
            "final_score": final_score(episodes, run.config.frames, sweep.last_share),
            "area_under_curve": area_under_curve(episodes),
        }
    return {
        "arm": run.arm,
        "game": run.config.env,
        **{name: run.setting(name) for name in sweep.swept if name not in RESULTS},
        "seed": run.config.seed,
        "status": status(run),
        **results,
        "seconds": state.seconds if state.attempts else None,
        "error": state.error if status(run) == "failed" else None,
    }


def final_score(episodes: Sequence[Episode], frames: int, last_share: float) -> float | None:
    """Mean score of the training episodes that ended in the last share of the frames.

    If none ended there, the last episode's score; None if none ended at all.

    Args:
        episodes: In the order in which they ended.
        frames: The run's budget.
        last_share: The share, within 0..1.
    """
    last = [episode.score for episode in episodes if episode.frames > (1 - last_share) * frames]
    scores = last or [episode.score for episode in episodes[-1:]]
    return sum(scores) / len(scores) if scores else None


def area_under_curve(episodes: Sequence[Episode]) -> float | None:
    """Mean of the scores over frames: each counts for the frames since the previous one ended.

    None if no episode ended.

    Args:
        episodes: In the order in which they ended.
    """
    area, before = 0.0, 0
    for episode in episodes:
        area += episode.score * (episode.frames - before)
        before = episode.frames
    return area / before if before else None


def write_table(path: Path, rows: Sequence[dict[str, Any]], names: Sequence[str]) -> None:
    """Write rows as CSV, atomically; None is an empty field."""
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with replacing(path) as file:
        file.write(text.getvalue().encode())


def _counts(model: Path) -> dict[str, Any]:
    """A model's attributes as SB3 saves them in JSON, in which numbers are plain."""
    with zipfile.ZipFile(model) as file:
        content: dict[str, Any] = json.loads(file.read("data"))
    return content
