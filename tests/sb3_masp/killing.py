"""How runs are killed, and what is compared of them afterwards."""

import multiprocessing
import random
import signal
import time
from collections import deque
from pathlib import PurePath

import numpy as np
import torch as th
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

# Children that have torch loaded already, so that a run to kill starts in an instant.
CHILDREN = multiprocessing.get_context("forkserver")
CHILDREN.set_forkserver_preload(["sb3_masp.run"])

# Clocks, and the log, which the TensorBoard test compares.
NOT_STATE = {
    *("start_time", "t_start", "t", "episode_times", "_num_timesteps_at_start"),
    "_logger",
}

# Nature CNNs draw one observation to see its shape.
UNSEEDED = {"_np_random"}


def generators():
    return random.getstate(), np.random.get_state(), th.get_rng_state()


def differences(first, second, path="", met=None):
    """Paths of all that is not equal in two objects, whatever they are made of."""
    met = {} if met is None else met
    if (id(first), id(second)) in met:
        return []
    met[id(first), id(second)] = first, second  # Kept, or others might get their ids.
    if type(first) is not type(second):
        return [f"{path}: {type(first)} and {type(second)}"]
    if isinstance(first, th.Tensor):
        same = th.equal(first, second) and first.dtype == second.dtype
        grads = differences(first.grad, second.grad, f"{path}.grad", met) if first.is_leaf else []
        return [*([] if same else [path]), *grads]
    if isinstance(first, np.ndarray):
        return [] if np.array_equal(first, second) and first.dtype == second.dtype else [path]
    if isinstance(first, np.random.Generator):
        first, second = first.bit_generator.state, second.bit_generator.state
    if isinstance(first, th.optim.Optimizer):
        first, second = first.state_dict(), second.state_dict()
    if isinstance(first, dict):
        if first.keys() != second.keys():
            return [f"{path}: keys {first.keys() ^ second.keys()} only once"]
        left_out = NOT_STATE | (UNSEEDED if path.endswith("observation_space.") else set())
        parts = [(key, first[key], second[key]) for key in first if key not in left_out]
    elif isinstance(first, (list, tuple, deque)):
        if len(first) != len(second):
            return [f"{path}: lengths {len(first)} and {len(second)}"]
        parts = [(place, *pair) for place, pair in enumerate(zip(first, second, strict=True))]
    elif callable(first) and hasattr(first, "__code__"):
        return differences(first.__closure__, second.__closure__, path, met)
    elif isinstance(first, (type, th.dtype, th.device, PurePath)) or not _has_state(first):
        same = first == second or type(first).__eq__ is object.__eq__
        return [] if same else [f"{path}: {first!r} and {second!r}"]
    else:
        parts = [("", first.__getstate__(), second.__getstate__())]
    return [text for key, *pair in parts for text in differences(*pair, f"{path}.{key}", met)]


def _has_state(thing):
    # Of frozen dataclasses with slots it is a list.
    return isinstance(thing.__getstate__(), (dict, tuple, list))


def started(target, *args):
    child = CHILDREN.Process(target=target, args=args, kwargs={"progress_bar": False})
    child.start()
    return child


def kill_after_checkpoints(child, path, number, rng):
    """Kill a run at any moment after it has written so many checkpoints."""
    written = path.stat().st_ino if path.exists() else None
    while number and child.exitcode is None:
        now = path.stat().st_ino if path.exists() else None
        number -= now != written
        written = now
        time.sleep(0.001)
    time.sleep(rng.uniform(0, 0.05))
    child.kill()
    child.join()
    assert child.exitcode == -signal.SIGKILL, "it ended before it could be killed"


def scalars(folder):
    """What TensorBoard shows, by tag and step; clocks apart."""
    log = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0}).Reload()
    tags = [tag for tag in log.Tags()["scalars"] if not tag.startswith(("time/fps", "checkpoint"))]
    return {
        (tag, event.step): np.float32(event.value) for tag in tags for event in log.Scalars(tag)
    }
