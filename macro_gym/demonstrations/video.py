"""Write videos screen by screen: .mp4 with ffmpeg, or .gif."""

import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from macro_gym.errors import EnvironmentSettingError, MissingDependencyError
from macro_gym.files import replacing, require_file

GIF_FPS = 30
"""Maximum screens per second in a GIF: viewers slow down delays below two hundredths."""


@contextmanager
def video(path: Path, fps: float, zoom: int = 1) -> Iterator[Callable[[NDArray[np.uint8]], None]]:
    """Write a video, atomically.

    A GIF leaves out screens to stay within `GIF_FPS`, and shows consecutive screens that are alike
    as one, for longer.

    Args:
        path: The file, ``.mp4`` or ``.gif`` in any case.
        fps: Screens per second.
        zoom: Video pixels along each side of a screen pixel.

    Yields:
        A function to call with each screen, shape ``(height, width, 3)``.

    Raises:
        EnvironmentSettingError: ``path`` has another suffix, or a number is out of range.
        OutputError: ``path`` is a folder, or within a file.
        MissingDependencyError: imageio or its ffmpeg are not installed.
    """
    suffix = path.suffix.lower()
    if suffix not in (".mp4", ".gif"):
        raise EnvironmentSettingError(f"{path} is no video to write; it must end in .mp4 or .gif")
    if zoom < 1 or not fps > 0:
        raise EnvironmentSettingError(
            f"zoom is {zoom} and fps {fps}; they must be at least 1 and above 0"
        )
    require_file(path)
    every = math.ceil(fps / GIF_FPS) if suffix == ".gif" else 1
    shown = 0
    with TemporaryDirectory() as folder:
        drawn = Path(folder, f"film{suffix}")
        with _writer(drawn, fps / every) as writer:

            def add(screen: NDArray[np.uint8]) -> None:
                nonlocal shown
                if shown % every == 0:
                    writer.append_data(screen.repeat(zoom, axis=0).repeat(zoom, axis=1))
                shown += 1

            yield add
        with replacing(path) as file, drawn.open("rb") as source:
            shutil.copyfileobj(source, file)


def _writer(path: Path, fps: float) -> Any:
    """Imageio's writer for this type of file."""
    try:
        import imageio.v2 as imageio

        import_module("imageio_ffmpeg")  # imageio only looks for it when it writes.
    except ImportError as error:
        raise MissingDependencyError(
            "videos need imageio and ffmpeg; install them with: pip install 'macro-gym[video]'"
        ) from error
    if path.suffix == ".gif":
        return imageio.get_writer(path, duration=1000 / fps, loop=0)
    # Sides of a video must be even; by default imageio would stretch to multiples of 16.
    return imageio.get_writer(path, fps=fps, macro_block_size=2)
