import io

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from stable_baselines3 import DQN
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.torch_layers import NatureCNN
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from stable_baselines3.dqn import policies as sb3

from macro_gym import MacroAction, MacroSet
from sb3_masp import Rainbow
from sb3_masp.macro_learner import LearnerSettingError
from sb3_masp.rainbow import MlpPolicy
from sb3_masp.rainbow.noisy import NoisyLinear

MACROS = MacroSet(("LEFT", "RIGHT"), ((0, 0), (1, 1), (0, 1, 0), (1, 0, 1, 1), (0, 0, 1)))
BREAKOUT = MacroSet(("NOOP", "FIRE", "RIGHT", "LEFT"), ((3, 3, 3), (2, 2), (1, 0, 2), (2, 3)))
SMALL = {"buffer_size": 199, "learning_starts": 23, "seed": 3, "batch_size": 13}
OFF = {
    "double_q": False,
    "dueling": False,
    "noisy": False,
    "distributional": False,
    "n_steps": 1,
    "prioritized_replay": False,
}


def small_rewards():
    """CartPole with TD errors in the quadratic part of the Huber loss: a linear one is blind."""
    return gym.wrappers.TransformReward(gym.make("CartPole-v1"), lambda reward: 0.1 * reward)


def macro_cartpole():
    return MacroAction(small_rewards(), MACROS)


def macro_breakout(**kwargs):
    return gym.make("MacroALE/Breakout-v5", macros=BREAKOUT, **kwargs)


class DictCartPole(gym.ObservationWrapper):
    """CartPole in two keys."""

    def __init__(self, env):
        super().__init__(env)
        box = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
        self.observation_space = gym.spaces.Dict({"cart": box, "pole": box})

    def observation(self, observation):
        return {"cart": observation[:2], "pole": observation[2:]}


def weights(model):
    return [parameter.detach() for parameter in model.policy.parameters()]


def same_weights(first, second):
    left, right = weights(first), weights(second)
    assert len(left) == len(right)
    return all(th.equal(*pair) for pair in zip(left, right, strict=True))


@pytest.mark.parametrize(
    ("policy", "make", "kwargs"),
    [
        ("MlpPolicy", small_rewards, {"train_freq": 1, "target_update_interval": 37}),
        ("MlpPolicy", lambda: make_vec_env(small_rewards, 3), {"gradient_steps": 2, "tau": 0.1}),
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
        policy_kwargs={"optimizer_kwargs": {}} | extractor,
        **OFF,
        **settings,
    ).learn(steps)
    assert theirs._n_updates > 5
    assert same_weights(theirs, ours)
    assert theirs.exploration_rate == ours.exploration_rate


def naive_logits(network, features, noise):
    """Values plus advantages less their mean, layer by layer, noisy weights written out."""

    def stream(layers):
        outputs = features
        for linear in layers:
            if not isinstance(linear, th.nn.Linear):
                outputs = outputs.relu()
                continue
            weight, bias = linear.weight, linear.bias
            if isinstance(linear, NoisyLinear) and noise:
                weight = weight + linear.weight_sigma * th.outer(linear.noise_out, linear.noise_in)
                bias = bias + linear.bias_sigma * linear.noise_out
            outputs = outputs @ weight.T + bias
        return outputs

    advantages = stream(network.advantages).view(len(features), 7, -1)
    if not network.dueling:
        return advantages
    values = stream(network.values).unsqueeze(1)
    return values + advantages - advantages.sum(dim=1, keepdim=True) / 7


@pytest.mark.parametrize("noise", [True, False])
@pytest.mark.parametrize("off", [None, "noisy", "dueling", "distributional"])
def test_the_network_is_what_its_parameters_say(off, noise):
    settings = {off: False} if off else {}
    model = Rainbow("MlpPolicy", macro_cartpole(), n_atoms=11, v_min=-2, **settings, **SMALL)
    network, observations = model.q_net, th.randn(5, 4)
    logits = naive_logits(network, observations, noise)
    th.testing.assert_close(network.logits(observations, noise), logits)
    assert logits.shape == (5, 7, 1 if off == "distributional" else 11)
    if off == "distributional":
        expected = logits[:, :, 0]
    else:
        atoms = th.tensor([-2 + 1.2 * i for i in range(11)])
        expected = (logits.exp() / logits.exp().sum(dim=2, keepdim=True) * atoms).sum(dim=2)
    th.testing.assert_close(network(observations, noise), expected)
    assert th.equal(network(observations), network(observations, True))


@pytest.mark.parametrize("prioritized_replay", [True, False])
@pytest.mark.parametrize("distributional", [True, False])
@pytest.mark.parametrize("double_q", [True, False])
def test_the_loss_matches_a_loop_over_the_batch(double_q, distributional, prioritized_replay):
    model = Rainbow(
        "MlpPolicy",
        macro_cartpole(),
        double_q=double_q,
        distributional=distributional,
        prioritized_replay=prioritized_replay,
        v_min=-1,
        v_max=3,
        gamma=0.9,
        target_update_interval=10**6,
        learning_rate=1e-2,
        **SMALL,
    ).learn(201)
    # Networks that disagree on the best action, and priorities that differ.
    model.replay_buffer.importance_exponent = 0.7
    batch = model._sample(29)
    online, target = model.q_net, model.q_net_target
    assert (
        online(batch.next_observations).argmax(dim=1)
        != target(batch.next_observations).argmax(dim=1)
    ).any()
    losses, errors = [], []
    with th.no_grad():
        logits, next_logits = (
            online.logits(batch.observations),
            target.logits(batch.next_observations),
        )
        for i in range(29):
            chooser = online if double_q else target
            best = int(chooser(batch.next_observations[i : i + 1]).argmax())
            shrink = float((1 - batch.dones[i]) * batch.discounts[i])
            chosen, following = logits[i, int(batch.actions[i])], next_logits[i, best]
            if not distributional:
                error = float(batch.rewards[i]) + shrink * float(following) - float(chosen)
                losses.append(0.5 * error**2 if abs(error) < 1 else abs(error) - 0.5)
                errors.append(error)
                continue
            goal = th.zeros(51)
            for atom in range(51):
                value = float(batch.rewards[i]) + shrink * (-1 + 4 / 50 * atom)
                place = (min(max(value, -1), 3) + 1) / (4 / 50)
                for j in range(51):
                    goal[j] += following.softmax(dim=0)[atom] * max(0, 1 - abs(place - j))
            log_chosen = chosen.log_softmax(dim=0)
            loss = sum(float(t * (t.log() - q)) for t, q in zip(goal, log_chosen, strict=True) if t)
            losses.append(loss)
            errors.append(loss)
    td = model._td_loss(batch)
    scales = batch.weights.flatten() if prioritized_replay else th.ones(29)
    assert (len(scales.unique()) > 5) == prioritized_replay
    close = {"rtol": 1e-4, "atol": 1e-5}
    th.testing.assert_close(td.loss.detach(), (scales * th.tensor(losses)).mean(), **close)
    th.testing.assert_close(td.td_errors, th.tensor(errors), **close)
    assert not td.td_errors.requires_grad
    th.testing.assert_close(td.q_values, online(batch.observations))
    assert td.q_values.requires_grad


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


def noises(network):
    return [
        module.noise_out.clone() for module in network.modules() if hasattr(module, "noise_out")
    ]


def test_noise_is_drawn_once_for_each_update_and_held_through_it(monkeypatch):
    model = Rainbow("MlpPolicy", macro_cartpole(), **SMALL).learn(41)
    draws = []
    draw = type(model.q_net).draw_noise
    monkeypatch.setattr(
        type(model.q_net), "draw_noise", lambda self: (draws.append(self), draw(self))
    )
    before = noises(model.q_net), noises(model.q_net_target)
    model.train(3, 13)
    assert draws == [model.q_net, model.q_net_target] * 3
    for old, network in zip(before, (model.q_net, model.q_net_target), strict=True):
        assert len(old) == 6
        assert not any(th.equal(*pair) for pair in zip(old, noises(network), strict=True))
    batch = model._sample(13)
    assert th.equal(model._td_loss(batch).loss, model._td_loss(batch).loss)


def test_actions_are_under_fresh_noise_unless_deterministic():
    model = Rainbow("MlpPolicy", macro_cartpole(), noise_scale=5, **SMALL)
    observation = np.ones(4, np.float32)
    drawn = {int(model.predict(observation)[0]) for _ in range(40)}
    assert len(drawn) > 2
    values = model.q_net(th.ones(1, 4), noise=False)
    for _ in range(3):
        model.q_net.draw_noise()
        held = noises(model.q_net)
        action, _ = model.predict(observation, deterministic=True)
        assert int(action) == int(values.argmax())
        assert all(th.equal(*pair) for pair in zip(held, noises(model.q_net), strict=True))
    many, _ = model.predict(np.ones((5, 4), np.float32), deterministic=True)
    assert many.shape == (5,)


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
    first, second = model.policy.state_dict(), loaded.policy.state_dict()
    assert list(first) == list(second)
    assert all(th.equal(first[name], second[name]) for name in first)
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


@pytest.mark.parametrize("off", ["noisy", "dueling", "distributional"])
def test_a_network_is_rebuilt_from_what_it_tells_of_itself(off):
    model = Rainbow("MlpPolicy", small_rewards(), n_atoms=21, v_max=4, **{off: False}, seed=1)
    network = model.q_net
    again = type(network)(**network._get_constructor_parameters())
    again.load_state_dict(network.state_dict())
    observations = th.randn(3, 4)
    assert th.equal(again(observations), network(observations))


def test_priorities_are_the_losses_and_importance_is_annealed():
    model = Rainbow("MlpPolicy", macro_cartpole(), **SMALL).learn(199)
    assert model.replay_buffer.importance_exponent > 0.95
    seen = {}
    model.replay_buffer.update_priorities = lambda indices, errors: seen.update(
        indices=indices, errors=errors
    )
    model.train(1, 13)
    assert seen["indices"].shape == seen["errors"].shape == (13,)
    assert float(seen["errors"].min()) > -1e-6


def test_it_learns_a_frozen_lake_with_macros():
    lake = gym.make("FrozenLake-v1", is_slippery=False, max_episode_steps=30)
    env = MacroAction(lake, MacroSet(("LEFT", "DOWN", "RIGHT", "UP"), ((1, 1), (2, 2), (0, 3))))
    model = Rainbow(
        "MlpPolicy",
        env,
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


def test_a_model_goes_through_a_file_object():
    file = io.BytesIO()
    Rainbow("MlpPolicy", macro_cartpole(), **SMALL).save(file)
    file.seek(0)
    assert Rainbow.load(file).q_net.dueling
