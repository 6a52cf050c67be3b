"""Models that have learned a little, and what tells two of them apart."""

import numpy as np
import torch as th

from tests.sb3_masp.learners import small

OBSERVATIONS = np.random.default_rng(5).normal(size=(37, 4)).astype(np.float32)

MODELS = {}


def trained(learner):
    """A model that has learned a little; tests must leave it as it is."""
    if learner not in MODELS:
        MODELS[learner] = small(learner).learn(61)
    return MODELS[learner]


def choices(model, observations=OBSERVATIONS):
    return model.predict(observations, deterministic=True)[0].tolist()


def flat(model):
    """All tensors of the model's parameters, by where they are."""
    found = {}

    def walk(thing, path):
        if isinstance(thing, th.Tensor):
            found[path] = thing
        elif isinstance(thing, dict):
            for key, value in thing.items():
                walk(value, f"{path}.{key}")

    walk(model.get_parameters(), "")
    return found


def equal(first, second):
    left, right = flat(first), flat(second)
    return left.keys() == right.keys() and all(th.equal(left[key], right[key]) for key in left)
