"""Train MASPDQN with 128 macros and a primitives-only DQN on Breakout, and compare them.

Both observe the console's memory instead of the screen and use small networks, so that the demo
takes minutes on two cores; both play the same number of emulator frames. The demo ends with a table
and plots. A single training seed shows that everything works, not which learner is better.
"""

import json
import multiprocessing
import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch as th
import tyro

from macro_gym.files import replacing
from sb3_masp import MASPDQN, plots, run
from sb3_masp.evaluation import Evaluation, evaluate


@dataclass(frozen=True)
class Settings:
    """Size of the demonstration.

    Args:
        frames: Emulator frames per learner.
        episodes: Episodes over which each policy is scored.
        seed: Seed of training; scoring uses another.
        output: Folder for the runs and the plots; an interrupted demonstration resumes from it.
        smoke: Run a tiny size, only to check that the script works.
    """

    frames: int = 600_000
    episodes: int = 30
    seed: int = 0
    output: Path = Path("runs/demo")
    smoke: bool = False


@dataclass(frozen=True)
class Result:
    """Results of one learner."""

    score: Evaluation
    random_score: Evaluation
    decisions: int
    updates: int


def learners(settings: Settings) -> dict[str, run.TrainConfig]:
    """Configurations of the two runs."""
    shared = run.LearnerConfig(
        learning_rate=2.5e-4,
        buffer_size=150_000,
        target_update_interval=2_000,
        exploration_fraction=0.2,
        double_q=True,
    )
    config = run.TrainConfig(
        env="MacroALE/Breakout-v5",
        frames=settings.frames,
        obs_type="ram",
        net_arch=(256, 256),
        seed=settings.seed,
        threads=1,
        checkpoint_every=10_000,
    )
    # A decision lasts several steps with macros and one step without. One update per decision with
    # macros, or per four without, makes updates per frame comparable; the table counts them.
    masp = replace(shared, train_freq=1, learning_starts=1_000)
    dqn = replace(shared, train_freq=4, learning_starts=4_000, eta=0.0, embedding_dim=0)
    return {
        "MASPDQN, 128 macros": replace(config, k=128, learner=masp, run=settings.output / "masp"),
        "DQN, primitives only": replace(config, k=0, learner=dqn, run=settings.output / "dqn"),
    }


def train_and_score(name: str, config: run.TrainConfig, line: int, episodes: int) -> Result:
    """Train, resume training or take an already trained model; then score it."""
    assert config.run is not None
    if not (config.run / "model.zip").exists():
        if (config.run / run.CHECKPOINT).exists():
            run.resume(config.run, label=name, line=line)
        else:
            shutil.rmtree(config.run, ignore_errors=True)
            run.train(config, label=name, line=line)
    th.set_num_threads(1)
    env = run.make_env(config)
    model = MASPDQN.load(config.run / "model.zip", env=env)
    score = evaluate(model, env, episodes, seed=scoring_seed(config))
    random_score = evaluate(model, env, episodes, epsilon=1.0, seed=scoring_seed(config))
    return Result(score, random_score, model.num_timesteps, model._n_updates)


def scoring_seed(config: run.TrainConfig) -> int:
    """Return a seed for scoring that training has not used."""
    return config.seed + 1_000


def main(settings: Settings) -> None:
    """Run both learners in parallel, print the table and draw the plots."""
    if settings.smoke:
        settings = replace(settings, frames=12_000, episodes=2)
    configs = learners(settings)
    print(f"Breakout, {settings.frames:,} emulator frames each; results go to {settings.output}/")
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        futures = {
            name: pool.submit(train_and_score, name, config, line, settings.episodes)
            for line, (name, config) in enumerate(configs.items())
        }
        results = {name: future.result() for name, future in futures.items()}
    print_table(results, settings)
    with replacing(settings.output / "results.json") as file:
        file.write(json.dumps({n: asdict(r) for n, r in results.items()}, indent=1).encode())
    curves = {name: run.read_episodes(config.folder) for name, config in configs.items()}
    plots.learning_curve(
        settings.output / "learning_curves.png", curves, "Breakout from RAM, one seed each"
    )
    masp = next(iter(configs.values())).folder
    print(f"Plots: {settings.output}/learning_curves.png and {masp}/plots/")
    print(f"Every score: {settings.output}/results.json")


def print_table(results: dict[str, Result], settings: Settings) -> None:
    """Print the score, decisions and updates of every policy."""
    print(
        f"\n{'policy':<22}{'mean score':>11}  {'95% interval':<14}{'decisions':>10}{'updates':>9}"
    )
    rows = [(name, r.score, f"{r.decisions:,}", f"{r.updates:,}") for name, r in results.items()]
    rows += [
        (f"random, {name.split(', ')[1]}", r.random_score, "-", "-") for name, r in results.items()
    ]
    for name, score, decisions, updates in rows:
        low, high = score.interval
        between = f"[{low:.1f}, {high:.1f}]"
        print(f"{name:<22}{score.mean:>11.1f}  {between:<14}{decisions:>10}{updates:>9}")
    print(
        f"Scores over {settings.episodes} episodes; of trained policies, 5% of the decisions are "
        "random.\nIntervals are over episodes, not over seeds of training.\n"
    )


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
