"""Compare DQN, Rainbow and MASPRainbow on Atari from pixels: a sweep with an adjustable budget.

Runs keep checkpoints, so the same command resumes a sweep that was stopped, by Ctrl-C or a time
limit; finished runs are not repeated. All arms have the same number of emulator frames. η is not
tuned: it is the learner's default unless another is given.

Without --smoke or --full it only reports what is missing and how long it takes.
"""

import csv
import json
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Literal, Self

import tyro

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.report import write_report
from examples.experiments.run_table import require_same
from sb3_masp.run_config import TrainConfig
from sb3_masp.sweeps import Sweep, execute, make_sweep
from sb3_masp.sweeps.results import frames_done, row, write_table

OUTPUT = Path(__file__).parent / "results" / "atari_pixels.csv"
BENCHMARKS = Path(__file__).parents[2] / "benchmarks" / "results"
GAMES = ("Breakout", "Seaquest", "MsPacman", "Freeway", "SpaceInvaders")

UNCONDITIONED = {"algorithm": "masp-rainbow", "embedding_dim": 0}

ARMS: dict[str, dict[str, Any]] = {
    "DQN, primitives": {"algorithm": "dqn", "k": 0},
    "Rainbow, primitives": {"algorithm": "rainbow", "k": 0},
    "Rainbow, macros": {"algorithm": "rainbow"},
    "MASPRainbow, uniform": UNCONDITIONED | {"similarity": "uniform"},
    "MASPRainbow, overlap": UNCONDITIONED | {"similarity": "overlap"},
    "MASPRainbow, learned": UNCONDITIONED,
    "MASPRainbow": {"algorithm": "masp-rainbow"},
}
"""Settings of each arm; the last arm is conditioned on Σ, as in the paper."""


FIXED = (
    "frames",
    "buffer_size",
    "learning_starts",
    "n_envs",
    "device",
    "replay_on_device",
    "checkpoint_every",
)
"""Settings shared by all runs."""

ALIKE = ("frames", "buffer_size", "learning_starts", "n_envs")
"""Those of them that must agree between the rows of a table; the others do not matter."""

KEY = ("arm", "game", "k", "eta", "seed")
"""Columns that identify a row."""

SLICE = (
    "timeout --foreground --signal=INT 30m python examples/experiments/atari_pixels.py --full "
    "--device cuda --replay-on-device"
)
"""Command that trains on a GPU for half an hour, and resumes when it is called again."""

NOTE = f"""\
By benchmarks/results/gpu_throughput.json, rainbow.json and update.json, of Breakout, without the
outer steps of MASPRainbow, which have not been timed. On another machine, first:
    python -m benchmarks.gpu_throughput
In slices, on a GPU:
    {SLICE}"""


@dataclass(frozen=True)
class Settings:
    """Settings of the experiment.

    Args:
        arms: Arms to compare.
        games: Games to train on.
        frames: Emulator frames per run.
        k: Macros from the game's bank, for the arms that have macros.
        eta: Weight of the penalty.
        seeds: Runs per arm and game.
        buffer_size: Capacity of the replay buffer, in decisions.
        learning_starts: Decisions before the first update.
        n_envs: Environments per run.
        device: cpu, cuda or auto.
        replay_on_device: Keep the replay buffer on the network's device, if it fits there.
        workers: Parallel runs; one by default, for a single GPU.
        checkpoint_every: Decisions between checkpoints.
        folder: Folder of runs and checkpoints, by default runs/atari_pixels, or with --smoke a
            temporary one.
        output: Table of results, by default the one in results, or with --smoke in the folder.
        smoke: Run a tiny size, only to check that the script works.
        full: Run the sweep.
    """

    arms: tuple[Literal[*ARMS], ...] = tuple(ARMS)
    games: tuple[str, ...] = GAMES
    frames: int = 10_000_000
    k: int = 128
    eta: float = 0.3
    seeds: int = 5
    buffer_size: int = 500_000
    learning_starts: int = 20_000
    n_envs: int = 16
    device: str = "auto"
    replay_on_device: bool = False
    workers: int = 1
    checkpoint_every: int = 50_000
    folder: Path | None = None
    output: Path | None = None
    smoke: bool = False
    full: bool = False


TINY = {
    "arms": ("Rainbow, macros", "MASPRainbow"),
    "games": ("Breakout",),
    "frames": 400,
    "k": 16,
    "seeds": 1,
    "buffer_size": 500,
    "learning_starts": 8,
    "n_envs": 2,
    "device": "cpu",
    "checkpoint_every": 20,
}
"""Settings of --smoke; its few updates are enough for an outer step."""


def main(settings: Settings) -> None:
    """Report what is missing and, if requested, run it."""
    folder = settings.folder or Path("runs/atari_pixels")
    if settings.smoke:
        folder = settings.folder or Path(tempfile.mkdtemp())
        own = {"output": settings.output or folder / OUTPUT.name}
        settings = replace(settings, **TINY | own)
    sweep = declared(settings, folder)
    print(expectation(sweep, Pace.measured()))
    if not settings.smoke and not settings.full:
        return
    require_alike(settings.output or OUTPUT, sweep)
    try:
        execute(sweep, workers=settings.workers)
    except KeyboardInterrupt:
        keep(sweep, settings.output or OUTPUT)
        print("\nStopped; run the same command again to resume.", file=sys.stderr)
        raise SystemExit(130) from None
    keep(sweep, settings.output or OUTPUT)


def declared(settings: Settings, folder: Path) -> Sweep:
    """The sweep: every arm on every game with every seed."""
    fixed = {name: getattr(settings, name) for name in FIXED}
    declaration = {
        "seeds": settings.seeds,
        "games": [f"MacroALE/{game}-v5" for game in settings.games],
        "fixed": fixed | {"train_freq": 4},
        "arms": {name: _arm(ARMS[name], settings) for name in settings.arms},
    }
    return make_sweep(declaration, folder, "atari_pixels.py")


def _arm(arm: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """Settings of an arm, with the given k and, if it has a penalty, the given η as defaults."""
    penalty = {"eta": settings.eta} if arm["algorithm"] == "masp-rainbow" else {}
    return {"k": settings.k, **penalty, **arm}


def keep(sweep: Sweep, path: Path) -> None:
    """Write the rows of finished runs to a table, and their settings beside it.

    Rows of runs that are not part of the sweep are kept.
    """
    rows = [{name: _text(entry) for name, entry in row(run, sweep).items()} for run in sweep.runs]
    finished = [found for found in rows if found["status"] == "finished"]
    if finished:
        kept = {tuple(found.get(name, "") for name in KEY): found for found in read_table(path)}
        kept |= {tuple(found.get(name, "") for name in KEY): found for found in finished}
        names = dict.fromkeys(name for found in kept.values() for name in found)
        write_table(path, list(kept.values()), tuple(names))
        settings = {name: sweep.runs[0].setting(name) for name in FIXED}
        write_report(path.with_suffix(".json"), {"settings": settings})


def read_table(path: Path) -> list[dict[str, str]]:
    """Read the rows of a table; empty if there is no file."""
    if not path.exists():
        return []
    with path.open() as file:
        return list(csv.DictReader(file))


def _text(entry: Any) -> str:
    """Format an entry for the table; empty if it is None."""
    return "" if entry is None else str(entry)


def require_alike(path: Path, sweep: Sweep) -> None:
    """Refuse to mix rows of different budgets.

    Raises:
        ExperimentError: The table's rows have another one.
    """
    about = path.with_suffix(".json")
    if path.exists() and about.exists():
        before = json.loads(about.read_text())["settings"]
        now = {name: sweep.runs[0].setting(name) for name in ALIKE}
        require_same(path, {name: before[name] for name in ALIKE}, now)


@dataclass(frozen=True)
class Pace:
    """Speed of a machine learning Breakout, with one update for every four decisions.

    Args:
        device: Device on which it was measured.
        rates: Rates by name from `benchmarks.gpu_throughput` with 16 environments, of the learner
            with primitives only (False) and of the one with macros (True).
        rainbow: Time of a Rainbow update as a multiple of a DQN update, on one CPU thread.
    """

    device: str
    rates: Mapping[bool, Mapping[str, float]]
    rainbow: float

    @property
    def caveat(self) -> str:
        """What has not been measured; empty on a GPU."""
        return " How long a GPU takes has not been measured." if self.device == "CPU" else ""

    @classmethod
    def measured(cls) -> Self:
        """Read the pace from the results of the benchmarks."""
        throughput, update, rainbow = (
            json.loads((BENCHMARKS / f"{name}.json").read_text())
            for name in ("gpu_throughput", "update", "rainbow")
        )
        group = throughput["groups"]["16"]
        ratio = median(rainbow["seconds"]["Rainbow"]) / median(update["seconds"]["SB3 DQN"])
        return cls(throughput["device"], {False: group["SB3 DQN"], True: group["MASPDQN"]}, ratio)

    def hours(self, config: TrainConfig) -> float:
        """Estimate the hours of a run, without MASPRainbow's outer steps, which were not timed."""
        rates = self.rates[config.k != 0]
        seconds = 1 / rates["decisions_per_second"]
        if config.algorithm != "dqn":
            seconds += (self.rainbow - 1) / rates["updates_alone_per_second"] / 4
        decisions = config.frames * rates["decisions_per_second"] / rates["frames_per_second"]
        return decisions * seconds / 3600


def expectation(sweep: Sweep, pace: Pace) -> str:
    """Describe what is missing, its time by the benchmarks, and how to run it in slices."""
    lines = [f"{'arm':<22}{'runs':>5}{'frames to do':>16}{'hours a run':>13}"]
    total = 0.0
    for arm in dict.fromkeys(run.arm for run in sweep.runs):
        runs = [run for run in sweep.runs if run.arm == arm]
        left = sum(run.config.frames - frames_done(run) for run in runs)
        hours = pace.hours(runs[0].config)
        total += hours * left / runs[0].config.frames
        lines.append(f"{arm:<22}{len(runs):>5}{left:>16,}{hours:>13.1f}")
    lines.append(f"{total:.0f} hours in all, on one {pace.device}.{pace.caveat}")
    return "\n".join([*lines, NOTE])


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
