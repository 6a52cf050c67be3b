import copy

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from stable_baselines3 import A2C
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import VecNormalize
from torch.utils._pytree import tree_leaves

import macro_gym  # noqa: F401
from macro_gym.errors import LearnerSettingError
from sb3_masp.optimizer_vjp import UnsupportedOptimizerError
from sb3_masp.pairwise import (
    ClockWeights,
    FixedTableWeights,
    GeometricWeights,
    PairwiseA2C,
    SequenceWeights,
    StateLambdaWeights,
    TableWeights,
)
from sb3_masp.pairwise.redistribution import redistributed, stretch_sums
from sb3_masp.pairwise.trajectory import bootstrapped_rewards
from sb3_masp.pairwise.weights import weighted_sum
from tests.sb3_masp.pairwise.poles import flat, learner, of_weights, pole

FORMS = {
    "pwtd": {},
    "pwr": {"advantage": "pwr"},
    "state_lambda": {"weights": "state_lambda"},
    "sequence": {"weights": "sequence", "advantage": "pwr"},
    "redistribution": {
        "weights": GeometricWeights(0.8),
        "advantage": "pwr",
        "redistribute_rewards": True,
    },
    "several updates": {"inner_steps": 3},
}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"gae_lambda": 0.8, "normalize_advantage": True, "ent_coef": 0.1},
        {"use_rms_prop": False, "max_grad_norm": 0.1},
    ],
    ids=["as it comes", "normalized", "adam"],
)
def test_with_weights_of_lambda_it_is_sb3s_a2c(settings):
    settings = {"gae_lambda": 0.95, "n_steps": 7, "seed": 1, "device": "cpu"} | settings
    theirs = A2C("MlpPolicy", pole(), **settings).learn(1_000)
    ours = PairwiseA2C("MlpPolicy", pole(), weights="geometric", **settings).learn(1_000)
    th.testing.assert_close(flat(ours), flat(theirs), rtol=1e-4, atol=1e-5)
    assert (flat(ours) - flat(learner(seed=1))).abs().max() > 0.01


@pytest.mark.parametrize("wrapper", [lambda env: env, VecNormalize], ids=["plain", "normalised"])
def test_with_time_limits_too_it_is_sb3s_a2c(wrapper):
    def env():
        limited = lambda: gym.wrappers.TimeLimit(gym.make("CartPole-v1"), 5)  # noqa: E731
        return wrapper(make_vec_env(limited, n_envs=2, seed=3))

    settings = {"n_steps": 7, "gae_lambda": 0.9, "seed": 1, "device": "cpu"}
    theirs = A2C("MlpPolicy", env(), **settings).learn(700)
    ours = PairwiseA2C("MlpPolicy", env(), weights="geometric", **settings).learn(700)
    th.testing.assert_close(flat(ours), flat(theirs), rtol=1e-4, atol=1e-5)


class InFloat64(FlattenExtractor):
    """Features in float64, where SB3's preprocessing ends in float32."""

    def forward(self, observations):
        return super().forward(observations).double()


@pytest.mark.parametrize("advantage", ["pwtd", "pwr"])
@pytest.mark.parametrize("max_grad_norm", [0.05, 1e9])
@pytest.mark.parametrize("use_rms_prop", [True, False], ids=["rmsprop", "adam"])
def test_weights_move_along_the_gradient_through_the_last_update(
    advantage, max_grad_norm, use_rms_prop
):
    """Double backward through the learner's own update, rebuilt from what it began with."""
    model = learner(
        advantage=advantage,
        max_grad_norm=max_grad_norm,
        use_rms_prop=use_rms_prop,
        ent_coef=0.1,
        policy_kwargs={"features_extractor_class": InFloat64, "net_arch": [5]},
    )
    model.policy.double()
    model.weights.double()
    if model.weighted_returns is not None:
        model.weighted_returns.double()
    model.learn(3 * 7 * 3)  # the third update's part of the gradient is still to come
    (step,) = model._window
    states = {
        name: copy.deepcopy(model.policy.optimizer.state[p])
        for name, p in model._evaluation.named_parameters()
    }
    model.collect_rollouts(model.env, Quiet(model), model.rollout_buffer, model.n_steps)
    found = {}
    outer_step = model.weights_optimizer.step
    model.weights_optimizer.step = lambda: found.update(
        {name: p.grad.clone() for name, p in model.weights.named_parameters()}
    )
    outer = model.rollout_buffer.trajectory(model._last_obs)
    after = {n: p.detach().clone() for n, p in model._evaluation.named_parameters()}
    model.train()
    model.weights_optimizer.step = outer_step

    parameters = {n: p.clone().requires_grad_() for n, p in step.before.items()}
    inner = step.trajectory
    evaluated = th.func.functional_call(
        model._evaluation, parameters, (inner.decided, inner.actions)
    )
    advantages = model._advantages(step)
    loss = model._inner_loss(evaluated, inner, advantages)
    gradients = th.autograd.grad(loss, list(parameters.values()), create_graph=True)
    norm = th.stack([g.square().sum() for g in gradients]).sum().sqrt()
    assert (norm > max_grad_norm) == (max_grad_norm < 1)
    shrink = (max_grad_norm / (norm + 1e-6)).clamp(max=1)
    moved = {
        name: value - change(model.policy.optimizer, states[name], g * shrink)
        for (name, value), g in zip(parameters.items(), gradients, strict=True)
    }
    for name, value in moved.items():
        th.testing.assert_close(value, after[name], rtol=1e-9, atol=1e-12)
    reached = th.func.functional_call(model._evaluation, moved, (outer.decided, outer.actions))
    outer_loss = -(outer.advantages.flatten() * reached[1]).mean()
    expected = th.autograd.grad(outer_loss, list(model.weights.parameters()))
    for (name, one), other in zip(found.items(), expected, strict=True):
        th.testing.assert_close(one, other, rtol=1e-6, atol=1e-16, msg=name)
        assert other.abs().max() > 1e-12 or name == "head.bias"


def change(optimizer, state, g):
    """What a step takes off, of the moments after it; differentiable through the last gradient."""
    group = optimizer.param_groups[0]
    if "square_avg" in state:
        alpha = group["alpha"]
        past = (state["square_avg"] - (1 - alpha) * g.detach() ** 2) / alpha
        square = alpha * past.clamp(min=0) + (1 - alpha) * g**2
        return group["lr"] * g / (rooted(square) + group["eps"])
    (b1, b2), step = group["betas"], float(state["step"])
    m = state["exp_avg"] + (1 - b1) * (g - g.detach())
    v = state["exp_avg_sq"] + (1 - b2) * (g**2 - g.detach() ** 2)
    return group["lr"] * m / (1 - b1**step) / (rooted(v / (1 - b2**step)) + group["eps"])


def rooted(square):
    alive = square > 0
    return th.where(alive, square, 1).sqrt() * alive


class Quiet(BaseCallback):
    """What `collect_rollouts` is given outside of `learn`: notes decisions and nothing else."""

    def __new__(cls, model):
        return model._init_callback(None)


@pytest.mark.parametrize("settings", FORMS.values(), ids=FORMS)
def test_models_are_saved_and_loaded_whole_and_learn_on(settings, tmp_path):
    model = learner(**settings).learn(150)
    model.save(tmp_path / "model")
    loaded = PairwiseA2C.load(tmp_path / "model", env=pole())
    names, _ = model._get_torch_save_params()
    for name in names:
        mine, others = model.get_parameters()[name], loaded.get_parameters()[name]
        for one, other in zip(tree_leaves(mine), tree_leaves(others), strict=True):
            assert th.equal(one, other) if isinstance(one, th.Tensor) else one == other
    assert ("weights_optimizer" in names) == model.weights.is_learned
    observation = np.ones((1, 4), np.float32)
    assert model.predict(observation, deterministic=True) == loaded.predict(
        observation, deterministic=True
    )
    before = flat(loaded)
    loaded.learn(50)
    assert not th.equal(before, flat(loaded))


@pytest.mark.parametrize(
    ("built", "name", "other"),
    [
        ("pwtd", "weights", "geometric"),
        ("pwtd", "advantage", "pwr"),
        ("pwr", "advantage", "pwtd"),
        ("pwr", "redistribute_rewards", True),
        ("redistribution", "redistribute_rewards", False),
    ],
)
def test_what_a_model_was_built_of_is_not_changed_at_loading(built, name, other, tmp_path):
    learner(**FORMS[built]).save(tmp_path / "model")
    with pytest.raises(LearnerSettingError, match=f"^{name} is {other!r}; .* left out at loading"):
        PairwiseA2C.load(tmp_path / "model", env=pole(), **{name: other})


@pytest.mark.parametrize("settings", FORMS.values(), ids=FORMS)
def test_the_same_seed_gives_the_same_run(settings):
    one, other = (learner(**settings).learn(200) for _ in range(2))
    assert th.equal(flat(one), flat(other))
    if one.weights.is_learned:
        assert th.equal(of_weights(one), of_weights(other))
        assert not th.equal(of_weights(one), of_weights(learner(**settings)))


def test_weights_move_once_for_so_many_updates():
    model, seen = learner(inner_steps=3), []
    step = model.weights_optimizer.step
    model.weights_optimizer.step = lambda: (seen.append(model._n_updates), step())
    model.learn(21 * 10)
    assert seen == [3, 6, 9]


def test_with_resets_each_step_of_the_weights_begins_with_another_policy():
    model, starts = learner(inner_steps=3, inner_resets=True, advantage="pwr"), []
    begin = model._begin_anew
    model._begin_anew = lambda: (begin(), starts.append(flat(model)))
    model.learn(21 * 13)
    assert len(starts) == 3  # three updates, and a rollout that only the weights learn from
    assert not th.equal(starts[0], starts[1])
    assert starts[0].abs().max() < 3
    assert model.policy.optimizer.state_dict()["state"][0]["step"] < 4
    assert not th.equal(of_weights(model), of_weights(learner(advantage="pwr")))


def test_frozen_weights_stay_and_the_policy_learns_by_them():
    model = learner(weights_frozen=True)
    before = of_weights(model), flat(model)
    model.learn(200)
    assert th.equal(of_weights(model), before[0])
    assert not th.equal(flat(model), before[1])
    assert model._window == []


def test_numbered_states_get_a_table_and_others_embeddings():
    lake = make_vec_env("FrozenLake-v1", 2)
    assert isinstance(learner(lake).weights, TableWeights)
    assert learner(lake).weights.logits.shape == (16, 16)
    assert type(learner().weights).__name__ == "EmbeddingWeights"
    assert isinstance(learner(weights="sequence").weights, SequenceWeights)
    assert isinstance(learner(weights="state_lambda").weights, StateLambdaWeights)


def test_weights_given_are_copied():
    given = TableWeights(16)
    model = learner(make_vec_env("FrozenLake-v1", 2), weights=given).learn(100)
    assert (given.logits == 0).all()
    assert not (model.weights.logits == 0).all()


def test_a_table_of_ones_credits_all_later_td_errors_alike():
    ones = FixedTableWeights(np.ones((16, 16)))
    model = learner(make_vec_env("FrozenLake-v1", 2, seed=0), weights=ones).learn(14)
    trajectory = model.rollout_buffer.trajectory(model._last_obs)
    found = weighted_sum(model.weights, trajectory, th.ones(2, 7))
    expected = trajectory.later(slice(0, 7)).sum(dim=2).float()
    th.testing.assert_close(found, expected)


def test_learning_goes_on_after_a_stop_in_the_middle_and_when_called_again():
    model = learner()
    model.learn(100, callback=lambda locals, globals: locals["self"].num_timesteps < 30)
    model.learn(63).learn(63, reset_num_timesteps=False)
    assert model.num_timesteps == 126
    assert flat(model).isfinite().all()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"advantage": "gae"}, "advantage is 'gae'; it must be 'pwtd' or 'pwr'"),
        ({"weights": "tables"}, "weights is 'tables'; it must be CreditWeights or one of table"),
        ({"inner_steps": 0}, "inner_steps is 0; it must be 1, 2, 3"),
        ({"meta_learning_rate": -1.0}, "meta_learning_rate is -1.0; it must be at least 0"),
        ({"inner_resets": True, "weights_frozen": True}, "inner_resets is True; it must be False"),
        ({"weights": FixedTableWeights(np.eye(4))}, r"they must be of Discrete\(4\)"),
        ({"redistribute_rewards": True}, "redistribute_rewards is True; it must be False with"),
        ({"rollout_buffer_class": RolloutBuffer}, "it must be a TrajectoryBuffer"),
        ({"weights": "table"}, "weights='table' is for numbered states"),
    ],
)
def test_settings_out_of_range_are_refused(settings, said):
    with pytest.raises(LearnerSettingError, match=said):
        learner(**settings)


def test_episodes_longer_than_a_table_of_their_clock_are_refused():
    with pytest.raises(LearnerSettingError, match="episodes of 10 steps, but one has come to"):
        learner(weights=ClockWeights(np.ones((10, 10))), n_steps=50).learn(150)


def test_an_optimizer_without_a_known_jacobian_is_refused_unless_weights_are_frozen():
    kwargs = {"policy_kwargs": {"optimizer_class": th.optim.Adagrad}}
    with pytest.raises(UnsupportedOptimizerError, match="or weights_frozen=True"):
        learner(**kwargs)
    learner(weights_frozen=True, **kwargs).learn(50)


class TwoRates(ActorCriticPolicy):
    """Its values learn at a rate of their own."""

    def _build(self, lr_schedule):
        super()._build(lr_schedule)
        of_values = {id(p) for p in self.value_net.parameters()}
        others = [p for p in self.parameters() if id(p) not in of_values]
        groups = [{"params": others}, {"params": self.value_net.parameters(), "lr": 1e-4}]
        self.optimizer = th.optim.RMSprop(groups, lr=lr_schedule(1))


def test_an_optimizer_of_several_groups_is_refused_before_training_unless_weights_are_frozen():
    with pytest.raises(UnsupportedOptimizerError, match=r"policy's has 2.*or weights_frozen=True"):
        learner(policy=TwoRates)
    learner(policy=TwoRates, weights_frozen=True).learn(50)


def test_what_predicts_returns_learns_beside_the_policy_as_it_would_alone():
    model = learner(
        advantage="pwr",
        weights=GeometricWeights(0.8),
        redistribute_rewards=True,
        max_grad_norm=0.01,
    ).learn(2 * 7 * 3)
    model.collect_rollouts(model.env, Quiet(model), model.rollout_buffer, model.n_steps)
    alone = copy.deepcopy(model.weighted_returns)
    optimizer = th.optim.RMSprop(alone.parameters(), lr=7e-4, alpha=0.99, eps=1e-5)
    optimizer.load_state_dict(copy.deepcopy(model.weighted_returns_optimizer.state_dict()))
    trajectory = model.rollout_buffer.trajectory(model._last_obs)
    model.train()

    rewards = bootstrapped_rewards(trajectory)
    found = alone.predictor(trajectory)
    credited = redistributed(found.detach(), rewards, trajectory)
    sums = weighted_sum(model.weights, trajectory, credited)
    errors = {
        "predictor.": (found - stretch_sums(rewards, trajectory)).square().mean(),
        "": (alone(trajectory.decided) - sums.flatten()).square().mean(),
    }
    for kind, error in errors.items():
        named = [p for n, p in alone.named_parameters() if n.startswith("predictor.") == bool(kind)]
        for parameter, gradient in zip(named, th.autograd.grad(error, named), strict=True):
            parameter.grad = gradient
        assert th.nn.utils.clip_grad_norm_(named, 0.01) > 0.01
    optimizer.step()
    for one, other in zip(model.weighted_returns.parameters(), alone.parameters(), strict=True):
        th.testing.assert_close(one, other)


def test_rewards_of_games_are_clipped_for_learning_unless_told_not_to():
    env = gym.make("MacroALE/Breakout-v5", k=2, obs_type="ram")
    assert learner(env).clip_rewards
    assert learner(env).rollout_buffer.clip_rewards
    assert not learner(env, clip_rewards=False).rollout_buffer.clip_rewards
    assert not learner().rollout_buffer.clip_rewards
    env.close()
