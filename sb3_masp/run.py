"""A training run: a folder with its settings, its log and its results.

``config.json``, ``macro_set.json``, ``episodes.csv``, ``actions.csv``, ``model.zip``,
``similarity.safetensors`` or ``weights.safetensors``, ``tensorboard/``, ``plots/``;
``transfer.json`` if the similarity came from a file; and, until the run ends,
``checkpoint.pkl``.
"""

import hashlib
import json
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from typing import Any, cast

import torch as th
from stable_baselines3.common.logger import Logger, configure
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from macro_gym.files import replacing
from sb3_masp.callbacks import Checkpoints, EpisodeLog, FrameBudget, LogLines, Unfreeze
from sb3_masp.checkpoint import (
    Cost,
    load_checkpoint,
    remove_unfinished,
    require_restorable,
    save_checkpoint,
)
from sb3_masp.macro_learner import MacroLearner
from sb3_masp.macro_model import MacroModel
from sb3_masp.masp import MASP
from sb3_masp.run_config import ALGORITHMS, LearnerConfig, RunError, TrainConfig, read_config
from sb3_masp.run_parts import MACRO_SET, carried_similarity, make_env, make_film_env, make_model
from sb3_masp.run_results import action_names, read_episodes, write_results
from sb3_masp.similarity_callbacks import HISTORY, SimilarityHistory

CHECKPOINT = "checkpoint.pkl"
TRANSFER = "transfer.json"
PACKAGES = ("macro-gym", "ale-py", "gymnasium", "numpy", "stable-baselines3", "torch")

__all__ = [
    "MACRO_SET",
    "LearnerConfig",
    "RunError",
    "TrainConfig",
    "action_names",
    "digests",
    "make_env",
    "make_film_env",
    "make_model",
    "read_config",
    "read_digests",
    "read_episodes",
    "resume",
    "train",
]


def train(
    config: TrainConfig, *, progress_bar: bool = True, label: str = "", line: int = 0
) -> MacroModel:
    """Start a run and train to the end.

    Args:
        config: Settings of the run.
        progress_bar: Whether to show a progress bar.
        label: Text before the bar.
        line: Screen line of the bar, where several runs share the screen.

    Raises:
        RunError: The folder holds a run already.
    """
    folder = config.folder
    if (folder / "config.json").exists():
        raise RunError(
            f"{folder} holds a run already. Continue it with: masp train --resume {folder}; or "
            "choose another folder with --run."
        )
    return _start(config, FrameBudget(config.frames, progress_bar, label, line))


def resume(
    folder: Path, *, progress_bar: bool = True, label: str = "", line: int = 0
) -> MacroModel:
    """Resume a run that was stopped, exactly as if it had not been; arguments as for `train`.

    A run that was stopped before its first checkpoint starts over.

    Raises:
        RunError: The folder holds no run that can be continued.
    """
    config = read_config(folder)
    remove_unfinished(folder / CHECKPOINT)
    if (folder / "model.zip").exists():
        (folder / CHECKPOINT).unlink(missing_ok=True)
        raise RunError(f"the run in {folder} is finished; see it with: masp evaluate {folder}")
    budget = FrameBudget(config.frames, progress_bar, label, line)
    if not (folder / CHECKPOINT).exists():
        return _start(config, budget)
    if config.threads is not None:
        th.set_num_threads(config.threads)
    model, extra = load_checkpoint(folder / CHECKPOINT, config.device)
    return _learn(config, cast(MacroModel, model), budget, extra)


def _start(config: TrainConfig, budget: FrameBudget) -> MacroModel:
    """Write what the run consists of, and train from the start."""
    if config.threads is not None:
        th.set_num_threads(config.threads)
    env = make_env(config)
    if config.checkpoint_every is not None:
        require_restorable(env)
    carried = carried_similarity(config, env)
    model = make_model(config, env, carried and carried[0])
    if carried is not None:
        print(carried[1])
        _write_json(config.folder / TRANSFER, asdict(carried[1]))
    if isinstance(model, MacroLearner):
        print(model.replay_buffer.memory_statement())
    if model.macro_set is not None:
        model.macro_set.save(config.folder / MACRO_SET)
    _write_json(config.folder / "config.json", _about(config))
    return _learn(config, model, budget)


def _learn(
    config: TrainConfig,
    model: MacroModel,
    budget: FrameBudget,
    extra: Mapping[str, Any] | None = None,
) -> MacroModel:
    """Train to the end of the budget, with checkpoints, and write the results.

    Args:
        config: Settings of the run.
        model: The run's learner.
        budget: Counts the frames.
        extra: The checkpoint's ``extra``, if the run is resumed.
    """
    folder = config.folder
    log = EpisodeLog(budget)
    history = SimilarityHistory(folder / HISTORY)
    model.set_logger(_logger(folder))
    if extra is not None:
        parts = {"budget": budget, "log": log, "history": history, "logger": model.logger}
        for name, part in parts.items():
            vars(part).update(extra[name])

    def save() -> Cost:
        extra = {
            "budget": budget.__getstate__(),
            "log": log.__getstate__(),
            "history": history.__getstate__(),
            "logger": _not_yet_written(model.logger),
        }
        return save_checkpoint(folder / CHECKPOINT, model, extra)

    checkpoints = Checkpoints(config.checkpoint_every, save, at_once=extra is None)
    callbacks = [budget, log, checkpoints]
    if isinstance(model, MASP) and model.eta:
        callbacks.insert(2, history)
    if config.similarity_unfreeze_at is not None:
        callbacks.insert(1, Unfreeze(budget, config.similarity_unfreeze_at))
    own_log: dict[str, Any] = {}
    if isinstance(model, OnPolicyAlgorithm):
        callbacks.append(LogLines())
        own_log = {"log_interval": None}
    try:
        with _stopping_at_interrupt(checkpoints):
            # A decision takes at least one frame, so the budget ends before SB3's count does.
            model.learn(
                config.frames,
                callback=callbacks,
                reset_num_timesteps=extra is None,
                **own_log,
            )
    finally:
        print(f"{config.folder}: {checkpoints.statement()}", file=sys.stderr)
    model.dump_logs()  # of the episodes since the last line
    model.logger.close()
    write_results(folder, config.env, model, log)
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return model


def _not_yet_written(logger: Logger) -> dict[str, Any]:
    """Values that the next line of the log will show, with the counts behind means."""
    names = ("name_to_value", "name_to_count", "name_to_excluded")
    return {name: getattr(logger, name) for name in names}


@contextmanager
def _stopping_at_interrupt(checkpoints: Checkpoints) -> Iterator[None]:
    """Make the first Ctrl-C save and stop, and the second one stop at once."""
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
    parameters = signature(ALGORITHMS[config.algorithm].learner).parameters
    defaults = {name: parameters[name].default for name in content["learner"] if name in parameters}
    return {
        "config": content,
        "files": digests(config),
        "learner": defaults | config.learner_kwargs,
        "command": sys.argv,
        "versions": {package: version(package) for package in PACKAGES},
    }


def digests(config: TrainConfig) -> dict[str, str]:
    """SHA-256 of every file that a run is given and that exists, by setting."""
    learner = config.learner
    given = {
        "macros": config.macros,
        "similarity": learner.similarity,
        "similarity_start": learner.similarity_start,
        "weights": learner.weights,
    }
    return {
        name: hashlib.sha256(Path(path).read_bytes()).hexdigest()
        for name, path in given.items()
        if path is not None and Path(path).is_file()
    }


def read_digests(folder: Path) -> dict[str, str]:
    """The `digests` from when the run in ``folder`` started; empty for runs without them."""
    content = json.loads((folder / "config.json").read_text())
    return cast(dict[str, str], content.get("files", {}))


def _write_json(path: Path, content: Any) -> None:
    """Write JSON, atomically, with schedules and the like as the calls that make them."""
    with replacing(path) as file:
        file.write((json.dumps(content, indent=2, default=str) + "\n").encode())
