"""Rainbow and MASPRainbow on Atari's pixels, at whatever budget the machine allows: a sweep.

Runs keep checkpoints, so the same command goes on where it was stopped, by Ctrl-C or after a slice
of time; finished runs are not run again. All arms have the same emulator frames. η is not chosen:
it is the learner's default if no other is given.

Without --smoke and --full it says what is to be run, and how long that takes.
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
"""Settings of each arm; the last one's are the paper's, conditioned on Σ."""


FIXED = (
    "frames",
    "buffer_size",
    "learning_starts",
    "n_envs",
    "device",
    "replay_on_device",
    "checkpoint_every",
)
"""Settings that all runs have in common."""

ALIKE = ("frames", "buffer_size", "learning_starts", "n_envs")
"""Those of them that all rows of a table have in common; the others make no difference to it."""

KEY = ("arm", "game", "k", "eta", "seed")
"""Columns that tell rows apart."""

SLICE = (
    "timeout --foreground --signal=INT 30m python examples/experiments/atari_pixels.py --full "
    "--device cuda --replay-on-device"
)
"""What learns on a GPU for half an hour, and goes on with that if it is called again."""

NOTE = f"""\
By benchmarks/results/gpu_throughput.json, rainbow.json and update.json, of Breakout, without the
outer steps of MASPRainbow, which have not been timed. On another machine, first:
    python -m benchmarks.gpu_throughput
In slices, on a GPU:
    {SLICE}"""


@dataclass(frozen=True)
class Settings:
    """What is run.

    Args:
        arms: What is compared.
        games: Which games.
        frames: Of the emulator, for every run.
        k: Macros of the game's bank, for the arms that have macros.
        eta: Weight of the penalty.
        seeds: Runs of each arm and game.
        buffer_size: Decisions kept for replay.
        learning_starts: Decisions before the first update.
        n_envs: Environments of a run.
        device: cpu, cuda or auto.
        replay_on_device: Hold the replay where the network is, if it fits there.
        workers: Runs side by side; one by default, since a GPU is one.
        checkpoint_every: Decisions between checkpoints.
        folder: Where runs and checkpoints are kept, by default runs/atari_pixels, or with --smoke
            one that is not kept.
        output: The table, by default the one in results, or with --smoke in the folder.
        smoke: So small that it only shows that it runs.
        full: Run it.
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
    """Say what has not been run, and run it if that is asked for."""
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
        print("\nStopped. The same command goes on.", file=sys.stderr)
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
    """An arm's settings, with the macros and the penalty that it has if it says nothing else."""
    penalty = {"eta": settings.eta} if arm["algorithm"] == "masp-rainbow" else {}
    return {"k": settings.k, **penalty, **arm}


def keep(sweep: Sweep, path: Path) -> None:
    """Put the rows of the runs that are finished into a table, and beside it what they are of.

    Rows of runs that are not the sweep's stay.
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
    """The rows of a table; none where there is no file."""
    if not path.exists():
        return []
    with path.open() as file:
        return list(csv.DictReader(file))


def _text(entry: Any) -> str:
    """What a table has for an entry."""
    return "" if entry is None else str(entry)


def require_alike(path: Path, sweep: Sweep) -> None:
    """Refuse to mix rows of different budgets.

    Raises:
        ExperimentError: The table's rows are of another one.
    """
    about = path.with_suffix(".json")
    if path.exists() and about.exists():
        before = json.loads(about.read_text())["settings"]
        now = {name: sweep.runs[0].setting(name) for name in ALIKE}
        require_same(path, {name: before[name] for name in ALIKE}, now)


@dataclass(frozen=True)
class Pace:
    """How fast a machine learns Breakout, one update for every four decisions.

    Args:
        device: What it was measured on.
        rates: Of the learner with primitives only and of the one with macros, rates by name, as
            `benchmarks.gpu_throughput` has them for 16 environments.
        rainbow: An update of Rainbow as a multiple of one of DQN, on one thread of a CPU.
    """

    device: str
    rates: Mapping[bool, Mapping[str, float]]
    rainbow: float

    @property
    def caveat(self) -> str:
        """What it does not say."""
        return " How long a GPU takes has not been measured." if self.device == "CPU" else ""

    @classmethod
    def measured(cls) -> Self:
        """What the benchmarks say."""
        throughput, update, rainbow = (
            json.loads((BENCHMARKS / f"{name}.json").read_text())
            for name in ("gpu_throughput", "update", "rainbow")
        )
        group = throughput["groups"]["16"]
        ratio = median(rainbow["seconds"]["Rainbow"]) / median(update["seconds"]["SB3 DQN"])
        return cls(throughput["device"], {False: group["SB3 DQN"], True: group["MASPDQN"]}, ratio)

    def hours(self, config: TrainConfig) -> float:
        """How long a run takes; outer steps of Rainbow's Σ, which have not been timed, apart."""
        rates = self.rates[config.k != 0]
        seconds = 1 / rates["decisions_per_second"]
        if config.algorithm != "dqn":
            seconds += (self.rainbow - 1) / rates["updates_alone_per_second"] / 4
        decisions = config.frames * rates["decisions_per_second"] / rates["frames_per_second"]
        return decisions * seconds / 3600


def expectation(sweep: Sweep, pace: Pace) -> str:
    """What is to be run, how long that takes by the benchmarks, and how it is had in slices."""
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
