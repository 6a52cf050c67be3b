"""PairwiseA2C learns on environments of every kind, as SB3's callbacks and vectors have it."""

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from stable_baselines3 import A2C
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecNormalize

import macro_gym  # noqa: F401
from macro_gym import MacroAction, MacroSet
from macro_gym.errors import MacroSetMismatchError
from sb3_masp.pairwise import PairwiseA2C
from tests.sb3_masp.pairwise.poles import flat, learner, of_weights, pole


class Corridor(gym.Env):
    """Seven places in a row; one step right is paid one, and the last place ends the episode."""

    observation_space, action_space = gym.spaces.Discrete(8), gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = 0
        return 0, {}

    def step(self, action):
        self.place += int(action)
        return self.place, float(action), self.place == 7, False, {}

    def get_action_meanings(self):
        return ["STAY", "GO"]


def with_macros(macros):
    return MacroAction(Corridor(), MacroSet(("STAY", "GO"), macros))


def test_on_macro_environments_time_is_counted_in_steps(tmp_path):
    model = learner(make_vec_env(lambda: with_macros(((1, 1, 1), (0, 1))), 2), n_steps=11)
    model.learn(500)
    trajectory = model.rollout_buffer.trajectory(model._last_obs)
    assert set(trajectory.durations.unique().tolist()) > {1}
    paid = {1: 0.99**0, 3: 1 + 0.99 + 0.99**2}
    actions = trajectory.actions.view(2, 11)
    full = (actions == 2) & (trajectory.durations == 3)
    th.testing.assert_close(
        trajectory.rewards[full], th.full_like(trajectory.rewards[full], paid[3])
    )
    assert full.any()
    within = ~trajectory.last
    th.testing.assert_close(
        trajectory.discounts[within], 0.99 ** trajectory.durations[within].float()
    )
    model.save(tmp_path / "model")
    with pytest.raises(MacroSetMismatchError, match="trained with 2 macros"):
        PairwiseA2C.load(tmp_path / "model", env=with_macros(((1, 1), (0, 1))))


@pytest.mark.parametrize("clip", [False, True])
def test_vec_normalize_scales_what_decisions_return_after_clipping_and_discounting(clip):
    macros = MacroSet(("STAY", "GO"), ((1, 1, 1), (0, 1)))
    corridor = lambda: gym.wrappers.TransformReward(Corridor(), lambda r: 3 * r)  # noqa: E731
    env = make_vec_env(lambda: MacroAction(corridor(), macros), 2, seed=0)
    env = VecNormalize(env, norm_obs=False, clip_reward=0.6)
    model, expected = learner(env, n_steps=11, clip_rewards=clip), []

    def note(here, _):
        scale = np.sqrt(env.ret_rms.var + env.epsilon)
        paid = np.array([info["primitive_rewards"] for info in here["infos"]])
        returns = (paid.clip(-1, 1) if clip else paid) @ 0.99 ** np.arange(3)
        expected.append((returns / scale).clip(-0.6, 0.6))
        return True

    model.learn(22, callback=note)
    found = model.rollout_buffer.trajectory(model._last_obs).rewards
    th.testing.assert_close(found, th.tensor(np.array(expected).T).float())
    assert len(found.unique()) > 3
    assert found.max() == th.tensor(0.6)
    assert set(model.rollout_buffer.durations.flat) == {1, 2, 3}


def test_a_corridor_is_learned_by_macros_and_without():
    for env in (Corridor, lambda: with_macros(((1, 1, 1), (0, 1)))):
        limited = lambda env=env: gym.wrappers.TimeLimit(env(), 30)  # noqa: E731
        model = learner(make_vec_env(limited, 4, seed=0), learning_rate=0.02, gamma=0.9)
        model.learn(6_000)
        score, _ = evaluate_policy(model, limited(), n_eval_episodes=3, warn=False)
        assert score == 7


class Asked(BaseCallback):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def _on_step(self):
        self.calls += 1
        return True


@pytest.mark.parametrize("kind", ["one", "list", "function", "none"])
def test_callbacks_of_every_kind_are_called(kind):
    asked, seen = Asked(), []
    given = {
        "one": asked,
        "list": [asked, EvalCallback(pole(1), eval_freq=10, n_eval_episodes=1, verbose=0)],
        "function": lambda locals, globals: seen.append(1) is None,
        "none": None,
    }[kind]
    learner().learn(42, callback=given)
    assert asked.calls == (14 if kind in ("one", "list") else 0)
    assert len(seen) == (14 if kind == "function" else 0)


class Actions(gym.Env):
    """Numbers in, any action out; nothing depends on it."""

    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def __init__(self, action_space):
        self.action_space = action_space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample() * 0, {}

    def step(self, action):
        numbers = self.np_random.normal(size=2).clip(-1, 1).astype(np.float32)
        return numbers, float(np.sum(action)), bool(self.np_random.random() < 0.1), False, {}


@pytest.mark.parametrize(
    "space",
    [
        gym.spaces.Box(-1, 1, (3,), np.float32),
        gym.spaces.MultiDiscrete([2, 3]),
        gym.spaces.MultiBinary(3),
    ],
    ids=lambda space: type(space).__name__,
)
def test_actions_of_every_kind_are_learned_from(space):
    settings = {"n_steps": 7, "gae_lambda": 0.95, "seed": 1, "device": "cpu"}
    env = lambda: make_vec_env(lambda: Actions(space), 2, seed=0)  # noqa: E731
    theirs = A2C("MlpPolicy", env(), **settings).learn(140)
    ours = learner(env(), weights="geometric").learn(140)
    th.testing.assert_close(flat(ours), flat(theirs), rtol=1e-4, atol=1e-5)
    model = learner(make_vec_env(lambda: Actions(space), 2, seed=0))
    before = of_weights(model)
    model.learn(70)
    assert of_weights(model).isfinite().all()
    assert not th.equal(of_weights(model), before)


class Views(gym.Env):
    """An image and a bit, as dictionaries; the bit tells which action is paid."""

    observation_space = gym.spaces.Dict(
        {"image": gym.spaces.Box(0, 255, (36, 36, 3), np.uint8), "bit": gym.spaces.Discrete(2)}
    )
    action_space = gym.spaces.Discrete(2)

    def _look(self):
        self.bit = int(self.np_random.integers(2))
        return {"image": np.full((36, 36, 3), 100, np.uint8), "bit": self.bit}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self._look(), {}

    def step(self, action):
        self.t += 1
        paid = float(action == self.bit)
        return self._look(), paid, self.t == 4, False, {}


@pytest.mark.parametrize("advantage", ["pwtd", "pwr"])
def test_images_and_dictionaries_are_read_as_the_policy_reads_them(advantage):
    model = learner(make_vec_env(Views, 2, seed=0), "MultiInputPolicy", advantage=advantage)
    model.learn(60)
    assert model.weights.features.extractor is not model.policy.features_extractor
    stepped = {id(p) for group in model.policy.optimizer.param_groups for p in group["params"]}
    assert {id(p) for p in model.policy.parameters()} == stepped
    assert model.rollout_buffer.trajectory(model._last_obs).observations["image"].shape[1] == 3


def test_gymnasiums_vectors_are_taken_as_they_are():
    env = gym.make_vec("CartPole-v1", num_envs=3, vectorization_mode="sync")
    assert learner(env).learn(100).n_envs == 3
