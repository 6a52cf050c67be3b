import numpy as np
import torch as th
from hypothesis import given, settings
from hypothesis import strategies as st

from sb3_masp.buffers import MacroReplayBuffer
from tests.sb3_masp.replay import ACTIONS, SPACES, play


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31 - 1),
    rows=st.integers(1, 11),
    n_envs=st.sampled_from([1, 3]),
    steps=st.integers(1, 30),
    α=st.sampled_from([0.0, 0.5, 1.0]),
    β=st.sampled_from([0.0, 0.4, 1.0]),
)
def test_draws_and_weights_follow_priorities_kept_in_a_list(seed, rows, n_envs, steps, α, β):
    buffer = MacroReplayBuffer(
        rows * n_envs, SPACES["vector"], ACTIONS, "cpu", n_envs, prioritized=True,
        priority_exponent=α, importance_exponent=0.7,
    )  # fmt: skip
    buffer.importance_exponent = β  # a learner anneals it
    rng = np.random.default_rng(seed)
    np.random.seed(seed)
    priorities, highest = {}, 1.0
    for step, decision in enumerate(play(seed, SPACES["vector"], n_envs, steps)):
        buffer.add(*decision)
        row = step % rows
        priorities |= {row * n_envs + env: highest**α for env in range(n_envs)}
        samples = buffer.sample(11)
        share = {index: p / sum(priorities.values()) for index, p in priorities.items()}
        raw = np.array([(len(share) * share[index]) ** -β for index in samples.indices])
        np.testing.assert_allclose(samples.weights[:, 0], raw / raw.max(), rtol=1e-5)
        counts = np.bincount(buffer.sample(101).indices, minlength=rows * n_envs)
        for index, count in enumerate(counts):
            assert abs(count - 101 * share.get(index, 0.0)) < 2
        errors = rng.normal(scale=3, size=11)
        buffer.update_priorities(samples.indices, th.tensor(errors)[:, None])
        for index, error in zip(samples.indices, errors, strict=True):
            priorities[index] = (abs(error) + 1e-6) ** α
            highest = max(highest, abs(error) + 1e-6)


def test_uniform_weights_are_one():
    buffer = MacroReplayBuffer(7, SPACES["vector"], ACTIONS, "cpu")
    for decision in play(0, SPACES["vector"], 1, 3):
        buffer.add(*decision)
    assert (buffer.sample(5).weights == th.ones(5, 1)).all()
