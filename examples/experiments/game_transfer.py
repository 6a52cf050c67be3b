"""Transfer Σ between MinAtar or Atari games: does a Σ learned on one game help on another?

As in the paper's Table 5, Σ is learned on the first game of a pair, frozen, and transferred to the
second by action names. It is compared with a Σ that was learned beforehand on the second game, a
uniform one, one learned during the run, and none. Both games have the macros of the first. Nothing
is tuned: every penalty has the same η. Seeds 0, 1, 2, ... are reported; the runs that Σ is
transferred from have seeds of their own, and their Σ is saved beside the table.

Each run is saved as soon as it ends, so the same command resumes after an interruption. Without
--smoke or --full it only reports what is missing and how long it takes.
"""

import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

sys.path.insert(0, str(Path(__file__).parents[2]))

from examples.experiments import atari_ram, minatar_games
from examples.experiments.game_homes import HOMES, Atari, Home, MinAtar
from examples.experiments.learners import effort, let_learn, scores
from examples.experiments.rows import Cell, Run
from examples.experiments.run_table import ExperimentError
from examples.experiments.settings import GridSettings, conduct
from examples.experiments.trial import Trial
from examples.experiments.variants import EARLIER_SEEDS, TRANSFER, VARIANTS, Variant
from sb3_masp.callbacks import FrameBudget
from sb3_masp.similarity import SimilarityAbout, save_similarity, transferred_similarity

OUTPUTS = {home: Path(__file__).parent / "results" / f"{home}_transfer.csv" for home in HOMES}
ETA = "1"
"""Default η of every penalty."""


@dataclass(frozen=True)
class Settings(GridSettings):
    """Settings of the experiment; the transferred Σ are saved beside the table.

    Args:
        home: Home of the games.
        pairs: Pairs of games, as in "Breakout to SpaceInvaders"; all of the home's by default.
        eta: η of every penalty.
    """

    arms: Annotated[tuple[str, ...], tyro.conf.Suppress] = ()
    tuning_seeds: Annotated[int, tyro.conf.Suppress] = 0
    home: Literal[*HOMES] = "minatar"
    pairs: tuple[str, ...] = ()
    eta: str = ETA


def cell_of(home: Home | type[Home], pair: tuple[str, str]) -> Cell:
    """The cell in which variants are compared on a pair of games."""
    return Cell(" to ".join(pair), home.k, 1.0, "decision")


def learn(home: Home, folder: Path, run: Run) -> dict[str, float]:
    """Carry out one run and, if it is missing, the one that its Σ is transferred from.

    Args:
        home: Home of the games.
        folder: Folder of the learned similarities.
        run: The run; its problem is a pair of games.

    Returns:
        ``area``, the training return averaged over frames; ``final``, the mean return of the
        episodes in the last 30% of the run; its frames, decisions and updates; and the seconds in
        total.
    """
    begun = time.perf_counter()
    source, target = run.cell.problem.split(" to ")
    variant = VARIANTS[run.arm]
    own = variant.learner_arguments(run.strength)
    env = home.make(target, home.macros(source, run.cell.k))
    if variant.carried:
        file = earlier(home, folder, target if variant.carried == "own" else source, run)
        macro_set = env.get_wrapper_attr("macro_set")
        own["similarity"], _ = transferred_similarity(file, macro_set, "uniform")
    model, frames = home.learner(env, run.seed, own), FrameBudget(home.frames)
    of_returns = scores(let_learn(model, frames), home.frames)
    return of_returns | {"frames": frames.frames} | effort(model, begun)


def learn_briefly(home: Home, run: Run, frames: int) -> dict[str, float]:
    """Carry out a run of a few frames that learns from the first one on, and its preparation."""
    with tempfile.TemporaryDirectory() as folder:
        brief = home.shortened(frames, Path(folder))
        brief.prepare(run.cell.problem.split(" to ")[0])
        return learn(brief, Path(folder), run)


def earlier(home: Home, folder: Path, game: str, run: Run) -> Path:
    """Learn Σ on a game with the macros of the pair's first game, once; return its file.

    Args:
        home: Home of the games.
        folder: Folder of the file.
        game: Game to learn on.
        run: The run that Σ is for; learning it takes the same η and a seed derived from the run's.
    """
    source, path = run.cell.problem.split(" to ")[0], earlier_file(home, folder, game, run)
    if not path.exists():
        env = home.make(game, home.macros(source, run.cell.k))
        own = VARIANTS["uniform, learned"].learner_arguments(run.strength)
        model = home.learner(env, run.seed + EARLIER_SEEDS, own)
        let_learn(model, FrameBudget(home.frames))
        about = SimilarityAbout.of(env.get_wrapper_attr("macro_set"), frames=home.frames)
        save_similarity(path, model.similarity, about)
    return path


def earlier_file(home: Home, folder: Path, game: str, run: Run) -> Path:
    """Path of the file of `earlier`; arguments as there."""
    source = run.cell.problem.split(" to ")[0]
    name = f"{game}, macros of {source}, k={run.cell.k}, eta={run.strength}, seed {run.seed}"
    return folder / digest(home.settings) / f"{name}.safetensors"


def digest(settings: Mapping[str, Any]) -> str:
    """Hash of settings, so that a Σ learned with other settings is not reused."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]


def compared(eta: str) -> dict[str, Variant]:
    """The variants by name, each penalty with this η."""
    variants = TRANSFER.variants(0.5).items()
    return {
        name: replace(variant, strengths=(eta,)) if len(variant.strengths) > 1 else variant
        for name, variant in variants
    }


def home_of(settings: Settings, output: Path) -> Home:
    """Home of the games, with tiny runs for a smoke test."""
    tiny = {"learning_starts": 20, "buffer_size": 1_000}
    if settings.home == "atari":
        of_atari = atari_ram.Budget()
        if settings.smoke:
            of_atari = replace(of_atari, frames=1_000, episode=500, learner=of_atari.learner | tiny)
        return Atari(of_atari)
    of_minatar = minatar_games.Budget()
    if settings.smoke:
        short = {"steps": 300, "player_steps": 300, "play": 500}
        of_minatar = replace(of_minatar, **short, learner=of_minatar.learner | tiny)
    return MinAtar(output.parent / "minatar_play", of_minatar)


def main(settings: Settings) -> None:
    """Report what is missing and, if requested, run it."""
    output = settings.table(OUTPUTS[settings.home])
    home, known = home_of(settings, output), compared(settings.eta)
    settings = replace(settings, arms=tuple(known))
    cells = {cell_of(home, pair): pair for pair in home.pairs}
    if settings.smoke:
        first = next(iter(cells)).problem
        settings = replace(settings, pairs=(first,), seeds=1, workers=settings.workers or 1)
    if settings.pairs:
        cells = {cell: pair for cell, pair in cells.items() if cell.problem in settings.pairs}
    if not cells:
        names = ", ".join(cell_of(home, pair).problem for pair in home.pairs)
        raise ExperimentError(f"pairs is {settings.pairs}, of which none is a pair here: {names}")
    if settings.is_to_run:
        for source, _ in cells.values():
            home.prepare(source)
    conduct(
        settings,
        output,
        home.settings,
        list(cells),
        partial(learn, home, output.with_suffix("")),
        known=known,
        trial=Trial(partial(learn_briefly, home), home.frames, 1_000),
    )


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
