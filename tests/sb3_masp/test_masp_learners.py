"""What holds of every MASP learner: without penalty and conditioning it is its base."""

from inspect import signature

import pytest
import torch as th
from sb3_contrib import QRDQN
from sb3_contrib.qrdqn import policies as contrib
from stable_baselines3 import DQN
from stable_baselines3.common.buffers import NStepReplayBuffer
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from stable_baselines3.dqn import policies as sb3

from sb3_masp import MASPDQN, MASPQRDQN, MASPRainbow, Rainbow, rainbow
from sb3_masp.similarity import IdentitySimilarity
from sb3_masp.similarity.health import similarity_health
from tests.sb3_masp.learners import is_shown
from tests.sb3_masp.poles import (
    SMALL,
    DictCartPole,
    cartpole,
    macro_breakout,
    macro_cartpole,
    macro_lake,
    same_weights,
    small_rewards,
)

BASES = {MASPDQN: DQN, MASPQRDQN: QRDQN, MASPRainbow: Rainbow}
# Fewer outputs than the defaults, so that a test takes no longer than DQN's.
FEW = {
    MASPDQN: {},
    MASPQRDQN: {"policy_kwargs": {"n_quantiles": 17}},
    MASPRainbow: {"n_atoms": 11},
}
FOUR_STEPS = {"train_freq": 4}  # SB3's default; ours counts decisions
every_learner = pytest.mark.parametrize("kind", BASES, ids=lambda kind: kind.__name__)


@pytest.mark.parametrize(
    ("policy", "make", "kwargs"),
    [
        ("MlpPolicy", small_rewards, {"train_freq": 1, "target_update_interval": 37}),
        (
            "MlpPolicy",
            small_rewards,
            {"tau": 0.1, "target_update_interval": 1, "max_grad_norm": 0.1},
        ),
        ("MlpPolicy", small_rewards, {"train_freq": (2, "episode"), "gradient_steps": -1}),
        ("MlpPolicy", small_rewards, {"n_steps": 3}),
        ("MlpPolicy", lambda: make_vec_env(small_rewards, 3), {"gradient_steps": 2, **FOUR_STEPS}),
        ("MultiInputPolicy", lambda: DictCartPole(small_rewards()), {}),
        ("CnnPolicy", lambda: macro_breakout(k=0), {"train_freq": 10, "n_steps": 1}),
        ("MlpPolicy", lambda: VecNormalize(make_vec_env(small_rewards, 2)), FOUR_STEPS),
    ],
    ids=["mlp", "soft", "episodes", "n-step", "three envs", "dict", "breakout", "normalised"],
)
@every_learner
def test_without_penalty_and_conditioning_it_is_its_base_weight_for_weight(
    kind, policy, make, kwargs
):
    steps = 97 if policy == "CnnPolicy" else 301
    settings = SMALL | FEW[kind] | kwargs
    theirs = BASES[kind](policy, make(), **settings)
    start = [parameter.clone() for parameter in theirs.policy.parameters()]
    theirs.learn(steps)
    ours = kind(policy, make(), eta=0, embedding_dim=0, clip_rewards=False, **settings)
    ours.learn(steps)
    assert theirs._n_updates > 5
    assert not all(map(th.equal, start, theirs.policy.parameters()))
    assert same_weights(theirs, ours)
    assert theirs.num_timesteps == ours.num_timesteps


@pytest.mark.parametrize("kind", [MASPDQN, MASPQRDQN])
def test_sb3s_n_step_buffer_is_given_what_sb3_gives_it(kind):
    settings = SMALL | FEW[kind] | {"n_steps": 3, "gamma": 0.8}
    theirs = BASES[kind]("MlpPolicy", small_rewards(), **settings).learn(301)
    ours = kind(
        "MlpPolicy",
        small_rewards(),
        replay_buffer_class=NStepReplayBuffer,
        eta=0,
        embedding_dim=0,
        **settings,
    ).learn(301)
    assert isinstance(theirs.replay_buffer, NStepReplayBuffer)
    assert same_weights(theirs, ours)


@every_learner
def test_a_schedule_of_eta_that_has_come_to_zero_leaves_its_base(kind):
    settings = SMALL | FEW[kind]
    theirs = BASES[kind]("MlpPolicy", small_rewards(), **settings).learn(61)
    ours = kind("MlpPolicy", small_rewards(), eta=lambda _: 0, embedding_dim=0, **settings)
    assert same_weights(theirs, ours.learn(61))


@every_learner
def test_arguments_of_the_base_are_in_its_order_and_have_its_defaults(kind):
    theirs, ours = (signature(each).parameters for each in (BASES[kind], kind))
    assert list(ours)[: len(theirs)] == list(theirs) or kind is MASPRainbow
    assert set(theirs) <= set(ours)
    others = {name for name in theirs if theirs[name].default != ours[name].default}
    # SB3's 4 counts vectorised steps: with one environment the same.
    assert others == (set() if kind is MASPRainbow else {"train_freq"})
    assert ours["train_freq"].default == (4, "decision")


def test_arguments_of_masp_have_the_same_defaults_in_all_learners():
    of_each = [signature(kind).parameters for kind in BASES]
    ours = set(of_each[0]) - set(signature(DQN).parameters) - set(signature(Rainbow).parameters)
    assert len(ours) == 13
    for name in ours | {"clip_rewards", "buffer_size"}:
        assert len({str(parameters[name]) for parameters in of_each}) == 1, name


@every_learner
def test_penalty_and_conditioning_each_change_the_weights(kind):
    settings = SMALL | FEW[kind]
    plain = kind("MlpPolicy", macro_cartpole(), eta=0, embedding_dim=0, **settings).learn(101)
    penal = kind("MlpPolicy", macro_cartpole(), eta=0.3, embedding_dim=0, **settings).learn(101)
    assert not same_weights(plain, penal)
    conditioned = kind("MlpPolicy", macro_cartpole(), eta=0, **settings).learn(101)
    assert len(conditioned.policy.state_dict()) > len(plain.policy.state_dict())


@pytest.mark.parametrize(
    ("policy", "make", "embedding"),
    [
        ("MlpPolicy", macro_cartpole, "factored"),
        ("MlpPolicy", macro_cartpole, "dense"),
        ("MlpPolicy", cartpole, "factored"),
        ("MultiInputPolicy", lambda: DictCartPole(macro_cartpole()), "dense"),
        ("CnnPolicy", macro_breakout, "factored"),
        ("MlpPolicy", lambda: DummyVecEnv([macro_cartpole] * 3), "factored"),
    ],
    ids=["mlp", "dense", "no macros", "dict", "cnn", "vector"],
)
@every_learner
def test_every_policy_learns_and_moves_its_similarity(kind, policy, make, embedding):
    model = kind(
        policy,
        make(),
        embedding=embedding,
        double_q=True,
        n_steps=2,
        prioritized_replay=True,
        meta_interval=1,
        **SMALL | FEW[kind],
    ).learn(61)
    assert model._n_updates > 2
    sigma = model.similarity().detach()
    th.testing.assert_close(sigma.sum(dim=1), th.ones(len(sigma)))
    moved = float((sigma - model.similarity.start).abs().max())
    # With two actions the only row-stochastic Σ without diagonal swaps them.
    assert (moved > 0) == (model.action_space.n > 2)
    assert is_shown(model._network, model.similarity)
    assert similarity_health(sigma, model.similarity.start)["entropy"] > 0.9


@every_learner
def test_the_values_depend_on_the_similarity_that_the_network_is_shown(kind):
    model = kind("MlpPolicy", macro_cartpole(), **SMALL, **FEW[kind])
    observation = th.ones(1, 4)
    before = model._network(observation)
    model._network.similarity_embedding.show(IdentitySimilarity(th.eye(7)))
    assert not th.allclose(before, model._network(observation))


@every_learner
def test_loading_what_was_saved_gives_it_back_and_learns_on_the_same(kind, tmp_path):
    settings = SMALL | FEW[kind] | {"meta_interval": 1, "n_steps": 3}
    model = kind("MlpPolicy", macro_cartpole(), **settings).learn(71)
    model.save(tmp_path / "model")
    loaded = kind.load(tmp_path / "model", env=macro_cartpole())
    assert same_weights(model, loaded)
    assert th.equal(model.similarity(), loaded.similarity())
    assert th.equal(model.similarity.start, loaded.similarity.start)
    assert (loaded.n_steps, loaded.replay_buffer.n_steps) == (3, 3)
    first, second = (m.similarity_learning.optimizer.state_dict() for m in (model, loaded))
    assert th.equal(first["state"][0]["exp_avg_sq"], second["state"][0]["exp_avg_sq"])
    assert first["state"][0]["step"] == second["state"][0]["step"]
    observation = model.get_env().reset()
    assert model.predict(observation, deterministic=True) == loaded.predict(
        observation, deterministic=True
    )
    loaded.learn(31)


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        (MASPDQN, sb3.MlpPolicy),
        (MASPQRDQN, contrib.MlpPolicy),
        (MASPRainbow, sb3.MlpPolicy),
        (MASPRainbow, rainbow.MlpPolicy),
    ],
)
def test_scripts_that_name_the_bases_policy_class_are_conditioned_too(kind, named):
    model = kind(named, macro_cartpole(), **SMALL)
    assert model._network.similarity_embedding.left.shape == (32, 7)
    plain = kind(named, macro_cartpole(), embedding_dim=0, **SMALL)
    assert not hasattr(plain._network, "similarity_embedding")
    base = named if kind is not MASPRainbow else rainbow.MlpPolicy
    unconditioned = type(BASES[kind](named, macro_cartpole(), **SMALL).policy)
    assert unconditioned is base


@pytest.mark.parametrize(
    ("kind", "base", "module"),
    [
        (MASPDQN, sb3.DQNPolicy, "sb3_masp.dqn.policies"),
        (MASPQRDQN, contrib.QRDQNPolicy, "sb3_masp.qrdqn.policies"),
        (MASPRainbow, rainbow.MlpPolicy, "sb3_masp.rainbow.masp_policies"),
    ],
)
def test_a_policy_of_the_users_own_that_is_not_conditioned_is_warned_of(
    kind, base, module, tmp_path
):
    own = type("Own", (base,), {})
    with pytest.warns(UserWarning, match=f"Own is not conditioned.*a policy of {module}"):
        model = kind(own, macro_cartpole(), **SMALL, **FEW[kind])
    model.learn(41)
    kind(own, macro_cartpole(), embedding_dim=0, **SMALL, **FEW[kind]).learn(41)


@pytest.mark.filterwarnings("ignore:after .* updates, meta/cosine")  # nothing is left to learn
@pytest.mark.parametrize(
    ("kind", "decisions", "settings"),
    [
        (MASPDQN, 3_000, {"exploration_fraction": 0.8, "double_q": True}),
        (MASPRainbow, 2_000, {"v_min": 0, "v_max": 1}),
    ],
)
def test_it_learns_a_frozen_lake_with_macros(kind, decisions, settings):
    model = kind(
        "MlpPolicy",
        macro_lake(),
        learning_rate=1e-3,
        learning_starts=300,
        gamma=0.8,
        train_freq=2,
        target_update_interval=100,
        seed=1,
        **settings | FEW[kind],
    ).learn(decisions)
    assert evaluate_policy(model, model.get_env(), 1, warn=False) == (1.0, 0.0)
