"""``masp evaluate``: play with a run's trained model, and with random actions."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from macro_gym.files import replacing, require_folder
from sb3_masp import run
from sb3_masp.evaluation import Evaluation, playing
from sb3_masp.evaluation import evaluate as evaluate_model
from sb3_masp.macro_learner import MacroLearner
from sb3_masp.macro_model import MacroModel
from sb3_masp.run_config import ALGORITHMS


def evaluate(
    folder: Path,
    /,
    episodes: int = 30,
    epsilon: float = 0.05,
    seed: int = 1_000,
    video: Path | None = None,
) -> None:
    """Play episodes with a run's trained model and with random actions.

    Args:
        folder: Folder of the run.
        episodes: Episodes to play with each.
        epsilon: Share of random decisions of the trained model.
        seed: Seed of the episodes.
        video: Folder for a video of the trained model's first episode.
    """
    if video is not None:
        require_folder(video)
    config = run.read_config(folder)
    if not (folder / "model.zip").exists():
        raise run.RunError(f"the run in {folder} is not finished: masp train --resume {folder}")
    if (folder / run.MACRO_SET).exists():
        # The macros it was trained with, even if the file or the bank has changed since.
        config = replace(config, macros=folder / run.MACRO_SET, k=None)
    env = run.make_env(config, n_envs=1)
    learner = ALGORITHMS[config.algorithm].learner
    # Nothing is learned, so no GPU is needed.
    changed: dict[str, Any] = {"cuda_graph": False} if issubclass(learner, MacroLearner) else {}
    model = learner.load(folder / "model.zip", env=env, device=config.device, **changed)
    results = {
        "trained": evaluate_model(model, env, episodes, epsilon, seed, progress_bar=True),
        "random": evaluate_model(model, env, episodes, 1.0, seed, progress_bar=True),
    }
    for name, result in results.items():
        print(f"{name:<8} {result}")
    _write_evaluation(folder / "evaluation.json", results)
    if video is not None:
        film(config, model, video, epsilon, seed)


def film(
    config: run.TrainConfig, model: MacroModel, folder: Path, epsilon: float, seed: int
) -> None:
    """Record a video of an evaluation's first episode to ``folder``, a picture per primitive step.

    Args:
        config: Settings of the run.
        model: Its model, left unchanged.
        folder: Where the video is written.
        epsilon: Share of random decisions.
        seed: Seed of the evaluation.
    """
    from gymnasium.utils.save_video import save_video  # needs moviepy, an extra

    env = run.make_film_env(config)
    with playing(model, epsilon, seed) as player:
        observation, _ = env.reset(seed=seed)
        over = False
        while not over:
            action, _ = player.predict(observation)
            observation, _, terminated, truncated, _ = env.step(int(action))
            over = terminated or truncated
    # Not RecordVideo, which keeps only one picture per decision.
    pictures: Any = env.render()
    save_video(
        pictures,
        str(folder),
        episode_trigger=lambda _: True,
        fps=env.metadata["render_fps"],
        name_prefix="episode",
    )
    env.close()


def _write_evaluation(path: Path, results: dict[str, Evaluation]) -> None:
    """Write the scores and decisions of every episode."""
    content = {
        name: {
            "mean": result.mean,
            "interval": result.interval,
            "epsilon": result.epsilon,
            "scores": result.scores,
            "decisions": result.decisions,
        }
        for name, result in results.items()
    }
    with replacing(path) as file:
        file.write((json.dumps(content, indent=2) + "\n").encode())
