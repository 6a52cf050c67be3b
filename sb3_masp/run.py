"""A training run: a folder that holds its settings, its log, and what came out of it.

``config.json``, ``macro_set.json``, ``episodes.csv``, ``actions.csv``, ``model.zip``,
``similarity.safetensors``, ``tensorboard/``, ``plots/``; and, while it is under way,
``checkpoint.pkl``.
"""

import csv
import io
import json
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import ale_py
import gymnasium as gym
import numpy as np
import torch as th
import tyro
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import Logger, configure
from stable_baselines3.common.vec_env import VecEnv

from macro_gym import MacroAction, MacroSet
from macro_gym.errors import MacroGymError
from macro_gym.files import replacing
from sb3_masp.callbacks import Checkpoints, Episode, EpisodeLog, FrameBudget
from sb3_masp.checkpoint import load_checkpoint, save_checkpoint
from sb3_masp.dqn import MASPDQN
from sb3_masp.features import BytesExtractor
from sb3_masp.similarity import SimilarityAbout, save_similarity
from sb3_masp.similarity.initial import Start

CHECKPOINT = "checkpoint.pkl"
MACRO_SET = "macro_set.json"
PACKAGES = ("macro-gym", "ale-py", "gymnasium", "numpy", "stable-baselines3", "torch")


class RunError(MacroGymError, ValueError):
    """A run folder that cannot be used for what was asked."""


@dataclass(frozen=True)
class LearnerConfig:
    """Arguments of `MASPDQN`; see there.

    Args:
        learning_rate: Of the network.
        buffer_size: Decisions kept for replay.
        learning_starts: Decisions before the first update.
        batch_size: Decisions in a batch.
        gamma: Discount of one step.
        train_freq: Decisions between updates.
        gradient_steps: Updates each time.
        n_steps: Decisions in a return.
        target_update_interval: Decisions between updates of the target network.
        exploration_fraction: Share of the frames over which exploration falls.
        exploration_final_eps: Exploration afterwards.
        max_grad_norm: Limit of the gradient's norm.
        eta: Weight of the similarity penalty; 0 for none.
        meta_learning_rate: Of the similarity.
        meta_interval: Updates for one step of the similarity.
        meta_gradient: Exact, or the last layer's part.
        penalty_reduction: Of the penalty, over actions.
        similarity: Form of the similarity: softmax, softmax_diagonal, sigmoid, unconstrained.
        similarity_start: What the similarity starts from.
        similarity_frozen: Keep it there.
        embedding_dim: Numbers that tell the network of the similarity; 0 for none.
        embedding: How they are made.
        clip_rewards: Clip each step's reward to [-1, 1] for learning; by default for games only.
        double_q: Double Q-learning.
        prioritized_replay: Prioritised replay.
    """

    learning_rate: float = 1e-4
    buffer_size: int = 200_000
    learning_starts: int = 100
    batch_size: int = 32
    gamma: float = 0.99
    train_freq: int = 4
    gradient_steps: int = 1
    n_steps: int = 1
    target_update_interval: int = 10_000
    exploration_fraction: float = 0.1
    exploration_final_eps: float = 0.05
    max_grad_norm: float = 10
    eta: float = 0.3
    meta_learning_rate: float = 1e-2
    meta_interval: int = 4
    meta_gradient: Literal["exact", "last_layer"] = "exact"
    penalty_reduction: Literal["mean", "sum"] = "mean"
    similarity: str = "softmax"
    similarity_start: Start = "uniform"
    similarity_frozen: bool = False
    embedding_dim: int = 32
    embedding: Literal["factored", "dense"] = "factored"
    clip_rewards: bool | None = None
    double_q: bool = False
    prioritized_replay: bool = False


@dataclass(frozen=True)
class TrainConfig:
    """A run's settings.

    Args:
        env: Id of the environment.
        frames: Budget in emulator frames (steps, where there is no emulator).
        k: Macros; by default 128 of the game's bank. 0 for primitives only.
        macros: File of a macro set to use instead of the game's bank.
        obs_type: What the agent sees of a MacroALE game.
        n_envs: Environments, stepped in turn.
        seed: Of everything.
        net_arch: Sizes of the hidden layers; SB3's by default.
        threads: Threads of torch; its own choice by default.
        device: cpu, cuda or auto.
        run: Folder for the run; by default one in runs/ named after it.
        checkpoint_every: Decisions between checkpoints.
        learner: Arguments of MASPDQN.
    """

    env: tyro.conf.Positional[str] = "MacroALE/Breakout-v5"
    frames: int = 1_000_000
    k: int | None = None
    macros: Path | None = None
    obs_type: Literal["grayscale", "ram"] | None = None
    n_envs: int = 1
    seed: int = 0
    net_arch: tuple[int, ...] | None = None
    threads: int | None = None
    device: str = "auto"
    run: Path | None = None
    checkpoint_every: int = 10_000
    learner: Annotated[LearnerConfig, tyro.conf.arg(name="")] = field(default_factory=LearnerConfig)

    @property
    def folder(self) -> Path:
        """The run's folder."""
        macros = "" if self.k is None else f"-k{self.k}"
        name = f"{self.env.replace('/', '-')}{macros}-eta{self.learner.eta}-seed{self.seed}"
        return self.run or Path("runs") / name

    @property
    def env_kwargs(self) -> dict[str, Any]:
        """What ``gym.make`` is given beside the id."""
        chosen = {"k": self.k, "macros": self.macros, "obs_type": self.obs_type}
        return {name: value for name, value in chosen.items() if value is not None}


def train(
    config: TrainConfig, *, progress_bar: bool = True, label: str = "", line: int = 0
) -> MASPDQN:
    """Start a run and see it through.

    Args:
        config: Its settings.
        progress_bar: Whether to show one.
        label: What to write before the bar.
        line: Line of the screen for it, where several runs share one.

    Raises:
        RunError: The folder holds a run already.
    """
    folder = config.folder
    if (folder / "config.json").exists():
        raise RunError(
            f"{folder} holds a run already. Continue it with: masp train --resume {folder}; or "
            "choose another folder with --run."
        )
    if config.threads is not None:
        th.set_num_threads(config.threads)
    model = make_model(config, make_env(config))
    print(model.replay_buffer.memory_statement())
    _write_json(folder / "config.json", _about(config))
    if model.macro_set is not None:
        model.macro_set.save(folder / MACRO_SET)
    budget = FrameBudget(config.frames, progress_bar, label, line)
    return _learn(config, model, budget, EpisodeLog(budget), fresh=True)


def resume(folder: Path, *, progress_bar: bool = True, label: str = "", line: int = 0) -> MASPDQN:
    """Go on with a run that was stopped, exactly as if it had not been; arguments as `train`'s.

    Raises:
        RunError: The folder holds no run that can be continued.
    """
    config = read_config(folder)
    if (folder / "model.zip").exists():
        raise RunError(f"the run in {folder} is finished; see it with: masp evaluate {folder}")
    if not (folder / CHECKPOINT).exists():
        raise RunError(
            f"{folder} has no {CHECKPOINT}: the run was stopped before its first one. Remove the "
            "folder and start again, with a smaller --checkpoint-every."
        )
    if config.threads is not None:
        th.set_num_threads(config.threads)
    model, extra = load_checkpoint(folder / CHECKPOINT, config.device)
    budget = FrameBudget(config.frames, progress_bar, label, line)
    log = EpisodeLog(budget)
    budget.__dict__.update(extra["budget"])
    log.__dict__.update(extra["log"])
    return _learn(config, cast(MASPDQN, model), budget, log, fresh=False)


gym.register_envs(ale_py)  # for baselines on ALE's own ids


def make_env(config: TrainConfig, n_envs: int | None = None) -> VecEnv:
    """The run's environments, with SB3's Monitor.

    Raises:
        RunError: The settings of a game were given for another environment.
    """
    n_envs = config.n_envs if n_envs is None else n_envs
    if config.env.startswith("Macro"):
        return make_vec_env(config.env, n_envs, config.seed, env_kwargs=config.env_kwargs)
    if config.k is not None or config.obs_type is not None:
        raise RunError(
            f"--k and --obs-type are for MacroALE games, but the environment is {config.env}; "
            "macros for it come from a file: --macros FILE"
        )
    if config.macros is None:
        return make_vec_env(config.env, n_envs, config.seed)
    macro_set = MacroSet.load(config.macros)
    return make_vec_env(
        config.env, n_envs, config.seed, wrapper_class=lambda env: MacroAction(env, macro_set)
    )


def make_model(config: TrainConfig, env: VecEnv) -> MASPDQN:
    """The run's learner, untrained."""
    policy_kwargs: dict[str, Any] = {}
    if config.net_arch is not None:
        policy_kwargs["net_arch"] = list(config.net_arch)
    space = env.observation_space
    policy = "MlpPolicy"
    if isinstance(space, gym.spaces.Dict):
        policy = "MultiInputPolicy"
    elif len(space.shape or ()) == 3:
        policy = "CnnPolicy"
    elif space.dtype == np.uint8:
        policy_kwargs["features_extractor_class"] = BytesExtractor
    return MASPDQN(
        policy,
        env,
        policy_kwargs=policy_kwargs,
        seed=config.seed,
        device=config.device,
        **asdict(config.learner),
    )


def read_config(folder: Path) -> TrainConfig:
    """The settings of the run in ``folder``.

    Raises:
        RunError: There is no run.
    """
    try:
        content = json.loads((folder / "config.json").read_text())["config"]
    except (OSError, ValueError, KeyError) as error:
        raise RunError(f"{folder} holds no run (config.json: {error})") from error
    learner = LearnerConfig(**content.pop("learner"))
    for name in ("macros", "run"):
        content[name] = None if content[name] is None else Path(content[name])
    if content["net_arch"] is not None:
        content["net_arch"] = tuple(content["net_arch"])
    return TrainConfig(**content | {"run": folder}, learner=learner)


def read_episodes(folder: Path) -> list[Episode]:
    """The training episodes of the finished run in ``folder``."""
    with (folder / "episodes.csv").open() as file:
        return [
            Episode(
                int(row["frames"]), int(row["decisions"]), float(row["score"]), int(row["length"])
            )
            for row in csv.DictReader(file)
        ]


def _learn(
    config: TrainConfig, model: MASPDQN, budget: FrameBudget, log: EpisodeLog, *, fresh: bool
) -> MASPDQN:
    """Learn to the end of the budget, with checkpoints, and write what came out."""
    folder = config.folder
    model.set_logger(_logger(folder))

    def save() -> None:
        extra = {"budget": budget.__getstate__(), "log": log.__getstate__()}
        save_checkpoint(folder / CHECKPOINT, model, extra)

    checkpoints = Checkpoints(config.checkpoint_every, save, at_once=fresh)
    with _stopping_at_interrupt(checkpoints):
        # A decision takes a frame at least, so the budget ends before SB3's count does.
        model.learn(config.frames, callback=[budget, log, checkpoints], reset_num_timesteps=fresh)
    model.logger.close()
    _write_results(folder, model, log)
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return model


@contextmanager
def _stopping_at_interrupt(checkpoints: Checkpoints) -> Iterator[None]:
    """Let the first Ctrl-C save and stop, and the second one stop at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.getsignal(signal.SIGINT)

    def stop(*_: object) -> None:
        checkpoints.stop()
        signal.signal(signal.SIGINT, previous)

    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def _write_results(folder: Path, model: MASPDQN, log: EpisodeLog) -> None:
    """Write what a finished run leaves; the model last, which marks it as finished."""
    names = action_names(model)
    _write_csv(folder / "episodes.csv", Episode._fields, log.episodes)
    _write_csv(
        folder / "actions.csv", ("action", "decisions"), zip(names, log.action_counts, strict=True)
    )
    macro_set = model.macro_set
    about = SimilarityAbout(
        names,
        "" if macro_set is None else macro_set.hash,
        "" if macro_set is None else macro_set.provenance.game,
        model.num_timesteps,
    )
    save_similarity(folder / "similarity.safetensors", model.similarity, about)
    if find_spec("matplotlib") and find_spec("scipy"):
        _draw(folder / "plots", model, log, names)
    else:
        print("No plots: they need pip install 'macro-gym[plots]'.", file=sys.stderr)
    zipped = io.BytesIO()
    model.save(zipped)
    with replacing(folder / "model.zip") as file:
        file.write(zipped.getvalue())


def _draw(plots: Path, model: MASPDQN, log: EpisodeLog, names: Sequence[str]) -> None:
    """Draw the run's three plots."""
    from sb3_masp.plots import action_usage, learning_curve, similarity_map

    learning_curve(plots / "learning_curve.png", {"training": log.episodes})
    similarity = model.similarity().detach().cpu().numpy()
    similarity_map(plots / "similarity.png", similarity, names)
    action_usage(plots / "action_usage.png", log.action_counts, names)


def action_names(model: MASPDQN) -> tuple[str, ...]:
    """Names of the model's actions; their numbers where the environment has no names."""
    if model.macro_set is not None:
        return model.macro_set.names
    return tuple(str(action) for action in range(model.similarity.n_actions))


def _logger(folder: Path) -> Logger:
    """A TensorBoard log in the run's folder, if TensorBoard is installed."""
    return configure(
        str(folder / "tensorboard"), ["tensorboard"] if find_spec("tensorboard") else []
    )


def _about(config: TrainConfig) -> dict[str, Any]:
    """Settings, command and versions, for config.json."""
    content = asdict(config)
    for name in ("macros", "run"):
        content[name] = None if content[name] is None else str(content[name])
    return {
        "config": content,
        "command": sys.argv,
        "versions": {package: version(package) for package in PACKAGES},
    }


def _write_json(path: Path, content: Any) -> None:
    """Write JSON, whole or not at all."""
    with replacing(path) as file:
        file.write((json.dumps(content, indent=2) + "\n").encode())


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Iterable[Any]]) -> None:
    """Write a table, whole or not at all."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    with replacing(path) as file:
        file.write(text.getvalue().encode())
