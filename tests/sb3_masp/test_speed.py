import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium.spaces import Box, Dict, Discrete
from torch import nn
from torch.optim import SGD, Adam, AdamW

from sb3_masp import MASPDQN, MASPQRDQN, MASPRainbow, Rainbow
from sb3_masp.samples import MacroReplaySamples
from sb3_masp.speed import channels_last, drop_vanishing, fuse

SB3S = {
    "noisy": False,
    "dueling": False,
    "distributional": False,
    "policy_kwargs": {"optimizer_kwargs": {"fused": False}},
}


class Views(gym.Env):
    """Random images and vectors."""

    observation_space = Dict(image=Box(0, 255, (3, 37, 41), np.uint8), speed=Box(-1, 1, (5,)))
    action_space = Discrete(7)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._view(), {}

    def step(self, action):
        return self._view(), float(self.np_random.normal()), False, False, {}

    def _view(self):
        image = self.np_random.integers(0, 256, (3, 37, 41), np.uint8)
        return {"image": image, "speed": self.np_random.uniform(-1, 1, 5).astype(np.float32)}


def learner(kind=MASPDQN, **kwargs):
    model = kind("MultiInputPolicy", Views(), buffer_size=31, learning_starts=23, seed=2, **kwargs)
    return model.learn(23)


def is_channels_last(images):
    return images.is_contiguous(memory_format=th.channels_last) and not images.is_contiguous()


def test_images_are_laid_out_anew_with_their_values_and_all_else_is_left():
    images, vectors = th.rand(2, 3, 5, 7), th.rand(2, 11)
    columns = [th.rand(2, 1) for _ in range(5)]
    batch = MacroReplaySamples(
        {"a": images, "b": vectors}, columns[0], vectors, *columns[1:], np.arange(2)
    )
    found = channels_last(batch)
    assert th.equal(found.observations["a"], images)
    assert is_channels_last(found.observations["a"])
    assert found.observations["b"] is vectors
    assert found.next_observations is vectors
    assert found[3:] == batch[3:]
    assert is_channels_last(channels_last(batch._replace(next_observations=images))[2])


@pytest.mark.parametrize("kind", [Adam, AdamW])
@pytest.mark.parametrize(
    ("chosen", "fused"),
    [({}, True), ({"fused": False}, False), ({"foreach": True}, None), ({"foreach": False}, None)],
    ids=["nothing chosen", "unfused", "foreach", "one by one"],
)
def test_adam_is_fused_unless_another_way_was_chosen(kind, chosen, fused):
    optimizer = kind([th.nn.Parameter(th.ones(3))], **chosen)
    fuse(optimizer)
    assert optimizer.param_groups[0]["fused"] is fused


def test_other_optimizers_are_left_as_they_are():
    optimizer = SGD([th.nn.Parameter(th.ones(3))], lr=0.1)
    fuse(optimizer)
    assert not optimizer.param_groups[0]["fused"]


@pytest.mark.parametrize(
    ("kind", "settings", "faster"),
    [
        (MASPDQN, {}, True),
        (MASPDQN, {"eta": 0}, True),  # conditioned
        (MASPDQN, {"embedding_dim": 0}, True),
        (MASPDQN, {"eta": 0, "embedding_dim": 0}, False),
        (MASPQRDQN, {}, True),
        (MASPQRDQN, {"eta": 0, "embedding_dim": 0}, False),
        (Rainbow, {}, True),
        (MASPRainbow, {"eta": 0, "embedding_dim": 0}, True),  # is Rainbow
        (Rainbow, SB3S, False),
    ],
)
def test_only_what_equals_a_learner_of_sb3_updates_as_sb3_does(kind, settings, faster):
    model = learner(kind, **settings)
    batch = model._sample(5)
    assert is_channels_last(batch.observations["image"]) is faster
    assert is_channels_last(batch.next_observations["image"]) is faster
    assert bool(model.policy.optimizer.param_groups[0]["fused"]) is faster


def test_the_faster_updates_are_the_slower_ones_to_rounding(monkeypatch):
    def after_updates(**kwargs):
        model = learner(meta_interval=1, max_grad_norm=0.1, **kwargs)
        model.train(5, 11)
        return [*model.policy.parameters(), *model.similarity.parameters()]

    fast = after_updates()
    monkeypatch.setattr("sb3_masp.macro_learner.channels_last", lambda batch: batch)
    slow = after_updates(policy_kwargs={"optimizer_kwargs": {"fused": False}})
    assert not all(map(th.equal, fast, slow))
    for quick, steady in zip(fast, slow, strict=True):
        th.testing.assert_close(quick, steady, rtol=0, atol=2e-4)


def moments(optimizer, name="exp_avg"):
    return th.cat([state[name].flatten() for state in optimizer.state.values()])


def test_vanishing_moments_are_dropped_and_no_others():
    weight = nn.Parameter(th.zeros(6))
    optimizer = Adam([weight])
    weight.grad = th.zeros(6)
    optimizer.step()
    state = optimizer.state[weight]
    state["exp_avg"][:] = th.tensor([1e-42, -1e-31, 2e-30, -0.5, 0.0, 1e-29])
    state["exp_avg_sq"][:] = th.tensor([1e-39, 1e-40, 0.0, 0.25, 2e-30, 1e-20])
    step = state["step"].clone()
    drop_vanishing(optimizer)
    expected = th.tensor([0.0, 0.0, 2e-30, -0.5, 0.0, 1e-29])
    th.testing.assert_close(state["exp_avg"], expected, rtol=0, atol=0)
    expected = th.tensor([0.0, 0.0, 0.0, 0.25, 2e-30, 1e-20])
    th.testing.assert_close(state["exp_avg_sq"], expected, rtol=0, atol=0)
    assert state["step"] == step
    drop_vanishing(th.optim.SGD([weight], momentum=0.9))


@pytest.mark.parametrize(("eta", "left"), [(0.3, 0), (0.0, 1)])
def test_a_learner_drops_them_unless_it_is_to_equal_sb3s(eta, left):
    kwargs = {"eta": eta, "embedding_dim": 0, "learning_starts": 10, "buffer_size": 200}
    model = MASPDQN("MlpPolicy", "CartPole-v1", train_freq=1, seed=0, **kwargs)
    model.learn(20)
    weight = model.q_net.q_net[0].weight
    weight.data[0], model.q_net.q_net[0].bias.data[0] = 0, -1  # a unit that is dead
    planted = model.policy.optimizer.state[weight]["exp_avg"]
    planted[0] = 1e-36
    # The next look is at the 100th update.
    model.learn(100 - model._n_updates, reset_num_timesteps=False)
    assert model._n_updates == 100
    assert int((planted[0] != 0).any()) == left
