"""``masp train``: train a learner, or resume a run."""

import sys
from pathlib import Path
from typing import Annotated

import tyro

from sb3_masp import run


def train(
    config: Annotated[run.TrainConfig, tyro.conf.arg(name="")],
    resume: Path | None = None,
) -> None:
    """Train a learner, or resume a stopped or killed run exactly with --resume FOLDER.

    Args:
        config: Settings of the run.
        resume: Folder of a run to resume; its own settings are used and no others.
    """
    folder = config.folder if resume is None else resume
    try:
        run.train(config) if resume is None else run.resume(resume)
    except KeyboardInterrupt:
        if (folder / run.CHECKPOINT).exists():
            print(f"\nStopped. Go on with: masp train --resume {folder}", file=sys.stderr)
        raise
    print(f"{folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")
