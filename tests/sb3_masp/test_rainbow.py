"""Rainbow as an SB3 learner: with parts and without, saved, loaded and seeded."""

import inspect

import pytest
import torch as th
from stable_baselines3 import DQN
from stable_baselines3.common.buffers import NStepReplayBuffer
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.torch_layers import NatureCNN
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from stable_baselines3.dqn import policies as sb3

from macro_gym.errors import LearnerSettingError
from sb3_masp import MASPDQN, Rainbow
from sb3_masp.rainbow import MlpPolicy
from tests.sb3_masp.poles import (
    MACROS,
    SMALL,
    DictCartPole,
    cartpole,
    macro_breakout,
    macro_cartpole,
    macro_lake,
    same_weights,
    small_rewards,
)

OFF = {
    "double_q": False,
    "dueling": False,
    "noisy": False,
    "distributional": False,
    "n_steps": 1,
    "prioritized_replay": False,
}


SB3S_ADAM = {"eps": 1e-8, "fused": False}


def same_parameters(first, second):
    """Whether networks whose modules have other names agree."""
    left, right = list(first.policy.parameters()), list(second.policy.parameters())
    assert len(left) == len(right)
    return all(th.equal(*pair) for pair in zip(left, right, strict=True))


@pytest.mark.parametrize(
    ("policy", "make", "kwargs"),
    [
        ("MlpPolicy", small_rewards, {"train_freq": 1, "target_update_interval": 37}),
        (
            "MlpPolicy",
            lambda: make_vec_env(small_rewards, 3),
            {"gradient_steps": 2, "tau": 0.1, "train_freq": 4},
        ),
        ("MultiInputPolicy", lambda: DictCartPole(small_rewards()), {}),
        ("CnnPolicy", lambda: macro_breakout(k=0), {"train_freq": 10}),
    ],
    ids=["mlp", "three envs", "dict", "breakout"],
)
def test_with_all_six_off_it_is_sb3s_dqn_weight_for_weight(policy, make, kwargs):
    steps = 97 if policy == "CnnPolicy" else 301
    settings = {"learning_rate": 1e-3, "gamma": 0.9, "exploration_final_eps": 0.1}
    settings |= {"target_update_interval": 50, "max_grad_norm": 0.3} | SMALL | kwargs
    theirs = DQN(policy, make(), **settings).learn(steps)
    extractor = {"features_extractor_class": NatureCNN} if policy == "CnnPolicy" else {}
    ours = Rainbow(
        policy,
        make(),
        clip_rewards=False,
        policy_kwargs={"optimizer_kwargs": SB3S_ADAM} | extractor,
        **OFF,
        **settings,
    ).learn(steps)
    assert theirs._n_updates > 5
    assert same_parameters(theirs, ours)
    assert theirs.exploration_rate == ours.exploration_rate


@pytest.mark.parametrize(
    ("optimizer_kwargs", "eps", "weight_decay", "fused"),
    [
        (None, 1.5e-4, 0, True),
        ({}, 1.5e-4, 0, True),
        ({"weight_decay": 0.01}, 1.5e-4, 0.01, True),
        ({"eps": 1e-3, "fused": False}, 1e-3, 0, False),
        ({"foreach": True}, 1.5e-4, 0, None),
    ],
)
def test_adam_keeps_rainbows_settings_but_for_those_given(
    optimizer_kwargs, eps, weight_decay, fused
):
    model = Rainbow("MlpPolicy", cartpole(), policy_kwargs={"optimizer_kwargs": optimizer_kwargs})
    adam = model.policy.optimizer.defaults
    assert (adam["eps"], adam["weight_decay"], adam["fused"]) == (eps, weight_decay, fused)


@pytest.mark.parametrize("replay", [True, False], ids=["double, n-step, prioritised", "plain"])
def test_without_its_network_it_is_masps_dqn_without_a_penalty_on_macros(replay):
    parts = {"double_q": replay, "n_steps": 3 if replay else 1, "prioritized_replay": replay}
    settings = {"learning_rate": 1e-3, "exploration_final_eps": 0.1, "target_update_interval": 50}
    settings |= SMALL
    # Without a network of its own, what is left of Rainbow is double Q-learning and the replay.
    theirs = MASPDQN(
        "MlpPolicy",
        macro_cartpole(),
        eta=0,
        embedding_dim=0,
        replay_buffer_kwargs={"priority_exponent": 0.5} if replay else None,
        **settings | parts,
    ).learn(201)
    ours = Rainbow(
        "MlpPolicy",
        macro_cartpole(),
        policy_kwargs={"optimizer_kwargs": SB3S_ADAM},
        **OFF | settings | parts,
    ).learn(201)
    assert same_parameters(theirs, ours)


def test_its_n_steps_are_those_of_sb3s_n_step_buffer_too():
    model = Rainbow(
        "MlpPolicy",
        small_rewards(),
        replay_buffer_class=NStepReplayBuffer,
        prioritized_replay=False,
        **SMALL | {"n_steps": 5, "gamma": 0.8},
    ).learn(61)
    assert (model.replay_buffer.n_steps, model.replay_buffer.gamma) == (5, 0.8)


def test_each_part_is_switched_off_by_its_name():
    full = Rainbow("MlpPolicy", macro_cartpole(), **SMALL)
    names = {name for name, _ in full.q_net.named_parameters()}
    assert any("sigma" in name for name in names)
    assert any(name.startswith("values.") for name in names)
    assert full.replay_buffer.prioritized
    assert full.replay_buffer.n_steps == 3
    assert full.double_q
    for part, value in OFF.items():
        model = Rainbow("MlpPolicy", macro_cartpole(), **{part: value}, **SMALL)
        names = {name for name, _ in model.q_net.named_parameters()}
        assert any("sigma" in name for name in names) == (part != "noisy")
        assert any(name.startswith("values.") for name in names) == (part != "dueling")
        logits = model.q_net.logits(th.zeros(2, 4))
        assert logits.shape == (2, 7, 1 if part == "distributional" else 51)
        assert model.replay_buffer.prioritized == (part != "prioritized_replay")
        assert model.replay_buffer.n_steps == (1 if part == "n_steps" else 3)
        assert model.double_q == (part != "double_q")
        assert model.learn(41)._n_updates > 2
        assert (model.exploration_rate > 0) == (part == "noisy")


def test_defaults_are_those_listed():
    model = Rainbow("CnnPolicy", macro_breakout(), buffer_size=7)
    adam, buffer = model.policy.optimizer.defaults, model.replay_buffer
    assert inspect.signature(Rainbow).parameters["buffer_size"].default == 1_000_000
    assert (adam["lr"], adam["eps"], adam["fused"]) == (6.25e-5, 1.5e-4, True)
    assert (model.learning_starts, model.train_freq.frequency) == (20_000, 4)
    assert (model.batch_size, model.gamma, model.n_steps) == (32, 0.99, 3)
    assert (model.target_update_interval, model.tau) == (8_000, 1.0)
    assert th.equal(model.q_net.support, th.linspace(-10, 10, 51))
    assert (buffer.priority_exponent, buffer.importance_exponent) == (0.5, 0.4)
    assert buffer.clip_rewards
    shapes = [tuple(p.shape) for n, p in model.q_net.named_parameters() if n.endswith(".weight")]
    convolutions = [(32, 4, 8, 8), (64, 32, 4, 4), (64, 64, 3, 3)]
    assert shapes == [*convolutions, (512, 3136), (8 * 51, 512), (512, 3136), (51, 512)]
    sigma = model.q_net.advantages[0].weight_sigma
    assert float(sigma.max().detach()) == pytest.approx(0.5 / 56)


@pytest.mark.parametrize(
    ("policy", "make"),
    [
        ("MlpPolicy", macro_cartpole),
        ("MlpPolicy", small_rewards),
        ("MultiInputPolicy", lambda: DictCartPole(macro_cartpole())),
        ("CnnPolicy", macro_breakout),
        ("MlpPolicy", lambda: VecNormalize(DummyVecEnv([macro_cartpole] * 3))),
    ],
    ids=["mlp", "no macros", "dict", "breakout", "normalised"],
)
def test_equal_seeds_give_equal_runs_and_others_do_not(policy, make):
    def run(seed):
        kwargs = {"policy_kwargs": {"net_arch": [17]}} | SMALL | {"seed": seed}
        return Rainbow(policy, make(), **kwargs).learn(9e1)

    first, second, third = run(3), run(3), run(4)
    assert first._n_updates > 5
    assert same_weights(first, second)
    assert not same_weights(first, third)


@pytest.mark.parametrize("off", [None, "noisy", "distributional"])
def test_loading_what_was_saved_gives_it_back_and_learns_on_the_same(tmp_path, off):
    settings = {off: False} if off else {}
    model = Rainbow("MlpPolicy", macro_cartpole(), n_atoms=21, v_max=7, **settings, **SMALL)
    model.learn(71).save(tmp_path / "model")
    loaded = Rainbow.load(tmp_path / "model", env=macro_cartpole())
    assert same_weights(model, loaded)
    assert loaded.macro_set == MACROS
    assert loaded.replay_buffer.priority_exponent == 0.5
    observation = model.get_env().reset()
    th.manual_seed(0)
    expected = model.predict(observation)
    th.manual_seed(0)
    assert loaded.predict(observation) == expected
    assert loaded.learn(51)._n_updates > model._n_updates


def test_a_policy_is_saved_and_loaded_without_its_learner(tmp_path):
    model = Rainbow("MlpPolicy", macro_cartpole(), n_atoms=21, dueling=False, **SMALL)
    model.policy.save(tmp_path / "policy")
    loaded = MlpPolicy.load(tmp_path / "policy")
    observations = th.randn(3, 4)
    assert th.equal(loaded.q_net(observations), model.q_net(observations))


def test_it_learns_a_frozen_lake_with_macros():
    model = Rainbow(
        "MlpPolicy",
        macro_lake(),
        learning_rate=1e-3,
        learning_starts=300,
        gamma=0.8,
        train_freq=2,
        target_update_interval=100,
        v_min=0,
        v_max=1,
        n_atoms=11,
        seed=1,
    ).learn(3_000)
    assert evaluate_policy(model, model.get_env(), 3) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"n_atoms": 1}, "n_atoms is 1; it must be 2, 3"),
        ({"v_min": 10.0}, "v_max is 10.0; it must be above v_min, 10.0"),
        ({"noise_scale": -0.5}, "noise_scale is -0.5"),
        (
            {"policy_kwargs": {"network_kwargs": {"noisy": False}}},
            r"^policy_kwargs\['network_kwargs'\] is .*; it must be left out.*: noisy, dueling",
        ),
    ],
)
def test_settings_out_of_range_are_refused(setting, message):
    with pytest.raises(LearnerSettingError, match=message):
        Rainbow("MlpPolicy", macro_cartpole(), **setting)


def test_scripts_that_name_sb3s_policy_class_get_rainbows():
    assert type(Rainbow(sb3.MlpPolicy, macro_cartpole(), **SMALL).policy) is MlpPolicy

    class Own(sb3.DQNPolicy):
        pass

    with pytest.raises(LearnerSettingError, match="policy is 'Own'; it must be derived"):
        Rainbow(Own, macro_cartpole(), **SMALL)
