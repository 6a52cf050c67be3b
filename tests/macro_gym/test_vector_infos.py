"""Infos are batched as Gymnasium batches them, key by key and type by type."""

import numpy as np
import pytest
from gymnasium.vector import VectorEnv

from macro_gym.vector_infos import are_alike, columns


def as_gymnasium(infos):
    vector = VectorEnv()
    vector.num_envs = len(infos)
    batched = {}
    for index, info in enumerate(infos):
        batched = vector._add_info(batched, info, index)
    return batched


def assert_same(one, other):
    assert list(one) == list(other)
    for key, array in one.items():
        assert array.dtype == other[key].dtype, key
        np.testing.assert_array_equal(array, other[key], strict=True, err_msg=key)


def test_infos_that_are_alike_become_the_arrays_that_gymnasium_makes():
    rng = np.random.default_rng(0)
    infos = [
        {
            "lives": int(rng.integers(5)),
            "time": float(rng.random()),
            "over": bool(rng.integers(2)),
            "half": np.float16(rng.random()),
            "byte": np.uint8(rng.integers(256)),
            "rewards": rng.random((7, 2), np.float32),
            "scalar": np.array(rng.integers(9)),
        }
        for _ in range(5)
    ]
    assert are_alike(infos)
    assert_same(columns(infos), as_gymnasium(infos))
    assert_same(columns(infos[:1]), as_gymnasium(infos[:1]))
    assert columns([{}, {}]) == as_gymnasium([{}, {}]) == {}


@pytest.mark.parametrize(
    "infos",
    [
        [{"a": 1}, {"b": 1}],
        [{"a": 1}, {}],
        [{"a": 1, "b": 2}, {"b": 2, "a": 1.0}],
        [{"a": 1}, {"a": True}],
        [{"a": "one"}, {"a": "two"}],
        [{"a": np.bool_(True)}, {"a": np.bool_(False)}],
        [{"a": np.zeros(2)}, {"a": np.zeros(3)}],
        [{"a": np.zeros(2)}, {"a": np.zeros(2, np.float32)}],
        [{"a": {"b": 1}}, {"a": {"b": 1}}],
        [{"final_obs": np.zeros(2)}, {"final_obs": np.zeros(2)}],
        [{"a": None}, {"a": None}],
    ],
)
def test_infos_that_gymnasium_treats_one_by_one_are_told_apart(infos):
    assert not are_alike(infos)
