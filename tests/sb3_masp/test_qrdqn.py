"""MASPQRDQN is sb3-contrib's QR-DQN with durations, a penalty on means, and conditioning."""

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from sb3_contrib import QRDQN
from sb3_contrib.qrdqn import policies as contrib
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecNormalize

from macro_gym import MacroAction, MacroSet
from sb3_masp import MASPQRDQN
from sb3_masp.buffers import MacroReplaySamples

MACROS = MacroSet(("LEFT", "RIGHT"), ((0, 0), (1, 1), (0, 1, 0), (1, 0, 1, 1), (0, 0, 1)))
BREAKOUT = MacroSet(("NOOP", "FIRE", "RIGHT", "LEFT"), ((3, 3, 3), (2, 2), (1, 0, 2), (2, 3)))
SMALL = {"buffer_size": 199, "learning_starts": 23, "seed": 3, "batch_size": 13}
QUANTILES = {"policy_kwargs": {"n_quantiles": 17}}


def cartpole():
    """Rewards small enough for errors in the quadratic part of the Huber loss."""
    return gym.wrappers.TransformReward(gym.make("CartPole-v1"), lambda reward: 0.1 * reward)


def macro_cartpole():
    return MacroAction(gym.make("CartPole-v1"), MACROS)


def breakout():
    return gym.make("MacroALE/Breakout-v5", k=0)


class DictCartPole(gym.ObservationWrapper):
    """CartPole in two keys."""

    def __init__(self, env):
        super().__init__(env)
        box = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
        self.observation_space = gym.spaces.Dict({"cart": box, "pole": box})

    def observation(self, observation):
        return {"cart": observation[:2], "pole": observation[2:]}


def same_weights(first, second):
    left, right = first.policy.state_dict(), second.policy.state_dict()
    assert list(left) == list(right)
    return all(th.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize(
    ("policy", "make", "kwargs"),
    [
        ("MlpPolicy", cartpole, {"train_freq": 1, "target_update_interval": 37} | QUANTILES),
        ("MlpPolicy", cartpole, {"max_grad_norm": 0.1, "tau": 0.1, "target_update_interval": 1}),
        ("MlpPolicy", lambda: make_vec_env(cartpole, 3), {"gradient_steps": 2} | QUANTILES),
        ("MlpPolicy", cartpole, {"n_steps": 3} | QUANTILES),
        ("MultiInputPolicy", lambda: DictCartPole(cartpole()), QUANTILES),
        ("MlpPolicy", lambda: VecNormalize(make_vec_env(cartpole, 2)), QUANTILES),
        ("CnnPolicy", breakout, {"train_freq": 10} | QUANTILES),
    ],
    ids=["mlp", "soft target", "three envs", "n-step", "dict", "normalised", "breakout"],
)
def test_without_penalty_and_conditioning_it_is_sb3_contribs_weight_for_weight(
    policy, make, kwargs
):
    steps = 97 if policy == "CnnPolicy" else 301
    theirs = QRDQN(policy, make(), **SMALL, **kwargs).learn(steps)
    ours = MASPQRDQN(
        policy, make(), eta=0, embedding_dim=0, clip_rewards=False, **SMALL, **kwargs
    ).learn(steps)
    assert theirs._n_updates > 5
    assert same_weights(theirs, ours)


def test_only_arguments_that_are_ours_have_defaults_of_their_own():
    theirs, ours = (vars(c("MlpPolicy", cartpole(), buffer_size=7)) for c in (QRDQN, MASPQRDQN))
    plain = (bool, int, float, str, tuple, type(None))
    differ = {n for n, v in theirs.items() if isinstance(v, plain) and ours[n] != v}
    assert differ <= {"start_time"}


def batch(model, seed=0):
    """Decisions of every kind: terminal, long, weighted."""
    generator = np.random.default_rng(seed)

    def draw(*shape):
        return th.as_tensor(generator.normal(size=shape), dtype=th.float32)

    return MacroReplaySamples(
        draw(5, 4),
        th.as_tensor(generator.integers(0, 7, (5, 1))),
        draw(5, 4),
        th.tensor([[0.0], [1.0], [0.0], [0.0], [1.0]]),
        draw(5, 1),
        th.tensor([[0.9], [0.81], [0.729], [0.0], [0.5]]),
        th.tensor([[1.0], [0.3], [0.7], [0.2], [0.1]]),
        np.arange(5),
    )


@pytest.mark.parametrize("double_q", [False, True])
@pytest.mark.parametrize("prioritized_replay", [False, True])
def test_the_loss_is_the_papers_equation_in_loops(double_q, prioritized_replay):
    model = MASPQRDQN(
        "MlpPolicy",
        macro_cartpole(),
        double_q=double_q,
        prioritized_replay=prioritized_replay,
        policy_kwargs={"n_quantiles": 3},
        **SMALL,
    )
    with th.no_grad():
        for parameter in model.quantile_net_target.parameters():
            parameter += 0.3 * th.randn_like(parameter)  # so that its favourites are others
    samples = batch(model)
    td = model._td_loss(samples)
    with th.no_grad():
        found, online, target = (
            network(x).double()
            for network, x in (
                (model.quantile_net, samples.observations),
                (model.quantile_net, samples.next_observations),
                (model.quantile_net_target, samples.next_observations),
            )
        )
    losses = []
    for n in range(5):
        chooser = online if double_q else target
        best = max(range(7), key=lambda a: sum(chooser[n, i, a] for i in range(3)))
        loss = 0.0
        for j in range(3):
            bootstrap = samples.discounts[n, 0] * target[n, j, best]
            y = samples.rewards[n, 0] + (1 - samples.dones[n, 0]) * bootstrap
            for i in range(3):
                error = float(y - found[n, i, samples.actions[n, 0]])
                huber = error**2 / 2 if abs(error) <= 1 else abs(error) - 0.5
                loss += abs((i + 0.5) / 3 - (error < 0)) * huber / 3
        losses.append(loss)
    weights = samples.weights[:, 0].tolist() if prioritized_replay else [1.0] * 5
    expected = np.mean(np.multiply(weights, losses))
    np.testing.assert_allclose(td.loss.item(), expected, rtol=1e-5)
    np.testing.assert_allclose(td.td_errors, losses, rtol=1e-5)
    th.testing.assert_close(td.q_values, found.float().mean(dim=1))
    assert not td.td_errors.requires_grad
    chosen = {m.argmax(dim=1).tolist()[0] for m in (online.mean(1), target.mean(1))}
    assert len(chosen) == 2  # or double_q would change nothing here


def test_scripts_that_name_sb3_contribs_policy_class_are_conditioned_too():
    model = MASPQRDQN(contrib.MlpPolicy, macro_cartpole(), **SMALL)
    assert model.quantile_net.similarity.shape == (7, 7)
    with pytest.warns(
        UserWarning, match=r"Own is not conditioned.*a policy of sb3_masp\.qrdqn\.policies"
    ):
        MASPQRDQN(type("Own", (contrib.QRDQNPolicy,), {}), macro_cartpole(), **SMALL)


@pytest.mark.parametrize("embedding", ["factored", "dense"])
@pytest.mark.parametrize(
    ("policy", "make"),
    [
        ("MlpPolicy", macro_cartpole),
        ("MultiInputPolicy", lambda: DictCartPole(macro_cartpole())),
        ("CnnPolicy", lambda: gym.make("MacroALE/Breakout-v5", macros=BREAKOUT)),
    ],
    ids=["mlp", "dict", "cnn"],
)
def test_every_policy_learns_and_moves_its_similarity(policy, make, embedding):
    model = MASPQRDQN(
        policy,
        make(),
        embedding=embedding,
        meta_interval=1,
        prioritized_replay=True,
        **SMALL,
        **QUANTILES,
    ).learn(53)
    assert model._n_updates > 5
    assert float((model.similarity() - model.similarity.start).detach().abs().max()) > 0
    assert th.equal(model.quantile_net.similarity, model.similarity().detach())
    assert not th.equal(model.quantile_net_target.similarity, model.quantile_net.similarity)


def test_loading_what_was_saved_gives_it_back_and_learns_on_the_same(tmp_path):
    settings = SMALL | QUANTILES | {"meta_interval": 1, "n_steps": 3}
    model = MASPQRDQN("MlpPolicy", macro_cartpole(), **settings).learn(71)
    model.save(tmp_path / "model")
    loaded = MASPQRDQN.load(tmp_path / "model", env=macro_cartpole())
    assert same_weights(model, loaded)
    assert th.equal(model.similarity(), loaded.similarity())
    assert (loaded.n_steps, loaded.replay_buffer.n_steps) == (3, 3)
    loaded.learn(31)


def test_it_learns_a_frozen_lake_with_macros():
    lake = gym.make("FrozenLake-v1", is_slippery=False, max_episode_steps=30)
    env = MacroAction(lake, MacroSet(("LEFT", "DOWN", "RIGHT", "UP"), ((1, 1), (2, 2), (0, 3))))
    model = MASPQRDQN(
        "MlpPolicy",
        env,
        learning_rate=1e-3,
        learning_starts=300,
        gamma=0.8,
        train_freq=2,
        target_update_interval=100,
        exploration_fraction=0.8,
        policy_kwargs={"n_quantiles": 11},
        seed=1,
    ).learn(4_000)
    assert evaluate_policy(model, model.get_env(), 3) == (1.0, 0.0)
